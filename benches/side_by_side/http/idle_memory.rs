//! Memory per idle keep-alive connection: how much a server with two workers grows by many of them.

use std::{error::Error, net::SocketAddr, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    time,
};

use crate::{
    http::{
        backends::Backends,
        idle_clients::{self, Opening},
        peers::Peer,
        setup::{Protocol, Setup},
    },
    open_files,
    rounds::{self, Pace, median},
    selection::RowFilter,
    server::Server,
};

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Memory {
    kib_per_connection: f64,
    /// All of the server's memory while the connections were open.
    total_mib: f64,
}

pub fn row_names() -> Vec<String> {
    ROWS.map(|(name, _)| name.to_owned()).to_vec()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    open_files::allow_connections(CONNECTIONS)?;
    // It hardly varies, and each measurement takes long.
    let rounds = pace.rounds.min(3);
    let seconds = SETTLE.as_secs();
    println!("{CONNECTIONS} idle keep-alive connections that made one request each, {seconds} s");
    println!("later, two workers, {rounds} rounds, medians\n");
    println!("| connections and requests | server | KiB/connection | MiB in all |");
    println!("|---|---|---|---|");
    let backends = Backends::start()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for (name, opening) in ROWS.into_iter().filter(|(name, _)| filter.includes(name)) {
        run_row(name, opening, &Peer::ALL, rounds, &backends.addrs, &runtime)?;
    }
    Ok(())
}

/// One row, of connections that are opened one after the other.
pub fn run_for(name: &str, peers: &[Peer], pace: Pace) -> Result<(), Box<dyn Error>> {
    // Each has a connection to a backend as well.
    open_files::allow_connections(2 * CONNECTIONS)?;
    println!("| sessions | server | KiB/session | MiB in all |");
    println!("|---|---|---|---|");
    let backends = Backends::start()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rounds = pace.rounds.min(3);
    run_row(
        name,
        Opening::OneByOne,
        peers,
        rounds,
        &backends.addrs,
        &runtime,
    )
}

fn run_row(
    name: &str,
    opening: Opening,
    peers: &[Peer],
    rounds: u32,
    backends: &[SocketAddr],
    runtime: &Runtime,
) -> Result<(), Box<dyn Error>> {
    let setup = Setup {
        workers: 2,
        ..Setup::new(Protocol::Http1, backends)
    };
    let all = rounds::in_turns(rounds, peers, |peer| {
        runtime
            .block_on(measure(&peer.start(&setup)?, opening))
            .map_err(|error| format!("{name}, {}: {error}", peer.name()).into())
    })?;
    for (peer, figures) in peers.iter().zip(&all) {
        let each = median(figures.iter().map(|figure| figure.kib_per_connection));
        let total = median(figures.iter().map(|figure| figure.total_mib));
        println!("| {name} | {} | {each:.2} | {total:.1} |", peer.name());
    }
    Ok(())
}

async fn measure(server: &Server, opening: Opening) -> Result<Memory, Box<dyn Error>> {
    // What the first requests of all leave behind belongs to no connection.
    let first = idle_clients::open(server.addr, FIRST_CONNECTIONS, Opening::AtOnce).await?;
    drop(first);
    time::sleep(Duration::from_secs(1)).await;
    let before = server.resident_kib()? as f64;

    let connections = idle_clients::open(server.addr, CONNECTIONS as usize, opening).await?;
    time::sleep(SETTLE).await;
    let after = server.resident_kib()? as f64;

    let is_lost = |connection: &&_| !idle_clients::is_open(connection);
    let lost = connections.iter().filter(is_lost).count();
    if lost > 0 {
        return Err(format!("{lost} of {CONNECTIONS} connections were closed").into());
    }
    Ok(Memory {
        kib_per_connection: (after - before) / f64::from(CONNECTIONS),
        total_mib: after / 1024.0,
    })
}

const ROWS: [(&str, Opening); 2] = [
    ("all at once", Opening::AtOnce),
    ("one after the other", Opening::OneByOne),
];
const CONNECTIONS: u32 = 4000;
const FIRST_CONNECTIONS: usize = 50;
/// Longer than a server waits before it gives up an idle connection's buffers, shorter than any
/// of them keeps the connection.
const SETTLE: Duration = Duration::from_secs(20);
