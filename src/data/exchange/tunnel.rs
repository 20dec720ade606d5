//! What a connection carries behind a switch of protocols: bytes, both ways.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, sleep_until},
};

use crate::{
    data::{
        connection::Connection,
        exchange::{Acquired, Exchange, HttpWorker, Record, Settled, Step, rewrite},
        outcome::{CallCount, Outcome},
        stream::{Http1Stream, MessageStream, Turn, WriteBuffer},
    },
    net::Transport,
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

/// What moves in a tunnel.
#[derive(Debug)]
struct Flow {
    moved_at: Cell<Instant>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// The first side that broke.
    broken: Cell<Option<Side>>,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Backend,
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

impl Flow {
    fn new(received: u64) -> Self {
        Self {
            moved_at: Cell::new(Instant::now()),
            received: Cell::new(received),
            sent: Cell::new(0),
            broken: Cell::new(None),
        }
    }

    fn outcome(&self, carried: &io::Result<()>) -> Result<(), Cause> {
        match (carried, self.broken.get()) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(Side::Backend)) => Err(Cause::ResponseBroken),
            // It stood still. A side that the system gave up has broken.
            (Err(error), None) if error.kind() == io::ErrorKind::TimedOut => Err(Cause::Cut),
            (Err(_), Some(Side::Client) | None) => Err(Cause::ClientClosed),
        }
    }

    fn broke(&self, side: Side) {
        self.broken.set(self.broken.get().or(Some(side)));
    }

    fn moved(&self, side: Side, bytes: usize) {
        self.moved_at.set(Instant::now());
        let count = match side {
            Side::Client => &self.received,
            Side::Backend => &self.sent,
        };
        count.set(count.get() + bytes as u64);
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

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Direction {
    /// What the receiving side did not take yet.
    unsent: WriteBuffer,
    stage: DirectionStage,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum DirectionStage {
    #[default]
    Moving,
    /// The sending side ended, and what it sent is on its way.
    Ending,
    /// The receiving side takes nothing more, or one side broke.
    Broken(io::ErrorKind),
    Over,
}

impl Direction {
    /// Moves what can be moved. Ends with the sending side, or when either side broke.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Watched,
        to: &mut Watched,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                DirectionStage::Over => return Poll::Ready(Ok(())),
                DirectionStage::Broken(kind) => return Poll::Ready(Err(kind.into())),
                DirectionStage::Moving | DirectionStage::Ending => {
                    if let Err(error) = ready!(self.step(cx, from, to)) {
                        self.stage = DirectionStage::Broken(error.kind());
                    }
                }
            }
        }
    }

    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Watched,
        to: &mut Watched,
    ) -> Poll<io::Result<()>> {
        ready!(self.unsent.poll_flush(to, cx))?;
        ready!(Pin::new(&mut *to).poll_flush(cx))?;
        if self.stage == DirectionStage::Ending {
            ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
            self.stage = DirectionStage::Over;
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; TUNNEL_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.stage = DirectionStage::Ending;
        }
        Poll::Ready(self.unsent.send(to, cx, buffer.filled()))
    }
}

/// What a tunnel moves at a time, and holds at the most for a side that takes nothing.
const TUNNEL_READ_BYTES: usize = 16 * 1024;

/// A side of a tunnel.
struct Watched {
    transport: Transport,
    /// What was read of it with the head.
    unread: Vec<u8>,
    side: Side,
    flow: Rc<Flow>,
}

impl Watched {
    fn new(stream: Http1Stream, side: Side, flow: &Rc<Flow>) -> Self {
        let (transport, unread) = stream.into_parts();
        Self {
            transport,
            unread,
            side,
            flow: Rc::clone(flow),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let polled = match self.unread.is_empty() {
            true => Pin::new(&mut self.transport).poll_read(cx, buf),
            false => {
                let count = self.unread.len().min(buf.remaining());
                buf.put_slice(self.unread.get(..count).unwrap_or_default());
                self.unread.drain(..count);
                Poll::Ready(Ok(()))
            }
        };
        match &polled {
            Poll::Ready(Ok(())) => self.flow.moved(self.side, buf.filled().len() - filled),
            Poll::Ready(Err(_)) => self.flow.broke(self.side),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write(cx, buf);
        if let Poll::Ready(Err(_)) = &polled {
            self.flow.broke(self.side);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
