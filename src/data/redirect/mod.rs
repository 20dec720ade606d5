//! The redirect service: gRPC and plain HTTP on one port.
//!
//! Both answer from one [`Engine`], so that they share the rule, the turns and the counters. Runs
//! on worker threads.

use std::rc::Rc;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, header};
use tokio::time::Instant;

use crate::{
    data::{
        answer::{self, Asked},
        connection::Connection,
        context::WorkerContext,
        fault::Fault,
        stream::{MessageStream, StreamFault, Turn},
    },
    message::{Fields, Kind, RequestHead},
    redirect::RejectReason,
};

mod call_error;
mod cors;
mod deadline;
mod engine;
mod grpc_call;
mod grpc_routes;
mod http_face;
mod json_call;
mod message;
mod policies;
mod tonic_call;

pub(in crate::data) use call_error::CallError;
use cors::CorsAnswer;
pub use engine::Engine;
pub(in crate::data) use grpc_call::GrpcCall;
pub use grpc_routes::{GrpcRoutes, health_service};
pub(in crate::data) use http_face::HttpStarted;
pub(in crate::data) use json_call::JsonCall;

/// The redirect service's part of one worker.
#[derive(Debug)]
pub(in crate::data) struct RedirectWorker {
    context: Rc<WorkerContext>,
    engine: Engine,
    routes: GrpcRoutes,
}

impl RedirectWorker {
    /// The part of a worker.
    pub(in crate::data) fn new(context: &Rc<WorkerContext>, routes: GrpcRoutes) -> Self {
        Self {
            context: Rc::clone(context),
            engine: Engine::new(std::sync::Arc::clone(&context.shared), context.index),
            routes,
        }
    }

    /// Whether a request over HTTP/2 is a gRPC call.
    pub(in crate::data) fn is_grpc(&self, request: &Request<RecvStream>) -> bool {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let suffix =
            content_type.and_then(|text| text.as_bytes().strip_prefix(b"application/grpc"));
        // `application/grpc-web` is another protocol.
        suffix.is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';' | b' ')))
    }

    /// Answers a gRPC call. `None` once it is answered, which nearly all are at once: head and
    /// message have arrived together.
    pub(in crate::data) fn call(
        self: &Rc<Self>,
        connection: &Connection,
        turn: &mut Turn<'_, '_>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<Box<GrpcCall>> {
        GrpcCall::start(self, connection, turn, request, respond)
    }

    /// Counts an answer: how long it took since the call's head, and why it has no address if it
    /// has none. The one place that counts rejected calls, beside those that tonic decodes.
    fn answered(&self, since: Instant, rejected: Option<RejectReason>) {
        self.engine.stats().call_duration.record(since.elapsed());
        if let Some(reason) = rejected {
            self.engine.reject(reason);
        }
    }

    /// Answers a head that cannot be read, or did not come in time.
    pub(in crate::data) fn answer_unreadable(
        &self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        asked: Asked,
        fault: &Fault,
    ) {
        self.engine.reject(RejectReason::BadRequest);
        let status = fault.row().status;
        let cors = self.engine.cors(&RequestHead::default());
        let body = serde_json::json!({ "code": status, "message": fault.to_string() }).to_string();
        begin_json(turn, status, &cors);
        // A client that is gone does not read it.
        let _sent = answer::send(turn, client, asked, body.as_bytes(), true);
    }
}

/// Answers by a fault, with its message in JSON.
fn refuse(
    turn: &mut Turn<'_, '_>,
    client: &mut MessageStream,
    asked: Asked,
    cors: &CorsAnswer,
    error: &CallError,
    is_last: bool,
) -> Result<usize, StreamFault> {
    let status = error.row().status;
    let body = serde_json::json!({ "code": status, "message": error.to_string() }).to_string();
    let head = begin_json(turn, status, cors);
    if status == 405 {
        head.push_as(Kind::Other, b"allow", ALLOWED);
    }
    if let CallError::RateLimited(limited) = error {
        limited.write(head);
    }
    answer::send(turn, client, asked, body.as_bytes(), is_last)
}

/// Begins the head of an answer in JSON, in the scratch buffers.
fn begin_json<'a>(turn: &'a mut Turn<'_, '_>, status: u16, cors: &CorsAnswer) -> &'a mut Fields {
    let head = &mut turn.scratch.outgoing;
    head.begin(status, b"", http::Version::HTTP_11);
    let fields = head.fields_mut();
    fields.push_as(Kind::ContentType, b"content-type", b"application/json");
    fields.push_as(Kind::Other, b"cache-control", b"no-store");
    cors.write(fields);
    fields
}

/// The methods of `/redirect`.
const ALLOWED: &[u8] = b"GET, HEAD, POST, OPTIONS";
