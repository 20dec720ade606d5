//! What a connection carries behind a switch of protocols: bytes, both ways.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::{Duration, Instant, sleep_until},
};

use crate::{
    data::{
        connection::Call,
        http::{lease::Lease, record::Record},
        tunnel_socket::TunnelSocket,
    },
    state::Cause,
};

/// What a connection becomes once its 101 was written.
#[derive(Debug)]
pub(in crate::data) struct Tunnel {
    upgraded: OnUpgrade,
    /// Keeps the backend's count and connection.
    lease: Lease,
    idle_timeout: Duration,
    /// There once the 101 is on its way.
    held: RefCell<Option<Held>>,
}

/// What lasts as long as a tunnel: the call in flight, and its log line, which tells in the end
/// what was carried.
#[derive(Debug)]
struct Held {
    call: Call,
    record: Option<Box<Record>>,
    flow: Rc<Flow>,
    /// How it ended, if it did before it was given up.
    outcome: Option<Result<(), Cause>>,
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
    pub(super) fn new(upgraded: OnUpgrade, lease: Lease, idle_timeout: Duration) -> Self {
        Self {
            upgraded,
            lease,
            idle_timeout,
            held: RefCell::new(None),
        }
    }

    pub(super) fn hold(&self, call: Call, record: Option<Box<Record>>) {
        let flow = Flow {
            moved_at: Cell::new(Instant::now()),
            received: Cell::new(0),
            sent: Cell::new(0),
            broken: Cell::new(None),
        };
        self.held.replace(Some(Held {
            call,
            record,
            flow: Rc::new(flow),
            outcome: None,
        }));
    }

    /// Carries bytes both ways until both sides ended, one broke, or neither sent anything for
    /// too long. One side's end is passed on, and the other may go on.
    pub(in crate::data) async fn carry(mut self, client: TunnelSocket) -> io::Result<()> {
        let Some(mut held) = self.held.take() else {
            return Ok(());
        };
        let upgraded = poll_fn(|cx| {
            self.lease.conn.drive(cx);
            Pin::new(&mut self.upgraded).poll(cx)
        });
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        let flow = Rc::clone(&held.flow);
        flow.moved_at.set(Instant::now());
        let mut client = Watched {
            stream: client,
            side: Side::Client,
            flow: Rc::clone(&flow),
        };
        let mut backend: Watched<TokioIo<Upgraded>> = Watched {
            stream: TokioIo::new(upgraded),
            side: Side::Backend,
            flow: Rc::clone(&flow),
        };
        let carried = tokio::select! {
            copied = copy_bidirectional(&mut client, &mut backend) => copied.map(|_bytes| ()),
            () = stood_still(&flow.moved_at, self.idle_timeout) => {
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        held.outcome = Some(flow.outcome(&carried));
        carried
    }
}

impl Flow {
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

impl Drop for Held {
    fn drop(&mut self) {
        let connection = self.call.connection();
        let outcome = self
            .outcome
            .unwrap_or_else(|| Err(connection.cause_of_loss()));
        if let Err(cause) = outcome {
            let stats = &connection.worker().state().stats;
            stats.faults(cause).increment();
        }
        let Some(record) = &mut self.record else {
            return;
        };
        record.carried(self.flow.received.get(), self.flow.sent.get());
        if let Err(cause) = outcome {
            record.failed(cause);
        }
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

/// A side of a tunnel.
struct Watched<S> {
    stream: S,
    side: Side,
    flow: Rc<Flow>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) => self.flow.moved(self.side, buf.filled().len() - filled),
            Poll::Ready(Err(_)) => self.flow.broke(self.side),
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Err(_)) = &polled {
            self.flow.broke(self.side);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
