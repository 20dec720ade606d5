//! A bound on what a backend may send before a response's head is complete.
//!
//! hyper bounds the head, but takes any number of interim responses before it, and as many at a
//! time as the socket gives: without a bound, a backend that sends nothing else would keep the
//! worker from everybody else.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;

/// What may still be read while a head is awaited; `UNBOUNDED` while none is. Shared by a
/// connection and whoever uses it, both on the worker's thread: it is atomic only as hyper wants
/// connections to be `Send`.
#[derive(Clone, Debug)]
pub(super) struct HeadAllowance(Arc<AtomicUsize>);

impl HeadAllowance {
    /// A head is awaited from now on.
    pub(super) fn begin(&self) {
        self.0.store(BEFORE_THE_HEAD_BYTES_MAX, Ordering::Relaxed);
    }

    /// The head is there: what comes now is as long as it says.
    pub(super) fn end(&self) {
        self.0.store(UNBOUNDED, Ordering::Relaxed);
    }

    fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn take(&self, bytes: usize) {
        let left = self.0.load(Ordering::Relaxed);
        if left != UNBOUNDED {
            self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        }
    }
}

/// A connection to a backend that fails once the allowance is used up.
#[derive(Debug)]
pub(super) struct HeadLimited {
    stream: Stream,
    allowance: HeadAllowance,
}

impl HeadLimited {
    pub(super) fn new(stream: Stream) -> (Self, HeadAllowance) {
        let allowance = HeadAllowance(Arc::new(AtomicUsize::new(UNBOUNDED)));
        let limited = Self {
            stream,
            allowance: allowance.clone(),
        };
        (limited, allowance)
    }
}

impl AsyncRead for HeadLimited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowance.is_used_up() {
            let endless = io::Error::new(io::ErrorKind::InvalidData, "no end of the head");
            return Poll::Ready(Err(endless));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.allowance.take(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HeadLimited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The call for one part is the cheaper one.
        match parts {
            [part] => Pin::new(&mut self.stream).poll_write(cx, part),
            parts => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// For a head and all interim responses before it: more than hyper takes for a head alone, and what
/// it reads at a time.
const BEFORE_THE_HEAD_BYTES_MAX: usize = 256 * 1024;
const UNBOUNDED: usize = usize::MAX;
