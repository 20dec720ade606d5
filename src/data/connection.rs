//! One client connection from its first byte to its end: which protocol it speaks, and every
//! time limit that it is under.
//!
//! hyper speaks the protocols; it is given no timer. One watchdog a connection holds all limits,
//! because hyper's cannot tell an idle connection from a slow head, and has no notion of age.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    data::{
        WorkerContext,
        accept::ConnectionSlot,
        executor::LocalExecutor,
        outbox::Outbox,
        redirect::RedirectService,
        socket::{Opening, Socket, read_opening},
    },
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

/// Serves an accepted connection to its end.
pub(super) async fn serve(slot: ConnectionSlot, stream: TcpStream) {
    let cause = run(slot.worker(), stream).await;
    slot.release(cause);
}

async fn run(worker: &Rc<WorkerContext>, mut stream: TcpStream) -> CloseCause {
    let (protocol, opening) = match open(worker, &mut stream).await {
        Ok(opened) => opened,
        Err(cause) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
    let connection = Rc::new(Connection::new(Rc::clone(worker), protocol));
    let (reader, writer) = stream.into_split();
    let outbox = Rc::new(Outbox::new(writer));
    let io = TokioIo::new(Socket::new(
        opening,
        reader,
        Rc::clone(&outbox),
        Rc::clone(&connection),
    ));
    let service = RedirectService::new(Rc::clone(&connection));
    match protocol {
        Protocol::Http1 => {
            drive(
                http1_settings().serve_connection(io, service),
                &outbox,
                &connection,
            )
            .await
        }
        Protocol::Http2 => {
            drive(
                http2_settings(worker).serve_connection(io, service),
                &outbox,
                &connection,
            )
            .await
        }
    }
}

/// Waits for the first bytes on the bare socket: until then a connection costs no buffer.
async fn open(
    worker: &WorkerContext,
    stream: &mut TcpStream,
) -> Result<(Protocol, Opening), CloseCause> {
    let mut phase = worker.phase.clone();
    let opening = timeout(worker.connections.first_byte_timeout, read_opening(stream));
    tokio::select! {
        biased;
        opened = opening => match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(_closed)) => Err(CloseCause::Done),
            Err(_elapsed) => Err(CloseCause::FirstByteTimeout),
        },
        // It may still send its first call while the drain waits for calls in flight.
        _ = phase.wait_for(|&phase| phase >= Phase::ClosingIdle) => Err(CloseCause::Drained),
    }
}

fn http1_settings() -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings
        .max_header_size(HTTP1_HEAD_BYTES_MAX)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .header_read_timeout(None);
    settings
}

fn http2_settings(worker: &WorkerContext) -> http2::Builder<LocalExecutor> {
    let mut settings = http2::Builder::new(LocalExecutor);
    settings
        .max_concurrent_streams(worker.connections.streams_limit.get())
        // Against floods of resets, the client's (CVE-2023-44487) and those that a client makes
        // us send (CVE-2025-8671).
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .max_header_list_size(HTTP2_HEAD_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    settings
}

/// A connection as hyper serves it.
trait HttpConnection: Future<Output = hyper::Result<()>> {
    /// HTTP/2: sends GOAWAY. HTTP/1.1: closes if idle, else after the current answer.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl HttpConnection for http1::Connection<TokioIo<Socket>, RedirectService> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl HttpConnection for http2::Connection<TokioIo<Socket>, RedirectService, LocalExecutor> {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Runs a connection under its time limits and through the phases of a stop.
async fn drive<C: HttpConnection>(http: C, outbox: &Outbox, connection: &Connection) -> CloseCause {
    let mut http = pin!(http);
    let mut watchdog = pin!(sleep_until(connection.due().0));
    let mut phase = connection.worker.phase.clone();
    loop {
        let phase_now = *phase.borrow_and_update();
        match connection.enter(phase_now) {
            PhaseStep::Stay => {}
            PhaseStep::Leave => http.as_mut().graceful_shutdown(),
            PhaseStep::Close => return CloseCause::Cut,
        }
        let mut phase_changed = pin!(phase.changed());
        let event = poll_fn(|cx| {
            let ended = http.as_mut().poll(cx);
            let sent = outbox.poll_send(cx);
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(Event::Ended(ended));
            }
            match sent {
                Poll::Ready(Err(_broken)) => return Poll::Ready(Event::Broken),
                Poll::Ready(Ok(())) if phase_now >= Phase::ClosingIdle && connection.is_idle() => {
                    return Poll::Ready(Event::Drained);
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            // A head that began moves the limit closer.
            let (due_at, _) = connection.due();
            if due_at < watchdog.deadline() {
                watchdog.as_mut().reset(due_at);
            }
            if watchdog.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Watchdog);
            }
            phase_changed
                .as_mut()
                .poll(cx)
                .map(|_changed_or_gone| Event::Phase)
        });
        match event.await {
            Event::Ended(ended) => {
                outbox.linger(ended.is_err()).await;
                return connection.cause_of_end(phase_now, ended);
            }
            Event::Broken => return CloseCause::ConnectionError,
            Event::Drained => return CloseCause::Drained,
            Event::Phase => {}
            Event::Watchdog => {
                let (due_at, due) = connection.due();
                let now = Instant::now();
                match due {
                    _ if due_at > now => {}
                    Due::Close(cause) => return cause,
                    Due::Leave(cause) => {
                        connection.leaving.set(Some((now, cause)));
                        http.as_mut().graceful_shutdown();
                    }
                }
                watchdog.as_mut().reset(connection.due().0);
            }
        }
    }
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

/// What a phase of a stop asks of a connection.
enum PhaseStep {
    Stay,
    Leave,
    Close,
}

/// What a time limit asks of a connection.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// Finish the calls and go.
    Leave(CloseCause),
    /// Go.
    Close(CloseCause),
}

/// What is known of one client connection. Shared by its socket, its service and its calls, all
/// on the worker's thread.
#[derive(Debug)]
pub(super) struct Connection {
    worker: Rc<WorkerContext>,
    protocol: Protocol,
    /// Calls in flight.
    calls: Cell<u32>,
    /// Open streams that may last as long as the connection: health watches, reflection.
    watches: Cell<u32>,
    /// When a call last ended, or the first of those in flight began.
    progress_at: Cell<Instant>,
    /// When the first byte of an unfinished HTTP/1.1 head came.
    head_since: Cell<Option<Instant>>,
    /// When and why it was asked to leave by a time limit.
    leaving: Cell<Option<(Instant, CloseCause)>>,
    /// Whether answers must say that they are the last.
    last_answers: Cell<bool>,
    /// When it is old enough to be asked to leave.
    age_limit_at: Instant,
}

impl Connection {
    fn new(worker: Rc<WorkerContext>, protocol: Protocol) -> Self {
        let now = Instant::now();
        let age_limit_at = now + spread(worker.connections.age_limit);
        Self {
            worker,
            protocol,
            calls: Cell::new(0),
            watches: Cell::new(0),
            progress_at: Cell::new(now),
            head_since: Cell::new(None),
            leaving: Cell::new(None),
            last_answers: Cell::new(false),
            age_limit_at,
        }
    }

    /// The worker it belongs to.
    pub(super) fn worker(&self) -> &WorkerContext {
        &self.worker
    }

    /// Whether an HTTP/1.1 answer must say `Connection: close`.
    pub(super) fn is_last_answer(&self) -> bool {
        self.last_answers.get() && self.protocol == Protocol::Http1
    }

    /// Notes that the client sent something.
    pub(super) fn bytes_arrived(&self) {
        let between_calls = self.calls.get() == 0 && self.head_since.get().is_none();
        if self.protocol == Protocol::Http1 && between_calls {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Notes that a call's head is complete.
    pub(super) fn call_started(self: &Rc<Self>) -> Call {
        let now = Instant::now();
        if self.calls.get() == 0 {
            self.progress_at.set(now);
        }
        self.head_since.set(None);
        self.calls.set(self.calls.get() + 1);
        self.worker.state().stats.calls_started.increment();
        Call {
            connection: Rc::clone(self),
            started_at: now,
            answered_at: None,
        }
    }

    /// Notes a stream that may last as long as the connection; no call, so no drain waits for it.
    pub(super) fn watch_started(self: &Rc<Self>) -> Watch {
        self.head_since.set(None);
        self.watches.set(self.watches.get() + 1);
        Watch {
            connection: Rc::clone(self),
        }
    }

    /// The next time limit, and what it asks.
    fn due(&self) -> (Instant, Due) {
        let limits = &self.worker.connections;
        if let Some((since, cause)) = self.leaving.get() {
            return (since + limits.age_grace, Due::Close(cause));
        }
        if let Some(since) = self.head_since.get() {
            return (
                since + limits.header_timeout,
                Due::Close(CloseCause::HeaderTimeout),
            );
        }
        let idle_at = self.progress_at.get() + limits.idle_timeout;
        let idle = match (self.calls.get(), self.watches.get()) {
            (0, 0) => Some((idle_at, Due::Leave(CloseCause::IdleTimeout))),
            (0, _) => None,
            (_, _) => Some((idle_at, Due::Close(CloseCause::Stalled))),
        };
        let age = (self.age_limit_at, Due::Leave(CloseCause::AgeLimit));
        match idle {
            Some(idle) if idle.0 < age.0 => idle,
            Some(_) | None => age,
        }
    }

    /// Whether no call is in flight. Watches do not count: they have no end of their own.
    fn is_idle(&self) -> bool {
        self.calls.get() == 0
    }

    fn enter(&self, phase: Phase) -> PhaseStep {
        match (phase, self.protocol) {
            (Phase::Running | Phase::LameDuck, _) => PhaseStep::Stay,
            (Phase::Draining, Protocol::Http1) => {
                self.last_answers.set(true);
                PhaseStep::Stay
            }
            (Phase::Draining, Protocol::Http2) | (Phase::ClosingIdle, _) => PhaseStep::Leave,
            (Phase::Cut, _) => PhaseStep::Close,
        }
    }

    fn cause_of_end(&self, phase: Phase, ended: hyper::Result<()>) -> CloseCause {
        match (self.leaving.get(), ended) {
            (Some((_, cause)), _) => cause,
            (None, Err(_broken)) => CloseCause::ConnectionError,
            (None, Ok(())) if phase >= Phase::Draining => CloseCause::Drained,
            (None, Ok(())) => CloseCause::Done,
        }
    }
}

/// A call in flight. Ends when it is dropped, which is after its answer went to the connection.
#[derive(Debug)]
pub(super) struct Call {
    connection: Rc<Connection>,
    started_at: Instant,
    answered_at: Option<Instant>,
}

impl Call {
    /// When its head was complete.
    pub(super) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Records how long the answer took.
    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        self.answered_at = Some(now);
        let duration = now - self.started_at;
        self.connection
            .worker
            .state()
            .stats
            .call_duration
            .record(duration);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.connection.calls.set(self.connection.calls.get() - 1);
        let ended_at = self.answered_at.unwrap_or_else(Instant::now);
        self.connection.progress_at.set(ended_at);
        self.connection
            .worker
            .state()
            .stats
            .calls_finished
            .increment();
    }
}

/// A stream that may last as long as its connection.
#[derive(Debug)]
pub(super) struct Watch {
    connection: Rc<Connection>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection
            .watches
            .set(self.connection.watches.get() - 1);
        self.connection.progress_at.set(Instant::now());
    }
}

/// A duration give or take a tenth, so that connections made together do not leave together
/// (gRFC A9).
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// The longest HTTP/1.1 head: a video URL of 8 KiB fits percent-encoded, with room for headers.
const HTTP1_HEAD_BYTES_MAX: usize = 48 * 1024;
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// The longest HTTP/2 header list, as its SETTINGS count it.
const HTTP2_HEAD_BYTES_MAX: u32 = 48 * 1024;
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// A message of the longest size and its prefix fit, and no more need be buffered.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 + 16;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
