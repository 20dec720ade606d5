//! `GET /redirect?video=URL` over HTTP/1.1 and HTTP/2, and the way to `POST /redirect`.

use std::{borrow::Cow, rc::Rc, task::Poll};

use http::Version;
use percent_encoding::percent_decode_str;

use crate::{
    data::{
        answer::{self, Asked, asks_to_keep},
        connection::Connection,
        limited::Limited,
        outcome::{CallCount, Ending, Outcome},
        redirect::{ALLOWED, CallError, JsonCall, RedirectWorker, cors::CorsAnswer, refuse},
        stream::{MessageStream, Turn},
    },
    message::{Framing, Kind, RequestHead, ResponseHead, host_of},
    proto::REDIRECT_PATH,
};

impl RedirectWorker {
    /// Starts to answer the request whose head is in the scratch buffers.
    pub(in crate::data) fn start(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        body: Framing,
    ) -> HttpStarted {
        let head = &turn.scratch.request;
        let is_json = head.method() == b"POST" && head.path() == "/redirect";
        let admitted = match head.method() == b"OPTIONS" {
            true => Ok(()),
            false => self.admit(connection, head, turn.now),
        };
        if admitted.is_err() || !is_json || host_of(head).is_err() {
            return HttpStarted::Answered(self.answer(connection, turn, client, admitted));
        }
        let mut call = JsonCall::new(self, connection, turn, client, body);
        match call.poll(turn, client) {
            Poll::Ready(outcome) => HttpStarted::Answered(outcome),
            Poll::Pending => HttpStarted::Json(Box::new(call)),
        }
    }

    fn answer(
        self: &Rc<Self>,
        connection: &Connection,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        admitted: Result<(), Limited>,
    ) -> Outcome {
        let _count = CallCount::begin(&self.context);
        let head = &turn.scratch.request;
        let asked = Asked {
            is_grpc: false,
            ..Asked::by(head)
        };
        let cors = self.engine.cors(head);
        let admitted = admitted.map_err(CallError::RateLimited);
        let answer = admitted.and_then(|()| self.answer_to(head));
        let is_doubtful = matches!(answer, Err(CallError::BadHost(_)));
        let is_last = is_doubtful
            || !asks_to_keep(head)
            || connection.is_last_response()
            || !client.is_received();
        if !matches!(answer, Ok(Answer::Preflight)) {
            let rejected = answer.as_ref().err().map(|error| error.row().reason);
            self.answered(turn.now, rejected);
        }
        let _sent_or_gone = match answer {
            Ok(answer) => {
                answer.write(&cors, &mut turn.scratch.outgoing);
                answer::send(turn, client, asked, b"", is_last)
            }
            Err(error) => refuse(turn, client, asked, &cors, &error, is_last),
        };
        match (client.is_received(), is_last) {
            (false, _) => Outcome::Close(Ending::Linger),
            (true, true) => Outcome::Close(Ending::Flush),
            (true, false) => Outcome::Done,
        }
    }

    fn answer_to(&self, head: &RequestHead) -> Result<Answer, CallError> {
        if head.method() == b"OPTIONS" && head.path() == "/redirect" {
            host_of(head)?;
            return Ok(Answer::Preflight);
        }
        let video = video_of(head)?;
        // Only graphic ASCII passes the rule, so the answer is a field value.
        self.engine
            .redirect(video.into_owned())
            .map(Answer::Location)
    }
}

/// What became of a request at once.
#[derive(Debug)]
pub(in crate::data) enum HttpStarted {
    Answered(Outcome),
    /// Its body is not whole yet.
    Json(Box<JsonCall>),
}

/// An answer that is no fault.
enum Answer {
    /// Where the player fetches the video.
    Location(String),
    /// What a browser asks before a request of another page's.
    Preflight,
}

impl Answer {
    fn write(&self, cors: &CorsAnswer, head: &mut ResponseHead) {
        match self {
            Self::Location(location) => {
                head.begin(302, b"", Version::HTTP_11);
                let fields = head.fields_mut();
                fields.push_as(Kind::Other, b"location", location.as_bytes());
                fields.push_as(Kind::Other, b"cache-control", b"no-store");
            }
            Self::Preflight => {
                head.begin(204, b"", Version::HTTP_11);
                let fields = head.fields_mut();
                fields.push_as(Kind::Other, b"allow", ALLOWED);
                cors.write_preflight(fields);
            }
        }
        cors.write(head.fields_mut());
    }
}

fn video_of(head: &RequestHead) -> Result<Cow<'_, str>, CallError> {
    host_of(head)?;
    match head.path() {
        "/redirect" => {}
        REDIRECT_PATH => return Err(CallError::UnsupportedMediaType),
        _ => return Err(CallError::NotFound),
    }
    if !matches!(head.method(), b"GET" | b"HEAD") {
        return Err(CallError::MethodNotAllowed);
    }
    let query = head.query().unwrap_or_default();
    let mut videos = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("video="));
    let encoded = videos.next().ok_or(CallError::BadRequest(
        "the query has no video; use /redirect?video=URL with the URL percent-encoded",
    ))?;
    let is_other = |pair: &str| !pair.is_empty() && !pair.starts_with("video=");
    if query.split('&').any(is_other) {
        return Err(CallError::BadRequest(
            "the query has a parameter other than video; percent-encode the URL: & as %26",
        ));
    }
    if videos.next().is_some() {
        return Err(CallError::BadRequest("the query has more than one video"));
    }
    percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_source| {
            CallError::BadRequest("the video is not UTF-8 once it is percent-decoded")
        })
}
