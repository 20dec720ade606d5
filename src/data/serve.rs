//! Serves one client connection from its first byte to its end.
//!
//! hyper speaks the protocols; it is given no timer. One watchdog a connection holds all limits,
//! because hyper's cannot tell an idle connection from a slow head, and has no notion of age.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
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
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    data::{
        Face, WorkerContext,
        accept::ConnectionSlot,
        connection::{Connection, Due, PhaseStep},
        executor::LocalExecutor,
        http::HttpService,
        outbox::Outbox,
        redirect::RedirectService,
        socket::{Opening, Socket, read_opening},
    },
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

/// Serves an accepted connection to its end.
pub(super) async fn serve(slot: ConnectionSlot, face: Face, stream: TcpStream) {
    let cause = run(slot.worker(), face, stream).await;
    slot.release(cause);
}

async fn run(worker: &Rc<WorkerContext>, face: Face, mut stream: TcpStream) -> CloseCause {
    let (protocol, opening) = match open(worker, &mut stream).await {
        Ok(opened) => opened,
        Err(cause) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
    let Ok(peer) = stream.peer_addr() else {
        return CloseCause::Done;
    };
    let connection = Rc::new(Connection::new(Rc::clone(worker), face, protocol));
    let (reader, writer) = stream.into_split();
    let outbox = Rc::new(Outbox::new(writer));
    let socket = Socket::new(opening, reader, Rc::clone(&outbox), Rc::clone(&connection));
    match face {
        Face::Redirect => {
            let service = RedirectService::new(Rc::clone(&connection));
            speak(socket, service, &outbox, &connection).await
        }
        Face::Http(listener) => {
            let service = HttpService::new(Rc::clone(&connection), listener, peer.ip());
            speak(socket, service, &outbox, &connection).await
        }
    }
}

/// Lets hyper speak the connection's protocol.
async fn speak<S, B>(
    socket: Socket,
    service: S,
    outbox: &Outbox,
    connection: &Connection,
) -> CloseCause
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let io = TokioIo::new(socket);
    match connection.protocol() {
        Protocol::Http1 => {
            drive(
                http1_settings().serve_connection(io, service),
                outbox,
                connection,
            )
            .await
        }
        Protocol::Http2 => {
            let settings = http2_settings(connection.worker());
            drive(settings.serve_connection(io, service), outbox, connection).await
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

impl<S, B> HttpConnection for http1::Connection<TokioIo<Socket>, S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<S, B> HttpConnection for http2::Connection<TokioIo<Socket>, S, LocalExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Runs a connection under its time limits and through the phases of a stop.
async fn drive<C: HttpConnection>(http: C, outbox: &Outbox, connection: &Connection) -> CloseCause {
    let mut http = pin!(http);
    let mut watchdog = pin!(sleep_until(connection.due().0));
    let mut phase = connection.worker().phase.clone();
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
                if connection.is_broken() {
                    outbox.reset_on_close();
                } else {
                    outbox.linger(ended.is_err()).await;
                }
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
                        connection.leave(now, cause);
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
