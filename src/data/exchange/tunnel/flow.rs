//! What moves in a tunnel, and which side broke.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{data::stream::Http1Stream, net::Transport, state::Cause};

/// What moves in a tunnel.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) moved_at: Cell<Instant>,
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// The first side that broke.
    broken: Cell<Option<Side>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Backend,
}

impl Flow {
    pub(super) fn new(received: u64) -> Self {
        Self {
            moved_at: Cell::new(Instant::now()),
            received: Cell::new(received),
            sent: Cell::new(0),
            broken: Cell::new(None),
        }
    }

    pub(super) fn outcome(&self, carried: &io::Result<()>) -> Result<(), Cause> {
        match (carried, self.broken.get()) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(Side::Backend)) => Err(Cause::ResponseBroken),
            // It stood still. A side that the system gave up has broken.
            (Err(error), None) if error.kind() == io::ErrorKind::TimedOut => Err(Cause::Cut),
            (Err(_), Some(Side::Client) | None) => Err(Cause::ClientClosed),
        }
    }

    pub(super) fn broke(&self, side: Side) {
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

/// A side of a tunnel.
pub(super) struct Watched {
    transport: Transport,
    /// What was read of it with the head.
    unread: Vec<u8>,
    side: Side,
    flow: Rc<Flow>,
    /// Whether it was reset: nothing more comes from it, and nothing reaches it.
    pub(super) is_reset: bool,
}

impl Watched {
    pub(super) fn new(stream: Http1Stream, side: Side, flow: &Rc<Flow>) -> Self {
        let (transport, unread) = stream.into_parts();
        Self {
            transport,
            unread,
            side,
            flow: Rc::clone(flow),
            is_reset: false,
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
            Poll::Ready(Err(_)) => {
                self.flow.broke(self.side);
                self.is_reset = true;
            }
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
