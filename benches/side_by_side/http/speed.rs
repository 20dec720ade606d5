//! The table of a load's costs: requests per second and server CPU time per request.

use std::error::Error;

use crate::{
    http::{
        backends::{Backends, Body},
        comparison::ratios,
        load::{self, Load},
        peers::Peer,
        setup::Setup,
        wrk::{Clients, KeepAlive},
    },
    rounds::{self, Pace, median},
    selection::RowFilter,
};

/// One load that its peers meet.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub load: Load,
    pub peers: &'static [Peer],
}

impl Row {
    /// Requests over HTTP/1.1.
    pub const fn of_http1(
        name: &'static str,
        connections: u32,
        body: Body,
        keep_alive: KeepAlive,
        peers: &'static [Peer],
    ) -> Self {
        let clients = Clients {
            keep_alive,
            ..Clients::keeping(connections)
        };
        Self {
            name,
            load: Load::Http1 { clients, body },
            peers,
        }
    }
}

pub fn run(
    title: &str,
    rows: &[Row],
    pace: Pace,
    filter: &RowFilter,
) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!("{title}, {rounds} rounds of {seconds} s, medians\n");
    println!("| load | server | requests/s | server CPU µs/request | × better of nginx, HAProxy |");
    println!("|---|---|---|---|---|");
    let backends = Backends::start()?;
    for row in rows.iter().filter(|row| filter.includes(row.name)) {
        run_row(row, &backends, pace)?;
    }
    Ok(())
}

fn run_row(row: &Row, backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let setup = Setup::for_load(row.load, &backends.addrs);
    let all = rounds::in_turns(pace.rounds, row.peers, |peer| {
        let server = peer.start(&setup)?;
        load::run(&server, row.load, pace.seconds)
            .map_err(|error| format!("{}, {}: {error}", row.name, peer.name()).into())
    })?;
    let ratios = ratios(row.peers, &all, |figure| figure.cpu);
    for ((peer, figures), ratio) in row.peers.iter().zip(&all).zip(ratios) {
        let per_second = median(figures.iter().map(|figure| figure.per_second));
        let cpu = cost(
            row.load.body(),
            median(figures.iter().map(|figure| figure.cpu)),
        );
        let (name, peer) = (row.name, peer.name());
        println!("| {name} | {peer} | {per_second:.0} | {cpu} | {ratio:.2} |");
    }
    Ok(())
}

/// CPU time of a request; with what a gigabyte takes where bytes are most of the work.
fn cost(body: Body, micros: f64) -> String {
    let millis_per_gigabyte = micros * 1e6 / body.bytes() as f64;
    match body {
        Body::Small => format!("{micros:.1}"),
        Body::Page | Body::Video => format!("{micros:.1} ({millis_per_gigabyte:.0} ms/GB)"),
    }
}
