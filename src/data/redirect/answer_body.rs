//! The bodies of all answers of the redirect service.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::data::connection::{Call, Watch};

/// A body, and what ends when it is sent or given up.
#[derive(Debug)]
pub(in crate::data) struct AnswerBody {
    content: Content,
    _call: Option<Call>,
    _watch: Option<Watch>,
}

#[derive(Debug)]
enum Content {
    Empty,
    /// A whole body of known length.
    Whole(Bytes),
    /// One gRPC message, then `grpc-status: 0`.
    Message(Bytes),
    /// The trailers of a gRPC message that was sent.
    Trailers,
    /// From tonic.
    Streamed(tonic::body::Body),
}

impl AnswerBody {
    pub(super) fn empty(call: Call) -> Self {
        Self {
            content: Content::Empty,
            _call: Some(call),
            _watch: None,
        }
    }

    pub(super) fn whole(bytes: Bytes, call: Call) -> Self {
        Self {
            content: Content::Whole(bytes),
            _call: Some(call),
            _watch: None,
        }
    }

    /// A gRPC message with its prefix.
    pub(super) fn message(framed: Bytes, call: Call) -> Self {
        Self {
            content: Content::Message(framed),
            _call: Some(call),
            _watch: None,
        }
    }

    /// What tonic answered to a call.
    pub(super) fn answered_by_tonic(body: tonic::body::Body, call: Call) -> Self {
        Self {
            content: Content::Streamed(body),
            _call: Some(call),
            _watch: None,
        }
    }

    /// What tonic answers on a stream that may last.
    pub(super) fn streamed(body: tonic::body::Body, watch: Option<Watch>) -> Self {
        Self {
            content: Content::Streamed(body),
            _call: None,
            _watch: watch,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let content = &mut self.get_mut().content;
        if let Content::Streamed(body) = content {
            return Pin::new(body).poll_frame(cx);
        }
        Poll::Ready(match std::mem::replace(content, Content::Empty) {
            Content::Empty | Content::Streamed(_) => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(bytes))),
            Content::Message(framed) => {
                *content = Content::Trailers;
                Some(Ok(Frame::data(framed)))
            }
            Content::Trailers => Some(Ok(Frame::trailers(status_ok()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(_) | Content::Message(_) | Content::Trailers => false,
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // Exact would add a content-length, which gRPC answers do not have.
            Content::Message(_) | Content::Trailers => SizeHint::default(),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}

fn status_ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
