//! The socket of an HTTP/2 connection as `h2` sees it.
//!
//! `h2` drops its socket when it is done with the connection. The connection keeps it: a socket that
//! is closed while the client still sends is reset, and a reset makes the client's system throw away
//! the GOAWAY that says why.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, timeout},
};

use crate::{
    data::downstream::frame_meter::{Flooded, FrameMeter},
    net::Transport,
};

/// The socket of an HTTP/2 connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Http2Socket(Rc<RefCell<Shared>>);

#[derive(Debug)]
struct Shared {
    transport: Transport,
    /// What was read off it before.
    prefix: Vec<u8>,
    meter: FrameMeter,
    /// Bytes read and not yet asked for.
    received: u64,
    flooded: Result<(), Flooded>,
    /// Whether a flood is still to be told.
    is_watched: bool,
}

impl Http2Socket {
    /// A socket of which `opening`, with the preface of `preface_bytes`, was read before.
    pub(super) fn new(transport: Transport, opening: Vec<u8>, preface_bytes: usize) -> Self {
        let mut meter = FrameMeter::new(Instant::now());
        let frames = opening.get(preface_bytes..).unwrap_or_default();
        Self(Rc::new(RefCell::new(Shared {
            flooded: meter.follow(frames, Instant::now()),
            received: frames.len() as u64,
            transport,
            prefix: opening,
            meter,
            is_watched: true,
        })))
    }

    /// Whether the client has flooded the connection with frames that serve no purpose. Says so
    /// once.
    pub(super) fn take_flooded(&self) -> bool {
        let mut shared = self.0.borrow_mut();
        shared.is_watched && shared.flooded.is_err() && {
            shared.is_watched = false;
            true
        }
    }

    /// The bytes read since it was last asked.
    pub(super) fn take_received(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().received)
    }

    /// What the last holder does with it: ends this side's direction, then reads and discards until the client ends its own, or takes
    /// too long.
    pub(super) async fn linger(self) {
        let Some(shared) = Rc::into_inner(self.0) else {
            return;
        };
        let mut transport = shared.into_inner().transport;
        let lingering = timeout(LINGER_TIME_MAX, async {
            if poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx))
                .await
                .is_err()
            {
                return;
            }
            let mut bytes_left = LINGER_BYTES_MAX;
            let mut discarded = vec![0; 4096];
            while bytes_left > 0 {
                let read = poll_fn(|cx| {
                    let mut buffer = ReadBuf::new(&mut discarded);
                    ready!(Pin::new(&mut transport).poll_read(cx, &mut buffer))?;
                    Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
                });
                match read.await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes_left = bytes_left.saturating_sub(count),
                }
            }
        });
        let _either = lingering.await;
    }
}

impl AsyncRead for Http2Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        if !shared.prefix.is_empty() {
            let count = shared.prefix.len().min(buf.remaining());
            buf.put_slice(shared.prefix.get(..count).unwrap_or_default());
            shared.prefix.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if shared.flooded.is_err() {
            // Nothing more is read, so that the GOAWAY is not stuck behind answers to the flood.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut shared.transport).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        shared.received += read.len() as u64;
        shared.flooded = shared.meter.follow(read, Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let shared = &mut *self.0.borrow_mut();
        let count = ready!(Pin::new(&mut shared.transport).poll_write(cx, buf))?;
        shared.meter.sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &mut *self.0.borrow_mut();
        let count = ready!(Pin::new(&mut shared.transport).poll_write_vectored(cx, bufs))?;
        shared.meter.sent(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().transport).poll_shutdown(cx)
    }
}

const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
