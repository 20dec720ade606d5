//! What a connection carries behind a switch of protocols: bytes, both ways.

use std::{future::poll_fn, io, rc::Rc};

use tokio::time::{Duration, timeout};

use crate::{
    data::{
        connection::Connection,
        exchange::{Acquired, Exchange, HttpWorker, Record, Settled, Step, rewrite},
        outcome::{CallCount, Outcome},
        relay::{End, Flow, IdleLimits, Side, carry},
        stream::{Http1Stream, MessageStream, Turn},
    },
    shutdown::Phase,
    state::{BackendFile, Cause, CloseCause, InFlight},
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
                flow: Rc::new(Flow::new(received, turn.now)),
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
        let limits = IdleLimits {
            client: idle_timeout,
            backend: idle_timeout,
            half_open: idle_timeout,
        };
        let carrying = async {
            let flushed = timeout(idle_timeout, poll_fn(|cx| client.poll_flush(cx))).await;
            let flushed = flushed.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?;
            flushed.map_err(|_gone| {
                flow.broke(Side::Client);
                io::Error::from(io::ErrorKind::BrokenPipe)
            })?;
            let end = |stream: Http1Stream, side| {
                let (transport, unread) = stream.into_parts();
                End::new(transport, unread, side, &flow)
            };
            let (mut client, mut backend) =
                (end(client, Side::Client), end(backend, Side::Backend));
            let context = &ending.http.context;
            carry(context, &mut client, &mut backend, &flow, limits).await
        };
        let carried = carrying.await;
        ending.outcome = Some(outcome(&flow, &carried));
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
        record.received(self.flow.received());
        record.sent(self.flow.sent());
        if let Err(cause) = outcome {
            record.failed(cause);
        }
        self.http.log(record);
    }
}

/// What became of a tunnel.
fn outcome(flow: &Flow, carried: &io::Result<()>) -> Result<(), Cause> {
    match (carried, flow.broken()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(Side::Backend)) => Err(Cause::ResponseBroken),
        // It stood still. A side that the system gave up has broken.
        (Err(error), None) if error.kind() == io::ErrorKind::TimedOut => Err(Cause::Cut),
        (Err(_), Some(Side::Client) | None) => Err(Cause::ClientClosed),
    }
}
