//! Serves one client connection from its first byte to its end: on the bare socket until something
//! comes, then by hyper, then on the bare socket again while it is idle, or as a tunnel.

use std::{convert::Infallible, error::Error, io, net::IpAddr, pin::Pin, rc::Rc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1::Parts, service::Service};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, timeout},
};

use crate::{
    data::{
        WorkerContext,
        accept::ConnectionSlot,
        connection::Connection,
        drive::{Driven, Http1Driver, drive},
        http::{HttpService, Tunnel, note_unreadable_head},
        http_settings::{http1_settings, http2_settings},
        outbox::Outbox,
        redirect::RedirectService,
        socket::{Socket, read_opening},
        tunnel_socket::TunnelSocket,
    },
    listener::Face,
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

/// Serves an accepted connection to its end.
pub(super) async fn serve(slot: ConnectionSlot, face: Face, peer: IpAddr, stream: TcpStream) {
    let cause = run(slot.worker(), face, peer, stream).await;
    slot.release(cause);
}

async fn run(
    worker: &Rc<WorkerContext>,
    face: Face,
    peer: IpAddr,
    mut stream: TcpStream,
) -> CloseCause {
    let first_byte_timeout = worker.connections.first_byte_timeout;
    let opened = open(worker, &mut stream, first_byte_timeout).await;
    let (protocol, mut opening) = match opened {
        Ok(opened) => opened,
        Err(Unopened::Elapsed) => return CloseCause::FirstByteTimeout,
        Err(Unopened::Ended(cause)) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
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
                let service = HttpService::new(Rc::clone(&connection), listener, peer);
                Box::pin(speak(socket, service, outbox, Rc::clone(&connection)))
            }
        };
        stream = match spoken.await {
            Spoken::Ended(cause) => {
                if let Face::Http(_) = face {
                    note_unreadable_head(worker, peer, cause, connection.head_age());
                }
                return cause;
            }
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
            let http = settings.serve_connection(io, service);
            let mut driver = Http1Driver::new(http, &outbox, &connection);
            match drive(&mut driver, &outbox, &connection).await {
                Driven::Ended(cause) => Spoken::Ended(cause),
                Driven::Parked => park(driver, outbox),
                Driven::Tunnel(tunnel) => {
                    let Parts { io, read_buf, .. } = driver.into_http().into_parts();
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
    let Parts { io, read_buf, .. } = driver.into_http().into_parts();
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
    let cut = async {
        let _cut_or_gone = phase.wait_for(|&phase| phase == Phase::Cut).await;
        connection.end(CloseCause::Cut);
    };
    tokio::select! {
        carried = tunnel.carry(client) => match carried {
            Ok(()) => CloseCause::Done,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => CloseCause::IdleTimeout,
            Err(_broken) => CloseCause::ConnectionError,
        },
        () = cut => CloseCause::Cut,
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
