//! `POST /redirect` with `{"video":"URL"}`: the JSON form of the gRPC messages (the ProtoJSON format
//! of Protocol Buffers), for clients that have no gRPC.

use std::{rc::Rc, task::Poll};

use serde::Deserialize;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        answer::{self, Asked, asks_to_keep},
        connection::Connection,
        outcome::{CallCount, Ending, Outcome},
        redirect::{
            CallError, RedirectWorker, begin_json, cors::CorsAnswer, message::MESSAGE_BYTES_MAX,
            refuse,
        },
        stream::{MessageStream, Outlet, StreamFault, Turn},
    },
    http1::Piece,
    message::{Framing, host_of},
};

/// A call whose body is being read.
#[derive(Debug)]
pub(in crate::data) struct JsonCall {
    redirect: Rc<RedirectWorker>,
    connection: Rc<Connection>,
    asked: Asked,
    cors: CorsAnswer,
    asks_to_keep: bool,
    /// Whether the head announces more than is taken.
    is_too_long: bool,
    body: Vec<u8>,
    began: Instant,
    timeout: Duration,
    _count: CallCount,
}

/// The request, whose fields may be absent as in any message. Unknown ones are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRequest {
    #[serde(default)]
    video: Option<String>,
}

/// Why a body does not go on.
enum Unread {
    TooLong,
    Broken(StreamFault),
}

impl From<StreamFault> for Unread {
    fn from(fault: StreamFault) -> Self {
        Self::Broken(fault)
    }
}

impl JsonCall {
    /// Starts to read the request whose head is in the scratch buffers.
    pub(super) fn new(
        redirect: &Rc<RedirectWorker>,
        connection: &Rc<Connection>,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        body: Framing,
    ) -> Self {
        let head = &turn.scratch.request;
        let call = Self {
            redirect: Rc::clone(redirect),
            connection: Rc::clone(connection),
            asked: Asked {
                is_grpc: false,
                ..Asked::by(head)
            },
            cors: redirect.engine.cors(head),
            asks_to_keep: asks_to_keep(head) && host_of(head).is_ok(),
            is_too_long: matches!(body, Framing::Length(bytes) if bytes > MESSAGE_BYTES_MAX as u64),
            body: Vec::new(),
            began: turn.now,
            timeout: redirect.engine.call_timeout(),
            _count: CallCount::begin(&redirect.context),
        };
        if head.expects_continue() && !client.is_received() && !call.is_too_long {
            let interim = &mut turn.scratch.outgoing;
            interim.begin(100, b"", http::Version::HTTP_11);
            interim.finish();
            client.send_interim(interim);
            let _what_can_be = client.poll_flush(turn.cx);
        }
        call
    }

    /// Goes on as far as it can.
    pub(in crate::data) fn poll(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
    ) -> Poll<Outcome> {
        if self.is_too_long {
            return Poll::Ready(self.answer(turn, client, Err(TOO_LONG)));
        }
        while !client.is_received() {
            let body = &mut self.body;
            let mut keep = |_: &mut Outlet<'_, '_>, piece: Piece<'_>| match piece {
                Piece::Data(data) if body.len() + data.len() > MESSAGE_BYTES_MAX => {
                    Err(Unread::TooLong)
                }
                Piece::Data(data) => {
                    body.extend_from_slice(data);
                    Ok(())
                }
                Piece::End(_) => Ok(()),
            };
            let error = match client.poll_receive(turn, MESSAGE_BYTES_MAX, &mut keep) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(Unread::TooLong)) => TOO_LONG,
                Poll::Ready(Err(Unread::Broken(StreamFault::Malformed(_)))) => {
                    CallError::BadRequest("the body is malformed")
                }
                Poll::Ready(Err(Unread::Broken(_))) => {
                    self.redirect
                        .answered(self.began, Some(CallError::Cancelled.row().reason));
                    client.break_off();
                    return Poll::Ready(Outcome::Close(Ending::Flush));
                }
                Poll::Pending if self.due() <= turn.now => CallError::SlowBody {
                    timeout: self.timeout,
                },
                Poll::Pending => return Poll::Pending,
            };
            return Poll::Ready(self.answer(turn, client, Err(error)));
        }
        let answer = self.redirect_of_body(turn);
        Poll::Ready(self.answer(turn, client, answer))
    }

    /// Until when the body must be there.
    pub(in crate::data) fn due(&self) -> Instant {
        self.began + self.timeout
    }

    fn redirect_of_body(&self, turn: &Turn<'_, '_>) -> Result<String, CallError> {
        if self.due() < turn.now {
            return Err(CallError::SlowBody {
                timeout: self.timeout,
            });
        }
        // A list would be taken for the fields in their order.
        let is_object = self.body.trim_ascii_start().starts_with(b"{");
        let request: Option<JsonRequest> = serde_json::from_slice(&self.body).ok();
        let request = request.filter(|_request| is_object);
        let request = request.ok_or(CallError::BadRequest(
            "the body is not {\"video\":\"URL\"} in JSON",
        ))?;
        self.redirect
            .engine
            .redirect(request.video.unwrap_or_default())
    }

    fn answer(
        &self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        answer: Result<String, CallError>,
    ) -> Outcome {
        let rejected = answer.as_ref().err().map(|error| error.row().reason);
        self.redirect.answered(self.began, rejected);
        let is_last =
            !self.asks_to_keep || self.connection.is_last_response() || !client.is_received();
        let _sent_or_gone = match answer {
            Ok(redirect) => {
                let body = serde_json::json!({ "redirect": redirect }).to_string();
                begin_json(turn, 200, &self.cors);
                answer::send(turn, client, self.asked, body.as_bytes(), is_last)
            }
            Err(error) => refuse(turn, client, self.asked, &self.cors, &error, is_last),
        };
        match (client.is_received(), is_last) {
            (false, _) => Outcome::Close(Ending::Linger),
            (true, true) => Outcome::Close(Ending::Flush),
            (true, false) => Outcome::Done,
        }
    }
}

const TOO_LONG: CallError = CallError::MessageTooLarge {
    bytes_max: MESSAGE_BYTES_MAX,
};
