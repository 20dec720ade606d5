//! Tells what a new connection speaks from its first bytes.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    time::Instant,
};

use crate::{
    data::{context::WorkerContext, timer::Timer},
    net::Transport,
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

/// Waits for a connection's first bytes and tells its protocol from them. HTTP/2 is only recognised
/// by its whole preface, so that no library ever waits for the rest of one. Returns what was read.
///
/// # Errors
///
/// Why the connection ended before that: no byte in time, a stop, a close.
pub(super) async fn sniff(
    worker: &WorkerContext,
    transport: &mut Transport,
) -> Result<(Protocol, Vec<u8>), CloseCause> {
    let due = Instant::now() + worker.connections().first_byte_timeout;
    let mut timer = Timer::default();
    let mut seen = Vec::new();
    poll_fn(|cx| {
        if let Poll::Ready(protocol) = poll_protocol(worker, transport, &mut seen, cx) {
            return Poll::Ready(protocol);
        }
        // It may still send its first call while the drain waits for calls in flight.
        if worker.phases.current() >= Phase::ClosingIdle {
            return Poll::Ready(Err(CloseCause::Drained));
        }
        timer
            .poll(cx, Instant::now(), due)
            .map(|()| Err(CloseCause::FirstByteTimeout))
    })
    .await
    .map(|protocol| (protocol, seen))
}

fn poll_protocol(
    worker: &WorkerContext,
    transport: &mut Transport,
    seen: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Result<Protocol, CloseCause>> {
    let mut scratch = worker.scratch.borrow_mut();
    loop {
        let bytes = scratch.bytes.get_mut(..OPENING_BYTES).unwrap_or_default();
        let mut buffer = ReadBuf::new(bytes);
        let read = ready!(Pin::new(&mut *transport).poll_read(cx, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(Err(CloseCause::Done));
        }
        seen.extend_from_slice(buffer.filled());
        if seen.starts_with(PREFACE) {
            return Poll::Ready(Ok(Protocol::Http2));
        }
        if !PREFACE.starts_with(seen) {
            return Poll::Ready(Ok(Protocol::Http1));
        }
    }
}

/// The client's part of an HTTP/2 connection preface (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at a time: most first requests with their head.
const OPENING_BYTES: usize = 16 * 1024;
