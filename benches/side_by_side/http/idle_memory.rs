//! Memory per idle keep-alive connection: how much a server grows by many of them.

use std::{error::Error, net::SocketAddr, time::Duration};

use futures_util::future::try_join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime, time,
};

use crate::{
    http::{
        backends::{Backends, Body},
        peers::{Peer, Protocol},
    },
    rounds::{self, Pace, median},
};

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Memory {
    kib_per_connection: f64,
    /// All of the server's memory while the connections were open.
    total_mib: f64,
}

pub fn run(pace: Pace) -> Result<(), Box<dyn Error>> {
    raise_open_files_limit()?;
    // It hardly varies, and each measurement takes long.
    let rounds = pace.rounds.min(3);
    println!("{CONNECTIONS} idle keep-alive connections, {rounds} rounds, medians\n");
    println!("| server | KB per connection | MB in all |");
    println!("|---|---|---|");
    let backends = Backends::start()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let all = rounds::in_turns(rounds, &Peer::ALL, |peer| {
        runtime
            .block_on(measure(peer, &backends))
            .map_err(|error| format!("{}: {error}", peer.name()).into())
    })?;
    for (peer, figures) in Peer::ALL.into_iter().zip(&all) {
        let each = median(figures.iter().map(|figure| figure.kib_per_connection));
        let total = median(figures.iter().map(|figure| figure.total_mib));
        println!("| {} | {each:.2} | {total:.1} |", peer.name());
    }
    Ok(())
}

async fn measure(peer: Peer, backends: &Backends) -> Result<Memory, Box<dyn Error>> {
    let server = peer.start(backends, Protocol::Http1)?;
    // What the first requests of all leave behind belongs to no connection.
    let first = open(server.addr, AT_A_TIME).await?;
    drop(first);
    time::sleep(Duration::from_secs(1)).await;
    let before = server.resident_kib()?;

    let mut connections = Vec::with_capacity(CONNECTIONS);
    while connections.len() < CONNECTIONS {
        let rest = CONNECTIONS - connections.len();
        connections.extend(open(server.addr, rest.min(AT_A_TIME)).await?);
    }
    time::sleep(SETTLE).await;
    let after = server.resident_kib()?;

    let lost = connections.iter().filter(|stream| !is_open(stream)).count();
    if lost > 0 {
        return Err(format!("{lost} of {CONNECTIONS} connections were closed").into());
    }
    Ok(Memory {
        kib_per_connection: (after as f64 - before as f64) / CONNECTIONS as f64,
        total_mib: after as f64 / 1024.0,
    })
}

/// Opens connections all at once, each of which has made a request when this returns.
async fn open(addr: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    try_join_all((0..count).map(|_| connection_after_request(addr))).await
}

async fn connection_after_request(addr: SocketAddr) -> Result<TcpStream, Box<dyn Error>> {
    let path = Body::Small.name();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    while !is_complete(&response) {
        if stream.read_buf(&mut response).await? == 0 {
            return Err("a connection was closed before its response".into());
        }
    }
    if !response.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&response).into());
    }
    Ok(stream)
}

/// Whether head and body are there. The body's length is known.
fn is_complete(response: &[u8]) -> bool {
    let head_end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    head_end.is_some_and(|head_end| response.len() >= head_end + 4 + Body::Small.bytes())
}

/// Whether the server has left it open. The runtime must have polled its sockets since.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Allows this process and the servers, which inherit it, enough open files. A relay needs two
/// for each connection.
fn raise_open_files_limit() -> Result<(), Box<dyn Error>> {
    let needed = 2 * CONNECTIONS as u64 + 2000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|error| format!("{needed} open files must be allowed (ulimit -n): {error}").into())
}

const CONNECTIONS: usize = 4000;
/// Fewer than any listener's queue holds.
const AT_A_TIME: usize = 50;
/// Longer than a server waits before it gives up an idle connection's buffers, shorter than any
/// of them keeps the connection.
const SETTLE: Duration = Duration::from_secs(12);
