//! The HTTP load balancer: one request and its response, in named stages.
//!
//! | stage | file | takes | gives |
//! |---|---|---|---|
//! | route | `route` | the head of a request | where it goes |
//! | policies | `policies` | that, and the head | nothing, or a fault |
//! | rewrite | `rewrite` | the head | the head as backends get it |
//! | acquire | `acquire` | the upstream | a backend and a connection to it |
//! | send | `send` | the connection | the head of a response |
//! | relay | `relay` | both bodies | the end of the response |
//! | log | `log` | what happened | a line |
//!
//! Beside them: `clock` (until when an exchange may wait), `retry` (what may be tried next),
//! `upload` and `replay` (the request's body), `tunnel` (what follows a switch of protocols). An [`Exchange`] is polled by the client's connection, over
//! HTTP/1.1 and HTTP/2 alike, and spawns nothing.

use std::{rc::Rc, task::Poll};

use tokio::time::Instant;

use crate::{
    data::{
        answer::Asked,
        connection::Connection,
        context::{LocalSnapshot, UpstreamRef},
        fault::Fault,
        outcome::{CallCount, Outcome},
        stream::{MessageStream, Turn},
    },
    message::{Framing, Kind, RequestHead},
    route::Route,
    shutdown::Phase,
    state::Cause,
};

mod acquire;
mod begin;
mod clock;
mod failure;
mod failure_log;
mod http_worker;
mod log;
mod policies;
mod relay;
mod replay;
mod request_id;
mod retry;
mod rewrite;
mod route;
mod send;
mod tunnel;
mod unreadable;
mod upload;

pub(in crate::data) use begin::Begun;
pub(in crate::data) use http_worker::HttpWorker;
pub(in crate::data) use unreadable::answer_unreadable;

use self::{
    acquire::{AcquireFault, Acquired, Acquiring, Wanted},
    clock::Clock,
    failure_log::Attempts,
    log::Record,
    retry::RetryState,
    upload::Upload,
};

/// One request on its way to a backend, and its response on the way back.
#[derive(Debug)]
pub(in crate::data) struct Exchange {
    http: Rc<HttpWorker>,
    connection: Rc<Connection>,
    upstream: UpstreamRef,
    listener: usize,
    route: usize,
    request: Request,
    upload: Upload,
    retry: RetryState,
    attempts: Attempts,
    clock: Clock,
    stage: Stage,
    record: Option<Box<Record>>,
    /// Whether the client's connection ends with this exchange.
    is_last: bool,
    /// Whether the end of the connection is the end of the response.
    ends_by_close: bool,
    /// Whether the end of the response was passed on.
    is_ended: bool,
    settled: Settled,
    _count: CallCount,
}

/// What is asked of backends, and what the answer must suit.
#[derive(Debug)]
struct Request {
    /// The head as backends get it.
    outgoing: RequestHead,
    body: Framing,
    /// What consistent hashing hashes.
    key: Vec<u8>,
    /// The protocol that the client wants to switch to.
    upgrade: Option<Box<[u8]>>,
    asked: Asked,
    /// Whether the client says that it reads trailers.
    asks_for_trailers: bool,
    /// Whether it gets them: over HTTP/2 a client always does.
    gets_trailers: bool,
    is_told_of_keep_alive: bool,
}

#[derive(Debug)]
enum Stage {
    Acquire(Acquiring),
    Send(Acquired),
    Relay(Acquired),
    /// The client takes what is left.
    Flush,
    /// What came before a broken end is written, then the stream is reset.
    BreakOff,
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Settled {
    /// Nothing yet; no head was sent.
    Open,
    /// A response's head was sent.
    Responded,
    /// It is over and counted.
    Over,
}

/// What a stage says.
enum Step {
    /// Go on with this stage at once.
    Go(Stage),
    /// Go on with it when something happens.
    Wait(Stage),
    End(Outcome),
}

impl Exchange {
    /// Goes on as far as it can.
    pub(in crate::data) fn poll(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
    ) -> Poll<Outcome> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Flush);
            let step = match stage {
                Stage::Acquire(acquiring) => self.poll_acquire(turn, client, acquiring),
                Stage::Send(acquired) => self.poll_send(turn, client, acquired),
                Stage::Relay(acquired) => self.poll_relay(turn, client, acquired),
                Stage::Flush => self.poll_flush(turn, client),
                Stage::BreakOff => {
                    client.break_off();
                    Step::End(Outcome::Done)
                }
            };
            let step = match step {
                Step::Wait(stage) => self.look_at_the_clock(turn, client, stage),
                step @ (Step::Go(_) | Step::End(_)) => step,
            };
            match step {
                Step::Go(stage) => self.stage = stage,
                Step::Wait(stage) => {
                    self.stage = stage;
                    return Poll::Pending;
                }
                Step::End(outcome) => return Poll::Ready(outcome),
            }
        }
    }

    /// When it wants to be polled although nothing happened.
    pub(in crate::data) fn due(&self) -> Instant {
        let due = self.clock.due();
        match (&self.stage, self.upload.goes_on_at()) {
            (Stage::Send(_), Some(at)) => at.min(due),
            _ => due,
        }
    }

    fn poll_acquire(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        mut acquiring: Acquiring,
    ) -> Step {
        let wanted = Wanted::by(&self.http, &self.upstream, &self.request, &self.retry);
        match wanted.poll(turn, &mut acquiring, &mut self.clock) {
            Poll::Ready(Ok(acquired)) => {
                self.attempts.at(acquired.backend().id);
                if let Some(record) = &mut self.record {
                    record.attempt(acquired.backend());
                }
                self.begin_attempt(turn, client, acquired)
            }
            Poll::Ready(Err(AcquireFault::Unpicked(fault))) => {
                // The failure of the attempt before says more than that no other backend is left.
                let fault = self.retry.take_failure().unwrap_or(fault);
                self.give_up(turn, client, fault)
            }
            Poll::Ready(Err(AcquireFault::Unreached(in_flight, fault))) => {
                self.unreached(turn, client, in_flight, fault)
            }
            Poll::Pending if self.is_client_gone(turn, client) => {
                self.give_up(turn, client, Fault::ClientClosed)
            }
            Poll::Pending => Step::Wait(Stage::Acquire(acquiring)),
        }
    }

    /// The id that its backend got; empty if a rule of the route removed it.
    fn request_id(&self) -> &[u8] {
        let id = self.request.outgoing.fields().first(Kind::RequestId);
        id.unwrap_or_default()
    }

    fn route(&self) -> &Route {
        let snapshot = self.upstream.snapshot();
        let listener = snapshot.http(self.listener);
        let route = listener.and_then(|listener| listener.settings.router.get(self.route));
        route.expect("the snapshot has the route that it gave")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.settled != Settled::Over {
            // The connection ended before the exchange did.
            let is_cut = self.http.context.phases.current() == Phase::Cut;
            let cause = if is_cut {
                self.log_cut();
                Cause::Cut
            } else {
                self.connection.cause_of_loss()
            };
            self.settle_as(Some(cause));
        }
        self.http
            .return_head(std::mem::take(&mut self.request.outgoing));
    }
}

/// The snapshot that a request of a listener is answered by: the current one, or the last that had
/// the listener. Clients of a listener that a reload took away are told to leave.
fn snapshot_for(http: &HttpWorker, connection: &Connection, listener: usize) -> LocalSnapshot {
    let snapshot = http.context.snapshot();
    if snapshot.http(listener).is_some() {
        return snapshot;
    }
    match snapshot.last_with(listener) {
        Some(last) => {
            connection.ask_to_leave();
            Rc::new(std::sync::Arc::clone(last))
        }
        None => snapshot,
    }
}
