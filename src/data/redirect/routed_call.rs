//! A gRPC request to anything but the redirect method: health, reflection, or nothing we have.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    data::{
        connection::{Connection, Watch},
        error::CallError,
        redirect::{AnswerBody, deadline::Deadline, grpc_routes::RoutesFuture},
    },
    redirect::RejectReason,
};

/// Waits for the head of tonic's answer. The answer itself may last as long as the connection.
#[derive(Debug)]
pub(in crate::data) struct RoutedCall {
    connection: Rc<Connection>,
    response: RoutesFuture,
    deadline: Deadline,
    /// Taken by the answer.
    watch: Option<Watch>,
}

impl RoutedCall {
    pub(super) fn new(connection: &Rc<Connection>, request: Request<Incoming>) -> Self {
        let worker = connection.worker();
        Self {
            watch: Some(connection.watch_started()),
            // A client's own timeout may be meant for a watch; ours is for the request alone.
            deadline: Deadline::new(Instant::now(), None, worker.redirect.call_timeout()),
            response: worker.grpc_routes.call(request),
            connection: Rc::clone(connection),
        }
    }

    fn reject(&self, reason: RejectReason) {
        self.connection.worker().redirect.reject(reason);
    }
}

impl Future for RoutedCall {
    type Output = Response<AnswerBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(Ok(response)) = Pin::new(&mut self.response).poll(cx) {
            let status = tonic::Status::from_header_map(response.headers());
            if status.is_some_and(|status| status.code() == tonic::Code::Unimplemented) {
                self.reject(RejectReason::UnknownMethod);
            }
            let watch = self.watch.take();
            return Poll::Ready(response.map(|body| AnswerBody::streamed(body, watch)));
        }
        if self.deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let error = CallError::DeadlineExceeded {
            timeout: self.deadline.timeout(),
        };
        self.reject(error.reason());
        let watch = self.watch.take();
        let response = tonic::Status::from(error).into_http::<tonic::body::Body>();
        Poll::Ready(response.map(|body| AnswerBody::streamed(body, watch)))
    }
}
