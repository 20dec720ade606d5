//! Connections that change their protocol: WebSocket and whatever else a listener allows.
//!
//! Nothing that the client sends after its head reaches the backend before the backend agreed
//! (CVE-2026-2833): hyper holds it back until the 101 was written.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, Version, header, request};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::{Duration, Instant, sleep_until},
};

use crate::{
    data::{
        connection::Call,
        error::ForwardError,
        http::{ProxyBody, forward::Forwarded, headers, record::Record, response_body::Lease},
        tunnel_socket::TunnelSocket,
    },
    header_rules::HeaderRules,
};

/// The protocol that a request asks to switch to, if it may: HTTP/1.1, without a body, and one of
/// those that the listener `allows`.
pub(super) fn asked_for(
    head: &request::Parts,
    body: &Incoming,
    allows: &[String],
) -> Option<HeaderValue> {
    let may_switch = head.version == Version::HTTP_11 && body.is_end_stream();
    let protocol = headers::asked_upgrade(&head.headers).filter(|_| may_switch)?;
    let is_allowed =
        |allowed: &String| protocol.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
    allows.iter().any(is_allowed).then(|| protocol.clone())
}

/// What a connection becomes once its 101 was written.
#[derive(Debug)]
pub(in crate::data) struct Tunnel {
    upgraded: OnUpgrade,
    /// Keeps the backend's count and connection.
    lease: Lease,
    idle_timeout: Duration,
    /// Keeps the call in flight and the log line open.
    held: RefCell<Option<(Call, Option<Box<Record>>)>>,
}

/// Agrees to the switch that the backend agreed to.
pub(super) fn accept(
    mut response: Response<Incoming>,
    protocol: &HeaderValue,
    lease: Lease,
    idle_timeout: Duration,
    rules: &HeaderRules,
) -> Result<Forwarded, ForwardError> {
    let upgraded = hyper::upgrade::on(&mut response);
    headers::remove_hop_by_hop(response.headers_mut());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    rules.apply(response.headers_mut());
    headers::ask_for_upgrade(response.headers_mut(), protocol);
    let tunnel = Tunnel {
        upgraded,
        lease,
        idle_timeout,
        held: RefCell::new(None),
    };
    Ok(Forwarded {
        response: response.map(|_none| ProxyBody::whole(bytes::Bytes::new())),
        tunnel: Some(tunnel),
    })
}

impl Tunnel {
    pub(super) fn hold(&self, call: Call, record: Option<Box<Record>>) {
        self.held.replace(Some((call, record)));
    }

    /// Carries bytes both ways until both sides ended, one broke, or neither sent anything for
    /// too long. One side's end is passed on, and the other may go on.
    pub(in crate::data) async fn carry(mut self, client: TunnelSocket) -> io::Result<()> {
        let upgraded = poll_fn(|cx| {
            self.lease.conn.drive(cx);
            Pin::new(&mut self.upgraded).poll(cx)
        });
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        let moved_at = Rc::new(Cell::new(Instant::now()));
        let mut client = Watched {
            stream: client,
            moved_at: Rc::clone(&moved_at),
        };
        let mut backend: Watched<TokioIo<Upgraded>> = Watched {
            stream: TokioIo::new(upgraded),
            moved_at: Rc::clone(&moved_at),
        };
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut backend) => copied.map(|_bytes| ()),
            () = stood_still(&moved_at, self.idle_timeout) => Err(io::ErrorKind::TimedOut.into()),
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

/// A stream that notes when something was read from it.
struct Watched<S> {
    stream: S,
    moved_at: Rc<Cell<Instant>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.moved_at.set(Instant::now());
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
