//! The redirect service's two faces on one port: gRPC and plain HTTP.
//!
//! [`RedirectService`] is what hyper calls for each request. It answers from one [`Engine`], so
//! both faces share the rule, the turns and the counters. Runs on worker threads.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{HeaderMap, Method, Request, Response, header};
use hyper::{body::Incoming, service::Service};

use crate::{data::connection::Connection, proto::REDIRECT_PATH, redirect::RejectReason};

mod answer_body;
mod engine;
mod grpc_routes;
mod http_face;
mod unary_call;

pub(super) use answer_body::AnswerBody;
pub use engine::Engine;
pub use grpc_routes::{GrpcRoutes, health_service};

use self::{grpc_routes::RoutesFuture, unary_call::UnaryCall};

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
        if !is_grpc(request.headers()) {
            return Answer::Ready(Some(http_face::answer(&self.connection, &request)));
        }
        if is_plain_redirect(&request) {
            return Answer::Redirect(UnaryCall::new(&self.connection, request));
        }
        let watch = self.connection.watch_started();
        let response = self.connection.worker().grpc_routes.call(request);
        Answer::Routed {
            response,
            watch: Some(watch),
            connection: Rc::clone(&self.connection),
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes());
    content_type
        .and_then(|text| text.strip_prefix(b"application/grpc"))
        // `application/grpc-web` is another protocol.
        .is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';' | b' ')))
}

/// Whether this is a call of the one method as nearly all clients make it. All else that is gRPC
/// goes through tonic.
fn is_plain_redirect(request: &Request<Incoming>) -> bool {
    request.uri().path() == REDIRECT_PATH
        && request.method() == Method::POST
        && !request.headers().contains_key("grpc-encoding")
}

/// The answer to one request, as hyper waits for it. `Unpin`, so that the executor can poll it
/// before it decides whether it needs a task.
#[derive(Debug)]
pub(in crate::data) enum Answer {
    Ready(Option<Response<AnswerBody>>),
    Redirect(UnaryCall),
    Routed {
        response: RoutesFuture,
        watch: Option<crate::data::connection::Watch>,
        connection: Rc<Connection>,
    },
}

impl Future for Answer {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => Poll::Ready(Ok(response.take().expect("polled once"))),
            Self::Redirect(call) => Pin::new(call).poll(cx).map(Ok),
            Self::Routed {
                response,
                watch,
                connection,
            } => {
                let Poll::Ready(Ok(response)) = Pin::new(response).poll(cx) else {
                    return Poll::Pending;
                };
                let failed = tonic::Status::from_header_map(response.headers());
                if failed.is_some_and(|status| status.code() == tonic::Code::Unimplemented) {
                    connection
                        .worker()
                        .redirect
                        .reject(RejectReason::UnknownMethod);
                }
                let watch = watch.take();
                Poll::Ready(Ok(response.map(|body| AnswerBody::streamed(body, watch))))
            }
        }
    }
}
