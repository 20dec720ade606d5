//! Small HTTP requests to a running Weir, for the commands that ask one.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime, time::timeout};

use crate::state::Status;

/// Asks the admin listener whether the process is ready.
///
/// # Errors
///
/// Why it is not.
pub fn check_ready(admin: SocketAddr) -> Result<(), AdminError> {
    ask(async { get(reachable(admin), "/readyz").await })
        .and_then(refuse_failures)
        .map(drop)
}

/// Asks the admin listener what runs.
///
/// # Errors
///
/// Why there is no answer, or none that can be read.
pub fn status(admin: SocketAddr) -> Result<Status, AdminError> {
    ask(async {
        let response = refuse_failures(get(reachable(admin), "/status").await?)?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| AdminError::Unreadable(error.to_string()))?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| AdminError::Unreadable(error.to_string()))
    })
}

/// Sends a request of the admin API, and reads its answer.
///
/// # Errors
///
/// When there is no answer, or a longer one than any of the API.
pub fn call(
    admin: SocketAddr,
    method: &Method,
    path_and_query: &str,
    token: Option<&str>,
    body: Option<&serde_json::Value>,
) -> Result<(StatusCode, Bytes), AdminError> {
    let admin = reachable(admin);
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(header::HOST, admin.to_string())
        .header(header::CONTENT_TYPE, "application/json");
    let request = match token {
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    ask(async {
        let response = send(admin, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| AdminError::Unreadable(error.to_string()))?;
        Ok((status, body.to_bytes()))
    })
}

fn ask<T>(asked: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async { timeout(PATIENCE, asked).await });
    answer.map_err(|_elapsed| AdminError::NoAnswer(PATIENCE))?
}

fn refuse_failures(response: Response<Incoming>) -> Result<Response<Incoming>, AdminError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(AdminError::Status(status)),
    }
}

/// Sends one GET request on a connection of its own.
///
/// # Errors
///
/// When the connection cannot be made or breaks.
pub async fn get(addr: SocketAddr, path_and_query: &str) -> Result<Response<Incoming>, AdminError> {
    let request = Request::get(path_and_query)
        .header(header::HOST, addr.to_string())
        .body(Full::new(Bytes::new()))
        .map_err(io::Error::other)?;
    send(addr, request).await
}

async fn send(
    addr: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, AdminError> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response: on the error of either, or when its body is read or dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
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

/// Why the admin listener gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
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
    /// It answers something else than was asked for.
    #[error("an answer that cannot be read: {0}")]
    Unreadable(String),
}

/// Below the usual timeouts of container health checks.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far above what a page of the API takes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
