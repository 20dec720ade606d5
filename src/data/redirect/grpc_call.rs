//! A gRPC call over HTTP/2.
//!
//! A call of the redirect method is one small message in nearly all cases: it is read, decoded,
//! answered and written here, without tonic's generic machinery. Whatever is not as expected, and
//! every other method, is given to tonic's generated services (`tonic_call`), so that their
//! answers are tonic's own. Differs from tonic in what the contract asks for:
//! `RESOURCE_EXHAUSTED` for a message that is too long, `DEADLINE_EXCEEDED` for a deadline that
//! passed, `INVALID_ARGUMENT` for a text that is not UTF-8, `INTERNAL` for a second message. A
//! test holds both ways against each other.

use std::{rc::Rc, task::Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request};
use http_body_util::Full;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        connection::Connection,
        outcome::CallCount,
        redirect::{
            CallError, RedirectWorker, deadline,
            message::{Decoded, Fit, MESSAGE_BYTES_MAX, Received, decode, encode},
            tonic_call::{Incoming, TonicCall},
        },
        stream::{Turn, head_bytes},
    },
    proto::{REDIRECT_PATH, SERVICE},
};

/// A call that has to wait: for its message, or for tonic.
#[derive(Debug)]
pub(in crate::data) enum GrpcCall {
    Reading(Box<Reading>),
    Tonic(TonicCall),
}

/// A call of the redirect method whose message is not whole yet.
#[derive(Debug)]
pub(in crate::data) struct Reading {
    redirect: Rc<RedirectWorker>,
    head: request::Parts,
    receiver: RecvStream,
    respond: SendResponse<Bytes>,
    received: Received,
    began: Instant,
    timeout: Duration,
    count: CallCount,
}

/// How far a call is.
enum Progress {
    Answered,
    Waiting(Box<Reading>),
    /// Tonic answers it.
    Tonic(TonicCall),
}

impl GrpcCall {
    /// Starts to answer a call; `None` if it is answered.
    pub(super) fn start(
        redirect: &Rc<RedirectWorker>,
        connection: &Connection,
        turn: &mut Turn<'_, '_>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<Box<Self>> {
        if request.uri().path() != REDIRECT_PATH {
            return Self::start_other(redirect, turn, request, respond);
        }
        let count = CallCount::begin(&redirect.context);
        let timeout_max = redirect.engine.call_timeout();
        let bytes_max = u64::from(connection.limits.max_header_size);
        let head_bytes = head_bytes(&request);
        let (head, receiver) = request.into_parts();
        let checked = match redirect.admit_grpc(connection, &head, turn) {
            Err(limited) => Err(CallError::RateLimited(limited)),
            Ok(()) if head_bytes > bytes_max => Err(CallError::HeadLimit { bytes_max }),
            Ok(()) => deadline::timeout(head.headers.get(GRPC_TIMEOUT), timeout_max),
        };
        let mut reading = Reading {
            redirect: Rc::clone(redirect),
            head,
            receiver,
            respond,
            received: Received::Nothing,
            began: turn.now,
            timeout: timeout_max,
            count,
        };
        match checked {
            Ok(timeout) => reading.timeout = timeout,
            Err(error) => {
                reading.refuse(error, turn);
                return None;
            }
        }
        match reading.poll(turn) {
            Progress::Answered => None,
            Progress::Waiting(reading) => Some(Box::new(Self::Reading(reading))),
            Progress::Tonic(call) => Self::poll_new(turn, Self::Tonic(call)),
        }
    }

    /// Starts a call of another method: health, reflection, or one that there is not.
    fn start_other(
        redirect: &Rc<RedirectWorker>,
        turn: &mut Turn<'_, '_>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Option<Box<Self>> {
        let service = request.uri().path().strip_prefix('/');
        let method = service.and_then(|path| path.strip_prefix(SERVICE)?.strip_prefix('/'));
        if method.is_some() || redirect.engine.is_hidden(request.uri().path()) {
            let error = CallError::UnknownMethod;
            redirect.answered(turn.now, Some(error.row().reason));
            respond_with_error(&mut respond, error, turn);
            return None;
        }
        let (head, receiver) = request.into_parts();
        let request = Request::from_parts(head, Incoming::new(receiver));
        let call = TonicCall::watch(redirect, turn.now, request, respond);
        Self::poll_new(turn, Self::Tonic(call))
    }

    fn poll_new(turn: &mut Turn<'_, '_>, mut call: Self) -> Option<Box<Self>> {
        call.poll(turn).is_pending().then(|| Box::new(call))
    }

    /// Goes on as far as it can.
    pub(in crate::data) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        if let Self::Reading(_) = self {
            let Self::Reading(reading) = std::mem::replace(self, Self::Tonic(TonicCall::over()))
            else {
                return Poll::Ready(());
            };
            match reading.poll(turn) {
                Progress::Answered => return Poll::Ready(()),
                Progress::Waiting(reading) => {
                    *self = Self::Reading(reading);
                    return Poll::Pending;
                }
                Progress::Tonic(call) => *self = Self::Tonic(call),
            }
        }
        match self {
            Self::Tonic(call) => call.poll(turn),
            Self::Reading(_) => Poll::Pending,
        }
    }

    /// When it wants to be polled although nothing happened.
    pub(in crate::data) fn due(&self) -> Option<Instant> {
        match self {
            Self::Reading(reading) => Some(reading.began + reading.timeout),
            Self::Tonic(call) => call.due(),
        }
    }

    /// Whether it may last as long as its connection.
    pub(in crate::data) fn is_watch(&self) -> bool {
        match self {
            Self::Reading(_) => false,
            Self::Tonic(call) => call.is_watch(),
        }
    }
}

impl Reading {
    fn poll(mut self, turn: &mut Turn<'_, '_>) -> Progress {
        loop {
            match self.receiver.poll_data(turn.cx) {
                Poll::Ready(Some(Ok(data))) => {
                    let length = data.len();
                    if self.received.push(data) == Fit::TooLong {
                        let bytes_max = MESSAGE_BYTES_MAX;
                        return self.refuse(CallError::MessageTooLarge { bytes_max }, turn);
                    }
                    let released = self.receiver.flow_control().release_capacity(length);
                    if released.is_err() {
                        return self.refuse(CallError::Cancelled, turn);
                    }
                    if self.receiver.is_end_stream() {
                        return self.answer(turn);
                    }
                }
                Poll::Ready(None) => return self.answer(turn),
                // The client does not wait for the answer any more, so it must not cost a turn.
                Poll::Ready(Some(Err(_reset))) => return self.refuse(CallError::Cancelled, turn),
                Poll::Pending if self.began + self.timeout <= turn.now => {
                    return self.refuse_late(turn);
                }
                Poll::Pending => return Progress::Waiting(Box::new(self)),
            }
        }
    }

    /// Answers from the whole request body.
    fn answer(mut self, turn: &Turn<'_, '_>) -> Progress {
        if self.timeout.is_zero() || self.began + self.timeout < turn.now {
            return self.refuse_late(turn);
        }
        let received = self.received.take();
        match decode(&received) {
            Decoded::Video(_) if self.is_compressed() => self.ask_tonic(received),
            Decoded::Video(video) => match self.redirect.engine.redirect(video) {
                Ok(redirect) => self.succeed(encode(redirect), turn),
                Err(error) => self.refuse(error, turn),
            },
            Decoded::NotUtf8(rejection) => self.refuse(rejection.into(), turn),
            Decoded::Several => self.refuse(CallError::SecondMessage, turn),
            Decoded::Other => self.ask_tonic(received),
        }
    }

    fn is_compressed(&self) -> bool {
        let encoding = self.head.headers.get(GRPC_ENCODING);
        encoding.is_some_and(|encoding| encoding != "identity")
    }

    fn succeed(mut self, framed: Bytes, turn: &Turn<'_, '_>) -> Progress {
        self.redirect.answered(self.began, None);
        let mut response = Response::new(());
        let content_type = HeaderValue::from_static("application/grpc");
        response.headers_mut().reserve(2);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
            .headers_mut()
            .insert(header::DATE, turn.scratch.date.to_value());
        // A client that reset the call does not read the answer.
        if let Ok(mut body) = self.respond.send_response(response, false) {
            let _sent = body.send_data(framed, false);
            let _sent = body.send_trailers(status_ok());
        }
        Progress::Answered
    }

    fn refuse_late(self, turn: &Turn<'_, '_>) -> Progress {
        let timeout = self.timeout;
        self.refuse(CallError::DeadlineExceeded { timeout }, turn)
    }

    fn refuse(mut self, error: CallError, turn: &Turn<'_, '_>) -> Progress {
        self.redirect.answered(self.began, Some(error.row().reason));
        if error == CallError::Cancelled {
            self.respond.send_reset(Reason::CANCEL);
        } else {
            respond_with_error(&mut self.respond, error, turn);
        }
        Progress::Answered
    }

    /// Leaves a body that is not one whole plain message to tonic.
    fn ask_tonic(self, received: Bytes) -> Progress {
        let request = Request::from_parts(self.head, Full::new(received));
        let call = TonicCall::call(
            &self.redirect,
            self.began,
            request,
            self.respond,
            self.count,
        );
        Progress::Tonic(call)
    }
}

fn respond_with_error(respond: &mut SendResponse<Bytes>, error: CallError, turn: &Turn<'_, '_>) {
    let mut response = tonic::Status::from(error).into_http::<()>();
    response
        .headers_mut()
        .insert(header::DATE, turn.scratch.date.to_value());
    // A client that reset the call does not read the answer.
    let _sent = respond.send_response(response, true);
}

fn status_ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
