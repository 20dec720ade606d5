//! A call that tonic's generated services answer: the redirect service's unusual calls, health,
//! reflection.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame};
use tokio::time::Instant;

use crate::{
    data::{
        outcome::CallCount,
        redirect::{CallError, RedirectWorker, grpc_routes::RoutesFuture},
        stream::Turn,
    },
    redirect::RejectReason,
};

/// A call that tonic answers.
pub(in crate::data) struct TonicCall(Option<State>);

struct State {
    redirect: Rc<RedirectWorker>,
    began: Instant,
    /// A call that a drain waits for; `None` for one that may last as long as its connection.
    count: Option<CallCount>,
    stage: Stage,
}

enum Stage {
    Waiting(RoutesFuture, SendResponse<Bytes>),
    Sending {
        body: tonic::body::Body,
        sender: SendStream<Bytes>,
        unsent: Bytes,
    },
}

impl TonicCall {
    /// A call of the redirect method.
    pub(super) fn call<B>(
        redirect: &Rc<RedirectWorker>,
        began: Instant,
        request: Request<B>,
        respond: SendResponse<Bytes>,
        count: CallCount,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::new(
            redirect,
            began,
            redirect.routes.call(request),
            respond,
            Some(count),
        )
    }

    /// A call of another method, which may last as long as its connection.
    pub(super) fn watch(
        redirect: &Rc<RedirectWorker>,
        began: Instant,
        request: Request<Incoming>,
        respond: SendResponse<Bytes>,
    ) -> Self {
        Self::new(
            redirect,
            began,
            redirect.routes.call(request),
            respond,
            None,
        )
    }

    fn new(
        redirect: &Rc<RedirectWorker>,
        began: Instant,
        response: RoutesFuture,
        respond: SendResponse<Bytes>,
        count: Option<CallCount>,
    ) -> Self {
        Self(Some(State {
            redirect: Rc::clone(redirect),
            began,
            count,
            stage: Stage::Waiting(response, respond),
        }))
    }

    /// A call that was answered.
    pub(super) fn over() -> Self {
        Self(None)
    }

    pub(super) fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        let Some(state) = &mut self.0 else {
            return Poll::Ready(());
        };
        ready!(state.poll(turn));
        self.0 = None;
        Poll::Ready(())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.0.as_ref()?;
        match &state.stage {
            Stage::Waiting(..) => Some(state.began + state.redirect.engine.call_timeout()),
            Stage::Sending { .. } => None,
        }
    }

    pub(super) fn is_watch(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.count.is_none())
    }
}

impl State {
    fn poll(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        loop {
            match &mut self.stage {
                Stage::Waiting(response, respond) => {
                    if respond.poll_reset(turn.cx).is_ready() {
                        self.redirect
                            .answered(self.began, Some(RejectReason::Cancelled));
                        return Poll::Ready(());
                    }
                    let response = match Pin::new(response).poll(turn.cx) {
                        Poll::Ready(Ok(response)) => response,
                        Poll::Pending if self.is_late(turn.now) => {
                            self.refuse_late(turn);
                            return Poll::Ready(());
                        }
                        Poll::Pending => return Poll::Pending,
                    };
                    if self.respond(response, turn).is_none() {
                        return Poll::Ready(());
                    }
                }
                Stage::Sending {
                    body,
                    sender,
                    unsent,
                } => return poll_send(body, sender, unsent, turn.cx),
            }
        }
    }

    fn is_late(&self, now: Instant) -> bool {
        self.began + self.redirect.engine.call_timeout() <= now
    }

    fn refuse_late(&mut self, turn: &Turn<'_, '_>) {
        let timeout = self.redirect.engine.call_timeout();
        let error = CallError::DeadlineExceeded { timeout };
        self.redirect.answered(self.began, Some(error.row().reason));
        if let Stage::Waiting(_, respond) = &mut self.stage {
            let mut response = tonic::Status::from(error).into_http::<()>();
            let date = turn.scratch.date.to_value();
            response.headers_mut().insert(header::DATE, date);
            let _sent_or_gone = respond.send_response(response, true);
        }
    }

    /// Sends the head of tonic's answer. `None` if nothing follows it.
    fn respond(
        &mut self,
        response: Response<tonic::body::Body>,
        turn: &Turn<'_, '_>,
    ) -> Option<()> {
        let reason = self.reason(response.headers());
        if self.count.is_some() {
            self.redirect.answered(self.began, reason);
        } else if let Some(reason) = reason {
            self.redirect.engine.reject(reason);
        }
        let Stage::Waiting(_, respond) = &mut self.stage else {
            return None;
        };
        let (mut head, body) = response.into_parts();
        head.headers
            .insert(header::DATE, turn.scratch.date.to_value());
        let ends = body.is_end_stream();
        let sent = respond.send_response(Response::from_parts(head, ()), ends);
        let sender = sent.ok().filter(|_| !ends)?;
        self.stage = Stage::Sending {
            body,
            sender,
            unsent: Bytes::new(),
        };
        Some(())
    }

    /// The reason to count for a fault that tonic found. The engine has counted its own.
    fn reason(&self, headers: &HeaderMap) -> Option<RejectReason> {
        let code = tonic::Status::from_header_map(headers)?.code();
        if code == tonic::Code::Unimplemented {
            return Some(RejectReason::UnknownMethod);
        }
        let is_too_long = [tonic::Code::OutOfRange, tonic::Code::ResourceExhausted].contains(&code);
        match self.count {
            Some(_) if is_too_long => Some(RejectReason::MessageTooLarge),
            Some(_) if code == tonic::Code::Internal => Some(RejectReason::MalformedMessage),
            Some(_) | None => None,
        }
    }
}

fn poll_send(
    body: &mut tonic::body::Body,
    sender: &mut SendStream<Bytes>,
    unsent: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if sender.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        while unsent.has_remaining() {
            sender.reserve_capacity(unsent.len());
            let room = match sender.capacity() {
                0 => match ready!(sender.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => return Poll::Ready(()),
                },
                room => room,
            };
            let part = unsent.split_to(room.min(unsent.len()));
            if sender.send_data(part, false).is_err() {
                return Poll::Ready(());
            }
        }
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => *unsent = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let _sent_or_gone = sender.send_trailers(trailers);
                    return Poll::Ready(());
                }
            },
            Some(Err(_status)) => {
                sender.send_reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(());
            }
            None => {
                let _sent_or_gone = sender.send_data(Bytes::new(), true);
                return Poll::Ready(());
            }
        }
    }
}

impl fmt::Debug for TonicCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TonicCall")
            .field("is_over", &self.0.is_none())
            .finish()
    }
}

/// A request's body as tonic reads it.
#[derive(Debug)]
pub(super) struct Incoming(RecvStream);

impl Incoming {
    pub(super) fn new(receiver: RecvStream) -> Self {
        Self(receiver)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.0.poll_data(cx)) {
            Some(Ok(data)) => {
                let released = self.0.flow_control().release_capacity(data.len());
                Poll::Ready(Some(released.map(|()| Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => match ready!(self.0.poll_trailers(cx)) {
                Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => Poll::Ready(None),
                Err(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
