//! Small HTTP requests to a running Weir, for `weir healthcheck` and `weir demo`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime, time::timeout};

/// Asks the admin listener whether the process is ready.
///
/// # Errors
///
/// Why it is not.
pub fn check(admin: SocketAddr) -> Result<(), Unready> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked =
        runtime.block_on(async { timeout(PATIENCE, get(reachable(admin), "/readyz")).await });
    let response = asked.map_err(|_elapsed| Unready::NoAnswer(PATIENCE))??;
    if response.status().is_success() {
        return Ok(());
    }
    Err(Unready::Status(response.status()))
}

/// Sends one GET request on a connection of its own.
///
/// # Errors
///
/// When the connection cannot be made or breaks.
pub async fn get(addr: SocketAddr, path_and_query: &str) -> Result<Response<Incoming>, Unready> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path_and_query)
        .header(header::HOST, addr.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    // The answer's head is all that anyone here reads, so the connection may end with it.
    tokio::select! {
        response = sender.send_request(request) => Ok(response?),
        Err(broken) = connection => Err(broken.into()),
    }
}

/// A process that listens on all addresses is asked on the loopback one.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let loopback = match addr {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if addr.ip().is_unspecified() {
        return SocketAddr::new(loopback, addr.port());
    }
    addr
}

/// Why the process is not ready.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// It cannot be reached.
    #[error("cannot connect: {0}")]
    Unreachable(#[from] io::Error),
    /// It broke the connection.
    #[error("broken answer: {0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// It says so itself.
    #[error("it answers {0}")]
    Status(http::StatusCode),
}

/// Below the usual timeouts of container health checks.
const PATIENCE: Duration = Duration::from_secs(2);
