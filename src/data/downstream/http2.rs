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
use tokio::time::Instant;

use crate::{
    data::{
        connection::Connection,
        downstream::{
            header_budget::HeaderBudget,
            http2_lifecycle::{Due, spread},
            http2_settings::settings,
            http2_socket::Http2Socket,
            sniff::PREFACE,
            wakers::{ConnectionWaker, ReadyList, StreamWaker},
        },
        service::{Call, Service},
        stream::{MessageStream, Scratch, Turn, head_bytes},
        timer::Timer,
    },
    net::Transport,
    state::CloseCause,
};

/// Serves a connection of which `opening`, with the whole preface, was read already.
pub(super) async fn serve(
    connection: Rc<Connection>,
    service: Service,
    transport: Transport,
    opening: Vec<u8>,
) -> CloseCause {
    let limits = &connection.limits;
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

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// A client connection that speaks HTTP/2.
pub(super) struct Http2Connection {
    pub(super) connection: Rc<Connection>,
    service: Service,
    pub(super) h2: server::Connection<Http2Socket, Bytes>,
    socket: Http2Socket,
    pub(super) streams: Slab<Stream>,
    ready: Arc<ReadyList>,
    waker: Arc<ConnectionWaker>,
    /// The same, as `h2` is polled with it.
    h2_waker: Waker,
    pub(super) lifecycle: Lifecycle,
    headers: HeaderBudget,
    /// When it last had a stream that is no watch.
    pub(super) idle_since: Instant,
    /// When it is old enough to be asked to leave.
    pub(super) leaves_at: Instant,
    /// When a stream wants to be polled although nothing happened; too early rather than too late.
    pub(super) stream_due: Option<Instant>,
    timer: Timer,
    /// Room for what one poll handles, kept while there are streams.
    batch: Vec<Accepted>,
    can_go_on: Vec<usize>,
}

/// A stream that is being answered.
pub(super) struct Stream {
    pub(super) call: Call,
    client: MessageStream,
    waker: Waker,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Lifecycle {
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
        let leaves_at = now + spread(connection.limits.max_connection_age);
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
        self.headers.earn(self.socket.take_received());
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
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
