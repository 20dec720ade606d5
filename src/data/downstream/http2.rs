//! A client connection that speaks HTTP/2, by the `h2` crate: one task for the connection and all
//! of its streams.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use http::Request;
use slab::Slab;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        connection::Connection,
        downstream::{
            header_budget::HeaderBudget,
            http2_socket::Http2Socket,
            sniff::PREFACE,
            wakers::{ConnectionWaker, ReadyList, StreamWaker},
        },
        service::{Call, Service},
        stream::{MessageStream, Scratch, Turn, head_bytes},
        timer::Timer,
    },
    net::Transport,
    shutdown::Phase,
    state::CloseCause,
};

/// Serves a connection of which `opening`, with the whole preface, was read already.
pub(super) async fn serve(
    connection: Rc<Connection>,
    service: Service,
    transport: Transport,
    opening: Vec<u8>,
) -> CloseCause {
    let limits = &connection.worker.connections;
    let settings = settings(limits.max_concurrent_streams.get(), limits.max_header_size);
    let socket = Http2Socket::new(transport, opening, PREFACE.len());
    let handshake = settings.handshake(socket.clone());
    let handshake = tokio::time::timeout(limits.first_byte_timeout, handshake);
    let h2 = match handshake.await {
        Ok(Ok(h2)) => h2,
        Ok(Err(_broken)) => return CloseCause::ConnectionError,
        Err(_elapsed) => return CloseCause::FirstByteTimeout,
    };
    let mut http2 = Http2Connection::new(connection, service, h2, socket.clone());
    let cause = poll_fn(|cx| http2.poll(cx)).await;
    http2.connection.end(cause);
    drop(http2);
    if cause != CloseCause::Cut {
        socket.linger().await;
    }
    cause
}

/// Bounds on everything that a client can make this process hold or do.
fn settings(max_concurrent_streams: u32, max_header_size: u32) -> server::Builder {
    let mut settings = server::Builder::new();
    settings
        .max_concurrent_streams(max_concurrent_streams)
        // Against floods of resets: the client's (CVE-2023-44487), and those that a client makes
        // this side send (CVE-2025-8671).
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        // `h2` answers longer heads by itself, unseen. Those up to here are answered, counted and
        // logged by the service.
        .max_header_list_size(max_header_size.max(HEAD_BYTES_READ_MAX))
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        // All streams at once, so that uploads which stand still never stop another.
        .initial_connection_window_size(
            STREAM_WINDOW_BYTES
                .saturating_mul(max_concurrent_streams)
                .min(CONNECTION_WINDOW_BYTES_MAX),
        )
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
    settings
}

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// A client connection that speaks HTTP/2.
struct Http2Connection {
    connection: Rc<Connection>,
    service: Service,
    h2: server::Connection<Http2Socket, Bytes>,
    socket: Http2Socket,
    streams: Slab<Stream>,
    ready: Arc<ReadyList>,
    waker: Arc<ConnectionWaker>,
    /// The same, as `h2` is polled with it.
    h2_waker: Waker,
    lifecycle: Lifecycle,
    headers: HeaderBudget,
    /// When it last had a stream that is no watch.
    idle_since: Instant,
    /// When it is old enough to be asked to leave.
    leaves_at: Instant,
    /// When a stream wants to be polled although nothing happened; too early rather than too late.
    stream_due: Option<Instant>,
    timer: Timer,
    /// Room for what one poll handles, kept while there are streams.
    batch: Vec<Accepted>,
    can_go_on: Vec<usize>,
}

/// A stream that is being answered.
struct Stream {
    call: Call,
    client: MessageStream,
    waker: Waker,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Lifecycle {
    Open,
    /// The client was told to go (GOAWAY), and has until then.
    Leaving {
        until: Instant,
        cause: CloseCause,
    },
}

impl Http2Connection {
    fn new(
        connection: Rc<Connection>,
        service: Service,
        h2: server::Connection<Http2Socket, Bytes>,
        socket: Http2Socket,
    ) -> Self {
        let now = Instant::now();
        let ready = Arc::<ReadyList>::default();
        let waker = ConnectionWaker::new(&ready);
        let leaves_at = now + spread(connection.worker.connections.max_connection_age);
        Self {
            connection,
            service,
            h2,
            socket,
            streams: Slab::new(),
            h2_waker: Waker::from(Arc::clone(&waker)),
            ready,
            waker,
            lifecycle: Lifecycle::Open,
            headers: HeaderBudget::new(now),
            idle_since: now,
            leaves_at,
            stream_due: None,
            timer: Timer::default(),
            batch: Vec::new(),
            can_go_on: Vec::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseCause> {
        self.ready.register(cx.waker());
        let mut now = Instant::now();
        loop {
            self.poll_streams(now);
            if let Poll::Ready(cause) = self.poll_h2(now) {
                return Poll::Ready(cause);
            }
            if let Some(cause) = self.follow_phase(now) {
                return Poll::Ready(cause);
            }
            let (due_at, due) = self.due();
            if self.timer.poll(cx, now, due_at).is_pending() {
                return Poll::Pending;
            }
            now = now.max(due_at);
            match due {
                Due::Streams => self.wake_due_streams(now),
                Due::Leave(CloseCause::IdleTimeout) if self.h2.has_streams() => {
                    // Answers that the client does not take.
                    return Poll::Ready(CloseCause::Stalled);
                }
                Due::Leave(cause) => self.leave(now, cause),
                Due::Close(cause) => return Poll::Ready(cause),
            }
        }
    }

    /// Polls the streams that can go on.
    fn poll_streams(&mut self, now: Instant) {
        let mut can_go_on = std::mem::take(&mut self.can_go_on);
        self.ready.take(&mut can_go_on);
        if !can_go_on.is_empty() {
            let worker = Rc::clone(&self.connection.worker);
            let mut scratch = worker.scratch.borrow_mut();
            self.waker.mute(true);
            for key in can_go_on.drain(..) {
                self.poll_stream(key, now, &mut scratch);
            }
            self.waker.mute(false);
        }
        self.can_go_on = can_go_on;
    }

    fn poll_stream(&mut self, key: usize, now: Instant, scratch: &mut Scratch) {
        // It may have been woken after its end.
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let waker = stream.waker.clone();
        let mut turn = Turn {
            cx: &mut Context::from_waker(&waker),
            now,
            scratch,
        };
        if stream.call.poll(&mut turn, &mut stream.client).is_ready() {
            let ended = self.streams.remove(key);
            if !ended.call.is_watch() {
                self.idle_since = now;
            }
            return;
        }
        stream.due = stream.call.due();
        self.stream_due = earlier(self.stream_due, stream.due);
    }

    /// Lets `h2` read and write, and starts to answer what came.
    fn poll_h2(&mut self, now: Instant) -> Poll<CloseCause> {
        let waker = self.h2_waker.clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            // All at once, and the answers written at once: `h2` writes each time it is asked for
            // the next request.
            let ended = loop {
                match self.h2.poll_accept(&mut cx) {
                    Poll::Ready(Some(Ok(accepted))) => self.batch.push(accepted),
                    Poll::Ready(Some(Err(error))) => break Some(self.cause_of_error(&error)),
                    Poll::Ready(None) => break Some(self.cause_of_end()),
                    Poll::Pending => break None,
                }
            };
            if self.socket.take_flooded() {
                self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.batch.is_empty() {
                return ended.map_or(Poll::Pending, Poll::Ready);
            }
            self.start_batch(now);
            if let Some(cause) = ended {
                return Poll::Ready(cause);
            }
        }
    }

    fn start_batch(&mut self, now: Instant) {
        let worker = Rc::clone(&self.connection.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let mut batch = std::mem::take(&mut self.batch);
        self.waker.mute(true);
        for (request, respond) in batch.drain(..) {
            self.start(now, &mut scratch, request, respond);
        }
        self.waker.mute(false);
        if self.connection.is_leaving() {
            self.leave(now, CloseCause::Done);
        }
        self.batch = batch;
    }

    fn start(
        &mut self,
        now: Instant,
        scratch: &mut Scratch,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        if self.headers.take(head_bytes(&request), now).is_err() {
            respond.send_reset(Reason::ENHANCE_YOUR_CALM);
            self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return;
        }
        let entry = self.streams.vacant_entry();
        let key = entry.key();
        let waker = StreamWaker::waker(&self.ready, key);
        let mut turn = Turn {
            cx: &mut Context::from_waker(&waker),
            now,
            scratch,
        };
        let started = self
            .service
            .start_http2(&self.connection, &mut turn, request, respond);
        let Some((call, client)) = started else {
            self.idle_since = now;
            return;
        };
        entry.insert(Stream {
            call,
            client,
            waker: waker.clone(),
            due: None,
        });
        self.poll_stream(key, now, turn.scratch);
    }

    /// The next time limit, and what it asks.
    fn due(&self) -> (Instant, Due) {
        let limits = &self.connection.worker.connections;
        let streams = self.stream_due.map(|at| (at, Due::Streams));
        let ends = match self.lifecycle {
            Lifecycle::Leaving { until, cause } => (until, Due::Close(cause)),
            Lifecycle::Open if self.is_idle() => {
                let idle = self.idle_since + limits.idle_timeout;
                match idle <= self.leaves_at {
                    true => (idle, Due::Leave(CloseCause::IdleTimeout)),
                    false => (self.leaves_at, Due::Leave(CloseCause::AgeLimit)),
                }
            }
            Lifecycle::Open => (self.leaves_at, Due::Leave(CloseCause::AgeLimit)),
        };
        match streams {
            Some(streams) if streams.0 < ends.0 => streams,
            Some(_) | None => ends,
        }
    }

    /// Whether it has nothing to do: watches do not count only where a drain asks.
    fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Polls the streams whose time has come, and learns when the next one's does.
    fn wake_due_streams(&mut self, now: Instant) {
        self.stream_due = None;
        for (key, stream) in &self.streams {
            match stream.due {
                Some(due) if due <= now => self.can_go_on.push(key),
                due => self.stream_due = earlier(self.stream_due, due),
            }
        }
        let keys = std::mem::take(&mut self.can_go_on);
        let worker = Rc::clone(&self.connection.worker);
        let mut scratch = worker.scratch.borrow_mut();
        for key in keys {
            self.poll_stream(key, now, &mut scratch);
        }
    }

    /// Tells the client to go: GOAWAY, then its calls may end.
    fn leave(&mut self, now: Instant, cause: CloseCause) {
        if let Lifecycle::Leaving { .. } = self.lifecycle {
            return;
        }
        let grace = match self.is_idle() {
            true => DRAIN_TIME_MAX,
            false => self.connection.worker.connections.max_connection_age_grace,
        };
        self.lifecycle = Lifecycle::Leaving {
            until: now + grace,
            cause,
        };
        self.h2.graceful_shutdown();
    }

    /// Does what the phase of a stop asks.
    fn follow_phase(&mut self, now: Instant) -> Option<CloseCause> {
        match self.connection.phase() {
            Phase::Running | Phase::LameDuck => None,
            Phase::Draining => {
                self.send_goaway(now);
                None
            }
            Phase::ClosingIdle => {
                self.send_goaway(now);
                // They have no end of their own.
                self.streams.retain(|_, stream| !stream.call.is_watch());
                self.hasten(now + DRAIN_TIME_MAX);
                let is_done = self.streams.is_empty() && !self.h2.has_streams();
                is_done.then_some(CloseCause::Drained)
            }
            Phase::Cut => Some(CloseCause::Cut),
        }
    }

    /// Says GOAWAY once, for a stop. The stop itself bounds how long the calls may take.
    fn send_goaway(&mut self, now: Instant) {
        if let Lifecycle::Open = self.lifecycle {
            self.lifecycle = Lifecycle::Leaving {
                until: now + STOP_TIME_MAX,
                cause: CloseCause::Drained,
            };
            self.h2.graceful_shutdown();
        }
    }

    /// Shortens the time that a connection has to leave in.
    fn hasten(&mut self, at_the_latest: Instant) {
        if let Lifecycle::Leaving { until, .. } = &mut self.lifecycle
            && *until > at_the_latest
        {
            *until = at_the_latest;
        }
    }

    fn cause_of_end(&self) -> CloseCause {
        match self.lifecycle {
            Lifecycle::Leaving { cause, .. } => cause,
            Lifecycle::Open => CloseCause::Done,
        }
    }

    fn cause_of_error(&self, error: &h2::Error) -> CloseCause {
        match self.lifecycle {
            Lifecycle::Leaving { cause, .. } => cause,
            // A client that goes without a word has done nothing wrong.
            Lifecycle::Open if error.is_io() && self.streams.is_empty() => CloseCause::Done,
            Lifecycle::Open => CloseCause::ConnectionError,
        }
    }
}

/// What a time limit asks of a connection.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Look at the streams.
    Streams,
    /// Say GOAWAY.
    Leave(CloseCause),
    /// Close.
    Close(CloseCause),
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A duration give or take a tenth, so that connections made together do not leave together
/// (gRFC A9).
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
const HEAD_BYTES_READ_MAX: u32 = 1 << 20;
/// A message of the redirect service's longest size and its prefix fit.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 + 16;
/// The largest window that there is (RFC 9113 section 6.9.1).
const CONNECTION_WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// What one stream holds of a response that its client does not take; 256 streams hold 4 MiB.
const SEND_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// What the end of a body may take to leave when a stop closes idle connections.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Longer than any stop, which ends by itself.
const STOP_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
