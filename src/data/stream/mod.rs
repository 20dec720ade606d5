//! The two sides of an exchange as streams of messages, whichever version of HTTP they speak.
//!
//! A client's stream and a backend's stream have the same type: both receive the body of one
//! message and send the body of another. [`pump`] moves a body from one to the other and is
//! written once for all four pairings. Heads differ by side: `downstream` reads requests and
//! writes responses here, `upstream` the other way round. Knows no service, no route, no limit of
//! time.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{
    http1::{BodyEncoder, BodyFault, Piece},
    message::{Framing, ResponseHead, Towards},
};

mod http1;
mod http1_heads;
mod http2;
mod http2_heads;
mod pump;
mod scratch;
mod write_buffer;

pub(in crate::data) use http1::{HeadRead, Http1Stream};
pub(in crate::data) use http2::Http2Stream;
pub(in crate::data) use http2_heads::{
    head_bytes, read_request, read_response, to_request, to_response,
};
pub(in crate::data) use pump::{Pumped, pump};
pub(in crate::data) use scratch::{Outlet, Scratch, Turn};
pub(in crate::data) use write_buffer::WriteBuffer;

/// One side of an exchange.
#[derive(Debug)]
pub(in crate::data) enum MessageStream {
    Http1(Http1Stream),
    Http2(Http2Stream),
}

/// Why a side of an exchange cannot go on.
#[derive(Debug)]
pub(in crate::data) enum StreamFault {
    /// The connection or the stream was closed or reset before its end.
    Broken,
    /// What came breaks the coding of bodies.
    Malformed(BodyFault),
    /// HTTP/2 reset the stream, or ended the connection.
    Http2(h2::Error),
}

impl From<io::Error> for StreamFault {
    fn from(_error: io::Error) -> Self {
        Self::Broken
    }
}

impl From<BodyFault> for StreamFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Truncated => Self::Broken,
            BodyFault::Size
            | BodyFault::Extension
            | BodyFault::ExtensionLimit
            | BodyFault::LineBreak
            | BodyFault::Trailers
            | BodyFault::TrailerLimit => Self::Malformed(fault),
        }
    }
}

impl From<h2::Error> for StreamFault {
    fn from(error: h2::Error) -> Self {
        Self::Http2(error)
    }
}

impl StreamFault {
    /// Whether the peer says that it did nothing with the message (RFC 9113 section 8.7).
    pub(in crate::data) fn is_unprocessed(&self) -> bool {
        let Self::Http2(error) = self else {
            return false;
        };
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => true,
            Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
            _ => false,
        }
    }
}

impl MessageStream {
    /// Stands for a stream whose service drives it by itself.
    pub(in crate::data) fn none() -> Self {
        Self::Http2(Http2Stream::to_backend(None))
    }

    /// Whether all of the body that comes on it was received.
    pub(in crate::data) fn is_received(&self) -> bool {
        match self {
            Self::Http1(stream) => stream.is_received(),
            Self::Http2(stream) => stream.is_received(),
        }
    }

    /// Receives what is there of a body, at most about `room` bytes, and shows it in pieces.
    /// Returns after one read, so that the caller decides whether to go on.
    ///
    /// # Errors
    ///
    /// When the body breaks off or is malformed, or `show` fails.
    pub(in crate::data) fn poll_receive<F: From<StreamFault>>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        room: usize,
        show: &mut impl FnMut(&mut Outlet<'_, '_>, Piece<'_>) -> Result<(), F>,
    ) -> Poll<Result<(), F>> {
        match self {
            Self::Http1(stream) => stream.poll_receive(turn, room, show),
            Self::Http2(stream) => stream.poll_receive(turn, show),
        }
    }

    /// Waits until more of a body may be sent on it. Returns about how many bytes.
    ///
    /// # Errors
    ///
    /// When the peer takes nothing more.
    pub(in crate::data) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, StreamFault>> {
        match self {
            Self::Http1(stream) => stream.poll_room(cx),
            Self::Http2(stream) => stream.poll_room(cx),
        }
    }

    /// Sends a piece of a body. Holds what the peer does not take: wait for [`Self::poll_room`]
    /// before the next.
    ///
    /// # Errors
    ///
    /// When the peer takes nothing more.
    pub(in crate::data) fn send(
        &mut self,
        outlet: &mut Outlet<'_, '_>,
        piece: Piece<'_>,
    ) -> Result<(), StreamFault> {
        match self {
            Self::Http1(stream) => stream.send(outlet.cx, piece),
            Self::Http2(stream) => stream.send(outlet.arena, piece),
        }
    }

    /// Waits until nothing that was sent is held here any more.
    ///
    /// # Errors
    ///
    /// When the peer takes nothing more.
    pub(in crate::data) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamFault>> {
        match self {
            Self::Http1(stream) => stream.poll_flush(cx),
            Self::Http2(stream) => Poll::Ready(stream.flush()),
        }
    }

    /// Waits until the peer is gone: its connection broke, or it reset the stream. An HTTP/1.1
    /// client that ended its own direction is still there.
    pub(in crate::data) fn poll_gone(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        match self {
            Self::Http1(stream) => stream.poll_gone(turn),
            Self::Http2(stream) => stream.poll_gone(turn.cx),
        }
    }

    /// Sends the response head in the scratch buffers to a client. Its body is framed like this.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub(in crate::data) fn send_response(
        &mut self,
        turn: &mut Turn<'_, '_>,
        body: Framing,
        sends_trailers: bool,
    ) -> Result<(), StreamFault> {
        let head = &turn.scratch.outgoing;
        match self {
            Self::Http1(stream) => {
                stream.send_head(head.as_http1());
                let trailers_to = sends_trailers.then_some(Towards::Client);
                stream.send_body(BodyEncoder::for_response(body), trailers_to);
                Ok(())
            }
            Self::Http2(stream) => {
                let ends = matches!(body, Framing::Empty | Framing::Length(0));
                let response = to_response(head, &mut turn.scratch.arena);
                stream.send_response(response, ends)
            }
        }
    }

    /// Makes it impossible to take what was sent for complete, where that is not so already.
    pub(in crate::data) fn break_off(&mut self) {
        if let Self::Http2(stream) = self {
            stream.reset(h2::Reason::INTERNAL_ERROR);
        }
    }

    /// Sends an interim response to a client (RFC 9110 section 15.2).
    pub(in crate::data) fn send_interim(&mut self, head: &ResponseHead) {
        match self {
            Self::Http1(stream) => stream.send_head(head.as_http1()),
            Self::Http2(stream) => stream.send_interim(head),
        }
    }
}
