//! Serves one client connection from its first byte to its end.
//!
//! hyper speaks the protocols; it is given no timer. One watchdog a connection holds all limits,
//! because hyper's cannot tell an idle connection from a slow head, and has no notion of age.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{
        http1::{self, Parts},
        http2,
    },
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    data::{
        WorkerContext,
        accept::ConnectionSlot,
        connection::{Connection, Due, PhaseStep},
        executor::LocalExecutor,
        http::{HttpService, Tunnel},
        outbox::{Expected, Outbox},
        redirect::RedirectService,
        socket::{Socket, read_opening},
        tunnel_socket::TunnelSocket,
    },
    listener::Face,
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

/// Serves an accepted connection to its end.
pub(super) async fn serve(slot: ConnectionSlot, face: Face, stream: TcpStream) {
    let cause = run(slot.worker(), face, stream).await;
    slot.release(cause);
}

async fn run(worker: &Rc<WorkerContext>, face: Face, mut stream: TcpStream) -> CloseCause {
    let first_byte_timeout = worker.connections.first_byte_timeout;
    let opened = open(worker, &mut stream, first_byte_timeout).await;
    let (protocol, mut opening) = match opened {
        Ok(opened) => opened,
        Err(Unopened::Elapsed) => return CloseCause::FirstByteTimeout,
        Err(Unopened::Ended(cause)) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
    let Ok(peer) = stream.peer_addr() else {
        return CloseCause::Done;
    };
    let connection = Rc::new(Connection::new(Rc::clone(worker), face, protocol));
    loop {
        let (reader, writer) = stream.into_split();
        let outbox = Rc::new(Outbox::new(writer));
        let socket = Socket::new(opening, reader, Rc::clone(&outbox), Rc::clone(&connection));
        // In a box, as it is large and gone while the connection is parked.
        let spoken: Pin<Box<dyn Future<Output = Spoken>>> = match face {
            Face::Redirect => {
                let service = RedirectService::new(Rc::clone(&connection));
                Box::pin(speak(socket, service, outbox, Rc::clone(&connection)))
            }
            Face::Http(listener) => {
                let service = HttpService::new(Rc::clone(&connection), listener, peer.ip());
                Box::pin(speak(socket, service, outbox, Rc::clone(&connection)))
            }
        };
        stream = match spoken.await {
            Spoken::Ended(cause) => return cause,
            Spoken::Parked(stream, unread) if unread.is_empty() => stream,
            Spoken::Parked(same, unread) => {
                // The next head has begun.
                (stream, opening) = (same, unread);
                continue;
            }
        };
        let time_left = connection.idle_until() - Instant::now();
        opening = match open(worker, &mut stream, time_left).await {
            Ok((Protocol::Http1, opening)) => opening,
            // A request that begins as an HTTP/2 preface does is none.
            Ok((Protocol::Http2, _)) => return CloseCause::ConnectionError,
            Err(Unopened::Elapsed) => return CloseCause::IdleTimeout,
            Err(Unopened::Ended(cause)) => return cause,
        };
    }
}

/// What became of a connection that hyper spoke on.
enum Spoken {
    Ended(CloseCause),
    /// It waits for its next request without buffers, or has what came of it already.
    Parked(TcpStream, Bytes),
}

/// Lets hyper speak the connection's protocol.
async fn speak<S, B>(
    socket: Socket,
    service: S,
    outbox: Rc<Outbox>,
    connection: Rc<Connection>,
) -> Spoken
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    S::Future: Unpin + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let io = TokioIo::new(socket);
    match connection.protocol() {
        Protocol::Http1 => {
            let settings = http1_settings(connection.worker());
            let mut driver = Http1Driver {
                http: settings.serve_connection(io, service),
                outbox: Rc::clone(&outbox),
                connection: Rc::clone(&connection),
                is_done: false,
            };
            match drive(&mut driver, &outbox, &connection).await {
                Driven::Ended(cause) => Spoken::Ended(cause),
                Driven::Parked => park(driver, outbox),
                Driven::Tunnel(tunnel) => {
                    let Parts { io, read_buf, .. } = driver.http.into_parts();
                    let client = TunnelSocket::new(io.into_inner(), read_buf, outbox);
                    Spoken::Ended(carry(tunnel, client, &connection).await)
                }
            }
        }
        Protocol::Http2 => {
            let settings = http2_settings(connection.worker());
            let mut http = settings.serve_connection(io, service);
            match drive(&mut http, &outbox, &connection).await {
                Driven::Ended(cause) => Spoken::Ended(cause),
                // Neither is for HTTP/2.
                Driven::Parked | Driven::Tunnel(_) => Spoken::Ended(CloseCause::Done),
            }
        }
    }
}

/// Takes the bare socket back out of hyper.
fn park<S, B>(driver: Http1Driver<S>, outbox: Rc<Outbox>) -> Spoken
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Http1Driver {
        http,
        outbox: shared_outbox,
        ..
    } = driver;
    let Parts { io, read_buf, .. } = http.into_parts();
    drop(shared_outbox);
    let reader = io.into_inner().into_reader();
    let writer = Rc::into_inner(outbox).and_then(Outbox::into_writer);
    match writer.map(|writer| reader.reunite(writer)) {
        Some(Ok(stream)) => Spoken::Parked(stream, without_blank_lines(read_buf)),
        Some(Err(_)) | None => Spoken::Ended(CloseCause::ConnectionError),
    }
}

/// Some clients end a body by a line break that is no part of it (RFC 9112 section 2.2).
fn without_blank_lines(mut bytes: Bytes) -> Bytes {
    let blank = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let blank = blank.count();
    bytes.split_off(blank)
}

/// Carries a tunnel until it ends or the process does.
async fn carry(tunnel: Tunnel, client: TunnelSocket, connection: &Connection) -> CloseCause {
    let mut phase = connection.worker().phase.clone();
    tokio::select! {
        carried = tunnel.carry(client) => match carried {
            Ok(()) => CloseCause::Done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => CloseCause::IdleTimeout,
            Err(_broken) => CloseCause::ConnectionError,
        },
        _ = phase.wait_for(|&phase| phase == Phase::Cut) => CloseCause::Cut,
    }
}

/// Waits for the next bytes on the bare socket: until then a connection costs no buffer.
async fn open(
    worker: &WorkerContext,
    stream: &mut TcpStream,
    time: Duration,
) -> Result<(Protocol, Bytes), Unopened> {
    let mut phase = worker.phase.clone();
    let opening = timeout(time, read_opening(stream));
    tokio::select! {
        biased;
        opened = opening => match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(_closed)) => Err(Unopened::Ended(CloseCause::Done)),
            Err(_elapsed) => Err(Unopened::Elapsed),
        },
        // It may still send its first call while the drain waits for calls in flight.
        _ = phase.wait_for(|&phase| phase >= Phase::ClosingIdle) => {
            Err(Unopened::Ended(CloseCause::Drained))
        }
    }
}

/// Why nothing was read.
enum Unopened {
    Elapsed,
    Ended(CloseCause),
}

fn http1_settings(worker: &WorkerContext) -> http1::Builder {
    let head_bytes_max = worker.connections.head_limit as usize;
    let mut settings = http1::Builder::new();
    settings
        .max_header_size(head_bytes_max)
        .max_buf_size(head_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
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
        .max_header_list_size(worker.connections.head_limit)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    settings
}

/// A connection as hyper serves it.
trait HttpConnection {
    /// Serves on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

    /// HTTP/2: sends GOAWAY. HTTP/1.1: closes if idle, else after the current answer.
    fn graceful_shutdown(&mut self);
}

/// HTTP/1.1, from which the socket can be had back.
struct Http1Driver<S: hyper::service::HttpService<Incoming>> {
    http: http1::Connection<TokioIo<Socket>, S>,
    outbox: Rc<Outbox>,
    connection: Rc<Connection>,
    is_done: bool,
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
        self.outbox.poll_shutdown(cx).map(|_sent_or_gone| Ok(()))
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
async fn drive<C: HttpConnection>(
    http: &mut C,
    outbox: &Outbox,
    connection: &Connection,
) -> Driven {
    let mut watchdog = pin!(sleep_until(connection.due().0));
    let mut phase = connection.worker().phase.clone();
    let mut said_goodbye = false;
    loop {
        let phase_now = *phase.borrow_and_update();
        match connection.enter(phase_now) {
            PhaseStep::Stay => {}
            PhaseStep::Leave => http.graceful_shutdown(),
            PhaseStep::Close => return Driven::Ended(CloseCause::Cut),
        }
        let mut phase_changed = pin!(phase.changed());
        let event = poll_fn(|cx| {
            connection.polled();
            let mut ended = http.poll(cx);
            if connection.must_say_goodbye() && !said_goodbye && ended.is_pending() {
                said_goodbye = true;
                http.graceful_shutdown();
                ended = http.poll(cx);
            }
            let sent = outbox.poll_send(cx);
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(Event::Ended(ended));
            }
            match sent {
                Poll::Ready(Err(_broken)) => return Poll::Ready(Event::Broken),
                Poll::Ready(Ok(()))
                    if phase_now >= Phase::ClosingIdle && connection.is_drained() =>
                {
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
                if let Some(tunnel) = connection.take_tunnel() {
                    return Driven::Tunnel(tunnel);
                }
                if connection.is_broken() {
                    outbox.reset_on_close();
                } else {
                    let expected = match ended {
                        _ if connection.is_left_unread() => Expected::Upload,
                        Ok(()) => Expected::Nothing,
                        Err(_) => Expected::Nonsense,
                    };
                    outbox.linger(expected).await;
                }
                return Driven::Ended(connection.cause_of_end(phase_now, ended));
            }
            Event::Broken => return Driven::Ended(CloseCause::ConnectionError),
            Event::Drained => return Driven::Ended(CloseCause::Drained),
            Event::Phase => {}
            Event::Watchdog => {
                if let Some(driven) = meet_limit(http, outbox, connection) {
                    return driven;
                }
                watchdog.as_mut().reset(connection.due().0);
            }
        }
    }
}

/// Does what a time limit asks, if one is due.
fn meet_limit<C: HttpConnection>(
    http: &mut C,
    outbox: &Outbox,
    connection: &Connection,
) -> Option<Driven> {
    let (due_at, due) = connection.due();
    let now = Instant::now();
    match due {
        _ if due_at > now => {}
        Due::Close(cause) => return Some(Driven::Ended(cause)),
        // What is unsent goes first.
        Due::Park if !outbox.is_empty() => connection.progress(),
        Due::Park => return Some(Driven::Parked),
        Due::Leave(cause) => {
            connection.leave(now, cause);
            http.graceful_shutdown();
        }
    }
    None
}

/// What became of a connection that was driven.
enum Driven {
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

/// hyper reads bodies in parts of up to this.
const HTTP1_BUFFER_BYTES_MIN: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// A message of the longest size and its prefix fit, and no more need be buffered.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 + 16;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
