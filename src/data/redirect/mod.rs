//! The redirect service's two faces on one port: gRPC and plain HTTP.
//!
//! `RedirectService` is what hyper calls for each request. It answers from one [`Engine`], so
//! both faces share the rule, the turns and the counters. Runs on worker threads.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response, Version, header};
use hyper::{body::Incoming, service::Service};

use crate::{data::connection::Connection, proto::REDIRECT_PATH};

mod answer_body;
mod deadline;
mod engine;
mod grpc_routes;
mod http_face;
mod routed_call;
mod unary_call;

pub(super) use answer_body::AnswerBody;
pub use engine::Engine;
pub use grpc_routes::{GrpcRoutes, health_service};

use self::{routed_call::RoutedCall, unary_call::UnaryCall};

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct RedirectService {
    connection: Rc<Connection>,
}

impl RedirectService {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }
}

impl Service<Request<Incoming>> for RedirectService {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        if !is_grpc(&request) {
            return Answer::Ready(Some(http_face::answer(&self.connection, &request)));
        }
        if request.uri().path() == REDIRECT_PATH {
            return Answer::Redirect(UnaryCall::new(&self.connection, request));
        }
        Answer::Routed(RoutedCall::new(&self.connection, request))
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let suffix = content_type.and_then(|text| text.as_bytes().strip_prefix(b"application/grpc"));
    // `application/grpc-web` is another protocol. Over HTTP/1.1 the status would be lost.
    suffix.is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';' | b' ')))
        && request.version() == Version::HTTP_2
}

/// The answer to one request, as hyper waits for it. `Unpin`, so that the executor can poll it
/// before it decides whether it needs a task.
#[derive(Debug)]
pub(in crate::data) enum Answer {
    Ready(Option<Response<AnswerBody>>),
    Redirect(UnaryCall),
    Routed(RoutedCall),
}

impl Future for Answer {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => Poll::Ready(Ok(response.take().expect("polled once"))),
            Self::Redirect(call) => Pin::new(call).poll(cx).map(Ok),
            Self::Routed(call) => Pin::new(call).poll(cx).map(Ok),
        }
    }
}
