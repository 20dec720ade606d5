//! A client's socket after HTTP: plain bytes both ways.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::data::{outbox::Outbox, socket::Socket};

/// What is left of a connection when hyper is done with it.
#[derive(Debug)]
pub(super) struct TunnelSocket {
    /// What hyper read and did not use.
    unread: Bytes,
    socket: Socket,
    outbox: Rc<Outbox>,
}

impl TunnelSocket {
    pub(super) fn new(socket: Socket, unread: Bytes, outbox: Rc<Outbox>) -> Self {
        Self {
            unread,
            socket,
            outbox,
        }
    }
}

impl AsyncRead for TunnelSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let taken = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_shutdown(cx)
    }
}
