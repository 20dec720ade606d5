//! A client's socket with the bytes that were already read off it.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf},
};

use crate::{
    data::{connection::Connection, outbox::Outbox},
    state::Protocol,
};

/// Waits for a connection's first bytes and tells its protocol from them. HTTP/2 is only
/// recognised by its whole preface, so that no library ever waits for the rest of one.
///
/// # Errors
///
/// When the socket breaks, or closes before its protocol is known.
pub(super) async fn read_opening(stream: &mut TcpStream) -> io::Result<(Protocol, Bytes)> {
    let mut seen = BytesMut::with_capacity(PREFACE.len());
    loop {
        let missing = PREFACE.len() - seen.len();
        let read = (&mut *stream)
            .take(missing as u64)
            .read_buf(&mut seen)
            .await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if *seen == PREFACE[..] {
            return Ok((Protocol::Http2, seen.freeze()));
        }
        if !PREFACE.starts_with(&seen) {
            return Ok((Protocol::Http1, seen.freeze()));
        }
    }
}

/// The client's part of an HTTP/2 connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(super) struct Socket {
    /// What was read before hyper was there; handed on before more is read.
    opening: Bytes,
    reader: OwnedReadHalf,
    outbox: Rc<Outbox>,
    connection: Rc<Connection>,
}

impl Socket {
    pub(super) fn new(
        opening: Bytes,
        reader: OwnedReadHalf,
        outbox: Rc<Outbox>,
        connection: Rc<Connection>,
    ) -> Self {
        Self {
            opening,
            reader,
            outbox,
            connection,
        }
    }
}

impl Socket {
    /// The receiving half.
    pub(super) fn into_reader(self) -> OwnedReadHalf {
        self.reader
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if !socket.opening.is_empty() {
            let taken = socket.opening.len().min(buf.remaining());
            let opening = socket.opening.split_to(taken);
            socket.connection.bytes_arrived(&opening);
            buf.put_slice(&opening);
            return Poll::Ready(Ok(()));
        }
        let filled = buf.filled().len();
        let polled = Pin::new(&mut socket.reader).poll_read(cx, buf);
        let arrived = buf.filled().get(filled..).unwrap_or_default();
        socket.connection.bytes_arrived(arrived);
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: `drive` sends the outbox at the end of each poll.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_broken() {
            self.outbox.reset_on_close();
            return Poll::Ready(Ok(()));
        }
        // The rest is `Outbox::linger`'s.
        self.outbox.poll_send(cx)
    }
}
