//! One end of a relay: a connection whose movements are noted.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    data::relay::flow::{Flow, Side},
    net::Transport,
};

/// One end of a relay.
#[derive(Debug)]
pub(in crate::data) struct End {
    transport: Transport,
    /// What was read of it before.
    unread: Vec<u8>,
    side: Side,
    flow: Rc<Flow>,
    /// Whether it was reset: nothing more comes from it, and nothing reaches it.
    pub(super) is_reset: bool,
}

impl End {
    pub(in crate::data) fn new(
        transport: Transport,
        unread: Vec<u8>,
        side: Side,
        flow: &Rc<Flow>,
    ) -> Self {
        Self {
            transport,
            unread,
            side,
            flow: Rc::clone(flow),
            is_reset: false,
        }
    }

    /// Makes its close a reset, so that the peer cannot take it for a complete end.
    pub(in crate::data) fn reset_on_close(&self) {
        self.transport.reset_on_close();
    }
}

impl AsyncRead for End {
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
            Poll::Ready(Ok(())) => self.flow.read(self.side, buf.filled().len() - filled),
            Poll::Ready(Err(_)) => {
                self.flow.broke(self.side);
                self.is_reset = true;
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write(cx, buf);
        match &polled {
            Poll::Ready(Ok(_)) => self.flow.moved(self.side),
            Poll::Ready(Err(_)) => self.flow.broke(self.side),
            Poll::Pending => {}
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
