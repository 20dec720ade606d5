//! Drives hyper on one client connection, under its time limits and through the phases of a stop.
//!
//! hyper is given no timer. One watchdog a connection holds all limits, because hyper's cannot
//! tell an idle connection from a slow head, and has no notion of age.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use crate::{
    data::{
        connection::{Connection, Due, PhaseStep},
        executor::LocalExecutor,
        http::Tunnel,
        outbox::{Expected, Outbox},
        socket::Socket,
    },
    shutdown::Phase,
    state::CloseCause,
};

/// A connection as hyper serves it.
pub(super) trait HttpConnection {
    /// Serves on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

    /// HTTP/2: sends GOAWAY. HTTP/1.1: closes if idle, else after the current answer.
    fn graceful_shutdown(&mut self);
}

/// HTTP/1.1, from which the socket can be had back.
pub(super) struct Http1Driver<S: hyper::service::HttpService<Incoming>> {
    http: http1::Connection<TokioIo<Socket>, S>,
    outbox: Rc<Outbox>,
    connection: Rc<Connection>,
    is_done: bool,
}

impl<S: hyper::service::HttpService<Incoming>> Http1Driver<S> {
    pub(super) fn new(
        http: http1::Connection<TokioIo<Socket>, S>,
        outbox: &Rc<Outbox>,
        connection: &Rc<Connection>,
    ) -> Self {
        Self {
            http,
            outbox: Rc::clone(outbox),
            connection: Rc::clone(connection),
            is_done: false,
        }
    }

    pub(super) fn into_http(self) -> http1::Connection<TokioIo<Socket>, S> {
        self.http
    }
}

impl<S, B> HttpConnection for Http1Driver<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        if !self.is_done {
            // This writes out what hyper holds, unlike `poll_without_shutdown`.
            ready!(Pin::new(&mut self.http).poll(cx))?;
            self.is_done = true;
        }
        if self.connection.is_tunnel() {
            return Poll::Ready(Ok(()));
        }
        if self.connection.is_broken() {
            self.outbox.reset_on_close();
            return Poll::Ready(Ok(()));
        }
        // Whoever does not take the end of it is gone.
        self.outbox.poll_send(cx).map(|_sent_or_gone| Ok(()))
    }

    fn graceful_shutdown(&mut self) {
        Pin::new(&mut self.http).graceful_shutdown();
    }
}

impl<S, B> HttpConnection for http2::Connection<TokioIo<Socket>, S, LocalExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    S::Future: Unpin + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(Pin::new(self), cx)
    }

    fn graceful_shutdown(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Runs a connection under its time limits and through the phases of a stop.
pub(super) async fn drive<C: HttpConnection>(
    http: &mut C,
    outbox: &Outbox,
    connection: &Connection,
) -> Driven {
    let _unused = UnusedTunnel(connection);
    let driven = drive_to_end(http, outbox, connection).await;
    if let Driven::Ended(cause) = driven {
        connection.end(cause);
    }
    driven
}

async fn drive_to_end<C: HttpConnection>(
    http: &mut C,
    outbox: &Outbox,
    connection: &Connection,
) -> Driven {
    let mut watchdog = pin!(sleep_until(connection.due().0));
    let mut phase = connection.worker().phase.clone();
    let mut turn = Turn {
        http,
        outbox,
        connection,
        said_goodbye: false,
    };
    loop {
        let phase_now = *phase.borrow_and_update();
        match connection.enter(phase_now) {
            PhaseStep::Stay => {}
            PhaseStep::Leave => turn.http.graceful_shutdown(),
            PhaseStep::Close => return Driven::Ended(CloseCause::Cut),
        }
        let mut phase_changed = pin!(phase.changed());
        let event = poll_fn(|cx| {
            let polled = turn.poll(cx, phase_now);
            if polled.is_ready() {
                return polled;
            }
            // A head that began moves the limit closer.
            let (due_at, _) = connection.due();
            if due_at < watchdog.deadline() {
                watchdog.as_mut().reset(due_at);
            }
            // The timer wakes us, and the clock decides: where hyper had all of the time that the
            // runtime gives a task, the timer would not even be looked at.
            if watchdog.as_mut().poll(cx).is_ready() || due_at <= connection.polled_at() {
                return Poll::Ready(Event::Watchdog);
            }
            phase_changed
                .as_mut()
                .poll(cx)
                .map(|_changed_or_gone| Event::Phase)
        });
        match event.await {
            Event::Ended(ended) => {
                if let Some(tunnel) = connection.take_tunnel() {
                    return Driven::Tunnel(tunnel);
                }
                say_the_last_word(outbox, connection, ended.is_err()).await;
                return Driven::Ended(connection.cause_of_end(phase_now, ended));
            }
            Event::Broken => return Driven::Ended(CloseCause::ConnectionError),
            Event::Drained => return Driven::Ended(CloseCause::Drained),
            Event::Phase => {}
            Event::Watchdog => {
                if let Some(driven) = meet_limit(turn.http, connection) {
                    return driven;
                }
                watchdog.as_mut().reset(connection.due().0);
            }
        }
    }
}

/// Drops the tunnel of a connection that ended before it became one: they hold each other.
struct UnusedTunnel<'a>(&'a Connection);

impl Drop for UnusedTunnel<'_> {
    fn drop(&mut self) {
        drop(self.0.take_tunnel());
    }
}

/// What every poll of a connection needs.
struct Turn<'a, C> {
    http: &'a mut C,
    outbox: &'a Outbox,
    connection: &'a Connection,
    /// Whether the client was told that its listener is gone.
    said_goodbye: bool,
}

impl<C: HttpConnection> Turn<'_, C> {
    /// Lets hyper serve on, then sends what it wrote.
    fn poll(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Event> {
        self.connection.polled();
        let mut ended = self.http.poll(cx);
        if self.connection.must_say_goodbye() && !self.said_goodbye && ended.is_pending() {
            self.said_goodbye = true;
            self.http.graceful_shutdown();
            ended = self.http.poll(cx);
        }
        let sent = self.outbox.poll_send(cx);
        self.connection
            .sent(self.outbox.take_moved(), !self.outbox.is_empty());
        if let Poll::Ready(ended) = ended {
            return Poll::Ready(Event::Ended(ended));
        }
        match sent {
            Poll::Ready(Err(_broken)) => Poll::Ready(Event::Broken),
            Poll::Ready(Ok(())) if phase >= Phase::ClosingIdle && self.connection.is_drained() => {
                Poll::Ready(Event::Drained)
            }
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Ends a connection so that its client gets what was said last.
async fn say_the_last_word(outbox: &Outbox, connection: &Connection, is_error: bool) {
    if connection.is_broken() {
        return outbox.reset_on_close();
    }
    let expected = match is_error {
        _ if connection.is_left_unread() => Expected::Upload,
        false => Expected::Nothing,
        true => Expected::Nonsense,
    };
    outbox.linger(expected).await;
}

/// Does what a time limit asks, if one is due.
fn meet_limit<C: HttpConnection>(http: &mut C, connection: &Connection) -> Option<Driven> {
    let (due_at, due) = connection.due();
    let now = Instant::now();
    match due {
        _ if due_at > now => {}
        Due::Close(cause) => return Some(Driven::Ended(cause)),
        Due::Park => return Some(Driven::Parked),
        Due::Leave(cause) => {
            connection.leave(now, cause);
            http.graceful_shutdown();
        }
    }
    None
}

/// What became of a connection that was driven.
pub(super) enum Driven {
    Ended(CloseCause),
    Parked,
    Tunnel(Tunnel),
}

enum Event {
    Ended(hyper::Result<()>),
    /// The socket takes no more.
    Broken,
    /// A stop found it with nothing to do.
    Drained,
    Watchdog,
    Phase,
}
