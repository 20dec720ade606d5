//! A plain call of the redirect method, without tonic's generic machinery.
//!
//! Nearly every call is one small message in one frame. It is read, decoded, answered and
//! written here; whatever is not as expected is given to tonic's generated service with the
//! bytes that were read, so that its answers are tonic's own. Differs from tonic in two answers
//! that the contract asks for: `RESOURCE_EXHAUSTED` for a message that is too long, and
//! `DEADLINE_EXCEEDED` for a deadline that passed. A test holds both ways against each other.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header, request};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use prost::Message as _;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    data::{
        connection::{Call, Connection},
        error::CallError,
        redirect::{AnswerBody, grpc_routes::RoutesFuture},
    },
    proto,
    redirect::RejectReason,
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
    /// The client's own time limit.
    timeout: Option<Duration>,
    received: Received,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Reading {
        body: Incoming,
        deadline: Option<Pin<Box<Sleep>>>,
    },
    AskingTonic(RoutesFuture),
}

impl UnaryCall {
    pub(super) fn new(connection: &Rc<Connection>, request: Request<Incoming>) -> Self {
        let call = connection.call_started();
        let (head, body) = request.into_parts();
        let timeout = head.headers.get("grpc-timeout").and_then(parse_timeout);
        Self {
            connection: Rc::clone(connection),
            call: Some(call),
            head: Some(head),
            timeout,
            received: Received::Nothing,
            step: Step::Reading {
                body,
                deadline: None,
            },
        }
    }

    /// Answers from the whole request body.
    fn answer(&mut self) -> Poll<Response<AnswerBody>> {
        if self
            .timeout
            .is_some_and(|timeout| self.elapsed() >= timeout)
        {
            return Poll::Ready(self.deadline_exceeded());
        }
        let received = self.received.take();
        let Some(video) = decode(&received) else {
            return self.ask_tonic(received);
        };
        let answer = self.connection.worker().redirect.redirect(video);
        let call = self.end_call();
        Poll::Ready(match answer {
            Ok(redirect) => ok_response(AnswerBody::message(encode(redirect), call)),
            Err(error) => error_response(error, call),
        })
    }

    /// Leaves a body that is not one whole plain message to tonic.
    fn ask_tonic(&mut self, received: Bytes) -> Poll<Response<AnswerBody>> {
        let head = self.head.take().expect("taken only here, once");
        let request = Request::from_parts(head, Full::new(received));
        self.step = Step::AskingTonic(self.connection.worker().grpc_routes.call(request));
        Poll::Pending
    }

    fn deadline_exceeded(&mut self) -> Response<AnswerBody> {
        let call_timeout = self.connection.worker().redirect.call_timeout();
        let timeout = self
            .timeout
            .map_or(call_timeout, |timeout| timeout.min(call_timeout));
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

    fn elapsed(&self) -> Duration {
        self.call
            .as_ref()
            .map_or(Duration::ZERO, |call| call.started_at().elapsed())
    }

    /// When the message must be complete.
    fn deadline_at(&self) -> Instant {
        let call_timeout = self.connection.worker().redirect.call_timeout();
        let timeout = self
            .timeout
            .map_or(call_timeout, |timeout| timeout.min(call_timeout));
        let started_at = self
            .call
            .as_ref()
            .map_or_else(Instant::now, Call::started_at);
        started_at + timeout
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        loop {
            let Step::Reading { body, .. } = &mut self.step else {
                return Poll::Pending;
            };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let complete = body.is_end_stream();
                    if self.received.push(data) == Fit::TooLong {
                        return Poll::Ready(self.refuse(CallError::MessageTooLarge {
                            bytes_max: MESSAGE_BYTES_MAX,
                        }));
                    }
                    if complete {
                        return self.answer();
                    }
                }
                // A client that gave up reads no answer; an end without END_STREAM is an end.
                Poll::Ready(None | Some(Err(_))) => return self.answer(),
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
    }

    /// Only a call that has to wait for its message gets a timer.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        let deadline_at = self.deadline_at();
        let Step::Reading { deadline, .. } = &mut self.step else {
            return Poll::Pending;
        };
        let deadline = deadline.get_or_insert_with(|| Box::pin(sleep_until(deadline_at)));
        deadline
            .as_mut()
            .poll(cx)
            .map(|()| self.deadline_exceeded())
    }

    fn poll_tonic(&mut self, cx: &mut Context<'_>) -> Poll<Response<AnswerBody>> {
        let Step::AskingTonic(response) = &mut self.step else {
            return Poll::Pending;
        };
        let Poll::Ready(Ok(response)) = Pin::new(response).poll(cx) else {
            return Poll::Pending;
        };
        // A status in the head is a fault of the framing: the engine's own are counted there.
        if response.headers().contains_key("grpc-status") {
            self.connection
                .worker()
                .redirect
                .reject(RejectReason::MalformedMessage);
        }
        let call = self.end_call();
        Poll::Ready(response.map(|body| AnswerBody::answered_by_tonic(body, call)))
    }
}

impl Future for UnaryCall {
    type Output = Response<AnswerBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Reading { .. } = self.step
            && let Poll::Ready(response) = self.poll_reading(cx)
        {
            return Poll::Ready(response);
        }
        self.poll_tonic(cx)
    }
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

/// The video of exactly one whole, uncompressed, well-formed message; `None` for all else.
fn decode(received: &Bytes) -> Option<String> {
    let length = message_bytes(received)?;
    let message = received.get(PREFIX_BYTES..)?;
    if message.len() != length {
        return None;
    }
    proto::Request::decode(message)
        .ok()
        .map(|request| request.video)
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

/// Reads a `grpc-timeout`: up to 8 digits and a unit. A malformed one is ignored, as tonic does.
fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let parse = |text| parse_timeout(&HeaderValue::from_static(text));
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_one_whole_plain_message_is_decoded() {
        let framed = |flag: u8, length: u32, message: &[u8]| {
            let mut bytes = BytesMut::new();
            bytes.put_u8(flag);
            bytes.put_u32(length);
            bytes.put_slice(message);
            bytes.freeze()
        };
        assert_eq!(decode(&framed(0, 3, b"\x0a\x01v")).as_deref(), Some("v"));
        assert_eq!(decode(&framed(0, 0, b"")).as_deref(), Some(""));
        for (flag, length, message) in [
            (1, 3, &b"\x0a\x01v"[..]),
            (2, 3, b"\x0a\x01v"),
            (0, 4, b"\x0a\x01v"),
            (0, 2, b"\x0a\x01v"),
            (0, 3, b"\x0a\x02v"),
            (0, 3, b"\x0a\x01\xff"),
        ] {
            assert_eq!(
                decode(&framed(flag, length, message)),
                None,
                "flag {flag}, length {length}"
            );
        }
        assert_eq!(decode(&Bytes::from_static(b"\0\0\0")), None);
        assert_eq!(decode(&Bytes::new()), None);
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
