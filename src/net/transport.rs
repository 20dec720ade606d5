//! How the bytes of a connection travel: in clear text or in TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A byte stream to a client or to a backend.
#[derive(Debug)]
pub enum Transport {
    /// Clear text.
    Tcp(TcpStream),
    /// TLS, of which this side is the client.
    TlsClient(Box<TlsStream<TcpStream>>),
    /// A pipe within a test.
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

impl Transport {
    /// Makes the close a reset (RST), so that the peer cannot take it for a complete end.
    pub fn reset_on_close(&self) {
        let socket = match self {
            Self::Tcp(stream) => stream,
            Self::TlsClient(stream) => stream.get_ref().0,
            #[cfg(test)]
            Self::Memory(_) => return,
        };
        let _best_effort = socket.set_zero_linger();
    }

    /// The socket, if nothing is between it and the bytes.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::TlsClient(_) => None,
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(match self {
            Self::Tcp(stream) => stream as &mut dyn Stream,
            Self::TlsClient(stream) => stream,
            #[cfg(test)]
            Self::Memory(stream) => stream,
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Tcp(stream) = &mut *self {
            return Pin::new(stream).poll_read(cx, buf);
        }
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Self::Tcp(stream) = &mut *self {
            return Pin::new(stream).poll_write(cx, buf);
        }
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::TlsClient(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
