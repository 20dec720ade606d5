//! Clients that make one request each and then keep their connections.

use std::{error::Error, net::SocketAddr};

use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::http::backends::Body;

/// In what order connections are opened and requests made.
#[derive(Clone, Copy, Debug)]
pub enum Opening {
    /// All connections are there before the first request, and all requests are made at once.
    AtOnce,
    /// A connection is opened, and makes its request, after the one before has its response.
    OneByOne,
}

/// Returns connections that have had their response.
pub async fn open(
    addr: SocketAddr,
    count: usize,
    opening: Opening,
) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let mut connections = Vec::with_capacity(count);
    match opening {
        Opening::AtOnce => {
            while connections.len() < count {
                let next = (count - connections.len()).min(CONNECTS_AT_A_TIME);
                connections
                    .extend(try_join_all((0..next).map(|_| TcpStream::connect(addr))).await?);
            }
            try_join_all(connections.iter_mut().map(request)).await?;
        }
        Opening::OneByOne => {
            for _ in 0..count {
                let mut connection = TcpStream::connect(addr).await?;
                request(&mut connection).await?;
                connections.push(connection);
            }
        }
    }
    Ok(connections)
}

/// Whether the server has left it open. The runtime must have polled its sockets since.
pub fn is_open(connection: &TcpStream) -> bool {
    let read = connection.try_read(&mut [0]);
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn request(connection: &mut TcpStream) -> Result<(), Box<dyn Error>> {
    let (path, addr) = (Body::Small.name(), connection.peer_addr()?);
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    while !is_complete(&response) {
        if connection.read_buf(&mut response).await? == 0 {
            return Err("a connection was closed before its response".into());
        }
    }
    if !response.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&response).into());
    }
    Ok(())
}

/// Whether head and body are there. The body's length is known.
fn is_complete(response: &[u8]) -> bool {
    let head_end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    head_end.is_some_and(|head_end| response.len() >= head_end + 4 + Body::Small.bytes())
}

/// Fewer than any listener's queue holds.
const CONNECTS_AT_A_TIME: usize = 50;
