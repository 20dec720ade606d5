//! What a connection carries behind a switch of protocols: bytes, both ways.

use std::{cell::Cell, future::poll_fn, io, rc::Rc, task::Poll};

use tokio::time::{Duration, Instant, sleep_until};

use crate::{
    data::{
        connection::Connection,
        exchange::{Acquired, Exchange, HttpWorker, Record, Settled, Step, rewrite},
        outcome::{CallCount, Outcome},
        stream::{Http1Stream, MessageStream, Turn},
    },
    shutdown::Phase,
    state::{BackendFile, Cause, CloseCause, InFlight},
};

mod direction;
mod flow;

use self::{
    direction::Direction,
    flow::{Flow, Side, Watched},
};

impl Exchange {
    /// Agrees to the switch of protocols that the backend agreed to.
    pub(super) fn switch(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        acquired: Acquired,
    ) -> Step {
        let scratch = &mut *turn.scratch;
        let protocol = self.request.upgrade.take().unwrap_or_default();
        let rules = &self.route().response_headers;
        rewrite::switch(&scratch.response, &protocol, rules, &mut scratch.outgoing);
        let (MessageStream::Http1(client), Some((backend, file))) =
            (client, acquired.connection.into_http1())
        else {
            // Only HTTP/1.1 was asked to switch.
            return Step::End(Outcome::Done);
        };
        client.send_head(scratch.outgoing.as_http1());
        self.http.stats().upgrades.increment();
        self.settled = Settled::Over;
        let (received, record) = (self.upload.bytes(), self.record.take());
        let tunnel = Tunnel {
            backend,
            _file: file,
            _in_flight: acquired.in_flight,
            idle_timeout: self.clock.limits().upstream_idle,
            ending: TunnelEnding {
                http: Rc::clone(&self.http),
                connection: Rc::clone(&self.connection),
                record,
                flow: Rc::new(Flow::new(received)),
                outcome: None,
                _count: std::mem::take(&mut self._count),
            },
        };
        Step::End(Outcome::Switch(Box::new(|client| {
            Box::pin(tunnel.carry(client))
        })))
    }
}

/// What a connection becomes once its 101 was written.
#[derive(Debug)]
struct Tunnel {
    backend: Http1Stream,
    _file: BackendFile,
    /// Keeps the backend's count.
    _in_flight: InFlight,
    idle_timeout: Duration,
    ending: TunnelEnding,
}

/// What is counted and logged when a tunnel ends, whatever ends it.
#[derive(Debug)]
struct TunnelEnding {
    http: Rc<HttpWorker>,
    connection: Rc<Connection>,
    record: Option<Box<Record>>,
    flow: Rc<Flow>,
    /// How it ended, if it did before it was given up.
    outcome: Option<Result<(), Cause>>,
    _count: CallCount,
}

impl Tunnel {
    /// Carries bytes both ways until both sides ended, one broke, or neither sent anything for
    /// too long. One side's end is passed on, and the other may go on.
    async fn carry(self, mut client: Http1Stream) -> CloseCause {
        let Self {
            backend,
            _file,
            _in_flight,
            idle_timeout,
            mut ending,
        } = self;
        let flow = Rc::clone(&ending.flow);
        let carrying = async {
            poll_fn(|cx| client.poll_flush(cx)).await.map_err(|_gone| {
                flow.broke(Side::Client);
                io::Error::from(io::ErrorKind::BrokenPipe)
            })?;
            let mut client = Watched::new(client, Side::Client, &flow);
            let mut backend = Watched::new(backend, Side::Backend, &flow);
            let (mut up, mut down) = (Direction::default(), Direction::default());
            poll_fn(|cx| {
                // Both to their ends: what one side has sent before it refused the other's bytes is
                // still delivered, such as the close frame of a WebSocket.
                let up = up.poll(cx, &mut client, &mut backend);
                let down = down.poll(cx, &mut backend, &mut client);
                match (up, down) {
                    (Poll::Ready(up), Poll::Ready(down)) => Poll::Ready(up.and(down)),
                    _ if client.is_reset || backend.is_reset => {
                        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                    }
                    _ => Poll::Pending,
                }
            })
            .await
        };
        let carried = tokio::select! {
            carried = carrying => carried,
            () = stood_still(&flow.moved_at, idle_timeout) => Err(io::ErrorKind::TimedOut.into()),
        };
        ending.outcome = Some(flow.outcome(&carried));
        match carried {
            Ok(()) => CloseCause::Done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => CloseCause::IdleTimeout,
            Err(_broken) => CloseCause::ConnectionError,
        }
    }
}

impl Drop for TunnelEnding {
    fn drop(&mut self) {
        let given_up = || match self.http.context.phases.current() {
            Phase::Cut => Cause::Cut,
            Phase::Running | Phase::LameDuck | Phase::Draining | Phase::ClosingIdle => {
                self.connection.cause_of_loss()
            }
        };
        let outcome = self.outcome.unwrap_or_else(|| Err(given_up()));
        if let Err(cause) = outcome {
            self.http.stats().faults(cause).increment();
        }
        let Some(record) = &mut self.record else {
            return;
        };
        record.received(self.flow.received.get());
        record.sent(self.flow.sent.get());
        if let Err(cause) = outcome {
            record.failed(cause);
        }
        self.http.log(record);
    }
}

async fn stood_still(moved_at: &Cell<Instant>, idle_timeout: Duration) {
    loop {
        let due = moved_at.get() + idle_timeout;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}
