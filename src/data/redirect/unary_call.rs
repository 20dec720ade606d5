//! A plain call of the redirect method, without tonic's generic machinery.
//!
//! Nearly every call is one small message in one frame. It is read, decoded, answered and
//! written here; whatever is not as expected is given to tonic's generated service with the
//! bytes that were read, so that its answers are tonic's own. Differs from tonic in three answers
//! that the contract asks for: `RESOURCE_EXHAUSTED` for a message that is too long,
//! `DEADLINE_EXCEEDED` for a deadline that passed, and `INVALID_ARGUMENT` for a text that is not
//! UTF-8. A test holds both ways against each other.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header, request};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use prost::Message as _;

use crate::{
    data::{
        connection::{Call, Connection},
        error::CallError,
        redirect::{AnswerBody, deadline::Deadline, grpc_routes::RoutesFuture},
    },
    proto,
    redirect::{RejectReason, Rejection},
};

/// The longest message, without its prefix. Video URLs are at most 8 KiB.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A flag and the length (gRPC over HTTP2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// One call, from its head to its answer.
#[derive(Debug)]
pub(in crate::data) struct UnaryCall {
    connection: Rc<Connection>,
    /// Taken by the answer.
    call: Option<Call>,
    head: Option<request::Parts>,
    deadline: Deadline,
    received: Received,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Reading(Incoming),
    AskingTonic(RoutesFuture),
}

impl UnaryCall {
    pub(super) fn new(connection: &Rc<Connection>, request: Request<Incoming>) -> Self {
        let call = connection.call_started();
        let (head, body) = request.into_parts();
        let timeout_max = connection.worker().redirect.call_timeout();
        let grpc_timeout = head.headers.get("grpc-timeout");
        Self {
            deadline: Deadline::new(call.started_at(), grpc_timeout, timeout_max),
            connection: Rc::clone(connection),
            call: Some(call),
            head: Some(head),
            received: Received::Nothing,
            step: Step::Reading(body),
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        loop {
            let Step::Reading(body) = &mut self.step else {
                return Poll::Pending;
            };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let complete = body.is_end_stream();
                    if self.received.push(data) == Fit::TooLong {
                        let bytes_max = MESSAGE_BYTES_MAX;
                        return Poll::Ready(self.refuse(CallError::MessageTooLarge { bytes_max }));
                    }
                    if complete {
                        return self.answer();
                    }
                }
                Poll::Ready(None) => return self.answer(),
                // Nobody waits for the answer any more, so it must not cost a turn.
                Poll::Ready(Some(Err(_reset))) => {
                    return Poll::Ready(self.refuse(CallError::Cancelled));
                }
                Poll::Pending => return self.deadline.poll(cx).map(|()| self.refuse_late()),
            }
        }
    }

    /// Answers from the whole request body.
    fn answer(&mut self) -> Poll<Response<AnswerBody>> {
        if self.deadline.has_passed() {
            return Poll::Ready(self.refuse_late());
        }
        let received = self.received.take();
        let decoded = if self.is_compressed() {
            Decoded::Other
        } else {
            decode(&received)
        };
        let answer = match decoded {
            Decoded::Video(video) => self.connection.worker().redirect.redirect(video),
            Decoded::NotUtf8(rejection) => return Poll::Ready(self.refuse(rejection.into())),
            Decoded::Other => return self.ask_tonic(received),
        };
        let call = self.end_call();
        Poll::Ready(match answer {
            Ok(redirect) => ok_response(AnswerBody::message(encode(redirect), call)),
            Err(error) => error_response(error, call),
        })
    }

    fn is_compressed(&self) -> bool {
        let encoding = self
            .head
            .as_ref()
            .and_then(|head| head.headers.get("grpc-encoding"));
        encoding.is_some_and(|encoding| encoding != "identity")
    }

    /// Leaves a body that is not one whole plain message to tonic.
    fn ask_tonic(&mut self, received: Bytes) -> Poll<Response<AnswerBody>> {
        let head = self.head.take().expect("taken only here, once");
        let request = Request::from_parts(head, Full::new(received));
        self.step = Step::AskingTonic(self.connection.worker().grpc_routes.call(request));
        Poll::Pending
    }

    fn poll_tonic(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        let Step::AskingTonic(response) = &mut self.step else {
            return Poll::Pending;
        };
        let Poll::Ready(Ok(response)) = Pin::new(response).poll(cx) else {
            return Poll::Pending;
        };
        if let Some(reason) = reason_of_tonics(response.headers()) {
            self.connection.worker().redirect.reject(reason);
        }
        let call = self.end_call();
        Poll::Ready(response.map(|body| AnswerBody::answered_by_tonic(body, call)))
    }

    fn refuse_late(&mut self) -> Response<AnswerBody> {
        let timeout = self.deadline.timeout();
        self.refuse(CallError::DeadlineExceeded { timeout })
    }

    fn refuse(&mut self, error: CallError) -> Response<AnswerBody> {
        self.connection.worker().redirect.reject(error.reason());
        error_response(error, self.end_call())
    }

    fn end_call(&mut self) -> Call {
        let mut call = self.call.take().expect("a call is answered once");
        call.answered();
        call
    }
}

impl Future for UnaryCall {
    type Output = Response<AnswerBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(response) = self.poll_reading(cx) {
            return Poll::Ready(response);
        }
        self.poll_tonic(cx)
    }
}

/// The reason to count for a fault that tonic found. The engine has counted its own.
fn reason_of_tonics(headers: &HeaderMap) -> Option<RejectReason> {
    let code = tonic::Status::from_header_map(headers)?.code();
    if code == tonic::Code::Internal {
        return Some(RejectReason::MalformedMessage);
    }
    (code == tonic::Code::Unimplemented).then_some(RejectReason::UnknownMethod)
}

/// The bytes of a request body so far. One frame, as nearly always, is not copied.
#[derive(Debug)]
enum Received {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    Fits,
    TooLong,
}

impl Received {
    fn push(&mut self, data: Bytes) -> Fit {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + data.len());
                all.put(first);
                all.put(data);
                Self::Several(all)
            }
            Self::Several(mut all) => {
                all.put(data);
                Self::Several(all)
            }
        };
        let so_far = self.as_slice();
        let announced = message_bytes(so_far).unwrap_or(0);
        let too_long =
            announced > MESSAGE_BYTES_MAX || so_far.len() > MESSAGE_BYTES_MAX + PREFIX_BYTES;
        if too_long { Fit::TooLong } else { Fit::Fits }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(data) => data,
            Self::Several(all) => all,
        }
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Bytes::new(),
            Self::One(data) => data,
            Self::Several(all) => all.freeze(),
        }
    }
}

/// The length that an uncompressed message's prefix announces.
fn message_bytes(received: &[u8]) -> Option<usize> {
    let (&[flag, length @ ..], _) = received.split_first_chunk::<PREFIX_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (flag == 0).then_some(length)
}

/// What a request body holds.
#[derive(Debug, PartialEq)]
enum Decoded {
    /// Exactly one whole, uncompressed, well-formed message.
    Video(String),
    /// The same, but its text is none.
    NotUtf8(Rejection),
    /// Anything else.
    Other,
}

fn decode(received: &Bytes) -> Decoded {
    let length = message_bytes(received);
    let Some(message) = received
        .get(PREFIX_BYTES..)
        .filter(|message| Some(message.len()) == length)
    else {
        return Decoded::Other;
    };
    if let Ok(request) = proto::Request::decode(message) {
        return Decoded::Video(request.video);
    }
    // A text that is no UTF-8 is a bad URL like another; tonic would call it a fault of ours.
    match UncheckedRequest::decode(message) {
        Ok(request) if !request.video.is_ascii() => {
            let at = request
                .video
                .iter()
                .position(|byte| !byte.is_ascii())
                .unwrap_or(0);
            Decoded::NotUtf8(Rejection::NonAscii { at })
        }
        Ok(_) | Err(_) => Decoded::Other,
    }
}

/// A request whose text is not checked.
#[derive(Clone, PartialEq, prost::Message)]
struct UncheckedRequest {
    #[prost(bytes = "vec", tag = "1")]
    video: Vec<u8>,
}

fn encode(redirect: String) -> Bytes {
    let response = proto::Response { redirect };
    let length = response.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).expect("a little longer than a video URL"));
    response.encode(&mut framed).expect("the buffer grows");
    framed.freeze()
}

fn ok_response(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

fn error_response(error: CallError, call: Call) -> Response<AnswerBody> {
    let response = tonic::Status::from(error).into_http::<()>();
    response.map(|()| AnswerBody::empty(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_plain_message_is_decoded() {
        let framed = |flag: u8, length: u32, message: &[u8]| {
            let mut bytes = BytesMut::new();
            bytes.put_u8(flag);
            bytes.put_u32(length);
            bytes.put_slice(message);
            bytes.freeze()
        };
        let video = |text: &str| Decoded::Video(text.to_owned());
        assert_eq!(decode(&framed(0, 3, b"\x0a\x01v")), video("v"));
        assert_eq!(decode(&framed(0, 0, b"")), video(""));
        for (flag, length, message) in [
            (1, 3, &b"\x0a\x01v"[..]),
            (2, 3, b"\x0a\x01v"),
            (0, 4, b"\x0a\x01v"),
            (0, 2, b"\x0a\x01v"),
            (0, 3, b"\x0a\x02v"),
        ] {
            let decoded = decode(&framed(flag, length, message));
            assert_eq!(decoded, Decoded::Other, "flag {flag}, length {length}");
        }
        assert_eq!(decode(&Bytes::from_static(b"\0\0\0")), Decoded::Other);
        assert_eq!(decode(&Bytes::new()), Decoded::Other);
        let not_utf8 = Decoded::NotUtf8(Rejection::NonAscii { at: 1 });
        assert_eq!(decode(&framed(0, 4, b"\x0a\x02v\xff")), not_utf8);
    }

    #[test]
    fn a_message_is_refused_by_its_announced_length() {
        let limit = u32::try_from(MESSAGE_BYTES_MAX).unwrap();
        for (length, expected) in [
            (limit, Fit::Fits),
            (limit + 1, Fit::TooLong),
            (u32::MAX, Fit::TooLong),
        ] {
            let mut prefix = BytesMut::new();
            prefix.put_u8(0);
            prefix.put_u32(length);
            // In two frames, as the prefix may be split, too.
            let rest = prefix.split_off(2);
            let mut received = Received::Nothing;
            assert_eq!(received.push(prefix.freeze()), Fit::Fits);
            assert_eq!(received.push(rest.freeze()), expected, "{length} bytes");
        }
    }
}
