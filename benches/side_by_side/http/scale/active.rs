//! Many connections that are all busy: what a request costs, and what each connection holds.

use std::error::Error;

use crate::{
    http::{
        backends::{Backends, Body},
        comparison::ratios,
        load::{self, Load},
        peers::Peer,
        scale::steady,
        setup::Setup,
        wrk::Clients,
    },
    rounds::{self, Figure, Pace, median},
    selection::RowFilter,
    server::Server,
};

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct ActiveFigure {
    speed: Figure,
    kib_per_connection: f64,
    /// All of the server's memory under the load.
    total_mib: f64,
}

pub fn row_names() -> Vec<String> {
    CONNECTIONS.into_iter().map(row_name).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!("Active connections, bodies of 90 B, {rounds} rounds of {seconds} s, medians;");
    println!("memory under the load, less what the server held after {FEW} connections\n");
    println!(
        "| load | server | requests/s | server CPU µs/request | × better of nginx, HAProxy | KiB/connection | MiB in all |"
    );
    println!("|---|---|---|---|---|---|---|");
    let backends = Backends::start()?;
    let is_chosen = |connections: &u32| filter.includes(&row_name(*connections));
    for connections in CONNECTIONS.into_iter().filter(is_chosen) {
        run_row(connections, &backends, pace)?;
    }
    Ok(())
}

fn row_name(connections: u32) -> String {
    format!("{connections} active connections")
}

fn run_row(connections: u32, backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let name = row_name(connections);
    let load = small_bodies(connections);
    let setup = Setup::for_load(load, &backends.addrs);
    let peers = Peer::RIVALS_AND_WEIR;
    let all = rounds::in_turns(pace.rounds, &peers, |peer| {
        measure(&peer.start(&setup)?, backends, load, pace.seconds)
            .map_err(|error| format!("{name}, {}: {error}", peer.name()).into())
    })?;
    let ratios = ratios(&peers, &all, |figure| figure.speed.cpu);
    for ((peer, figures), ratio) in peers.into_iter().zip(&all).zip(ratios) {
        let of = |value: fn(&ActiveFigure) -> f64| median(figures.iter().map(value));
        let per_second = of(|figure| figure.speed.per_second);
        let cpu = of(|figure| figure.speed.cpu);
        let each = of(|figure| figure.kib_per_connection);
        let total = of(|figure| figure.total_mib);
        let peer = peer.name();
        println!(
            "| {name} | {peer} | {per_second:.0} | {cpu:.1} | {ratio:.2} | {each:.1} | {total:.1} |"
        );
    }
    Ok(())
}

fn measure(
    server: &Server,
    backends: &Backends,
    load: Load,
    seconds: u32,
) -> Result<ActiveFigure, Box<dyn Error>> {
    // What the first requests of all leave behind belongs to no connection.
    load::send(server, small_bodies(FEW), 1)?;
    let before = server.resident_kib()? as f64;
    let steady = steady::measure(server, backends, load, seconds)?;
    Ok(ActiveFigure {
        speed: steady.speed,
        kib_per_connection: (steady.resident_kib - before) / f64::from(load.in_flight()),
        total_mib: steady.resident_kib / 1024.0,
    })
}

fn small_bodies(connections: u32) -> Load {
    Load::Http1 {
        clients: Clients::keeping(connections),
        body: Body::Small,
    }
}

pub const CONNECTIONS_MAX: u32 = 4000;
const CONNECTIONS: [u32; 2] = [512, CONNECTIONS_MAX];
const FEW: u32 = 16;
