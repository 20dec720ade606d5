//! The HTTP load balancer: requests per second and server CPU time per request or gigabyte.

use std::error::Error;

mod backends;
pub mod idle_memory;
mod load;
mod peers;
mod work_folder;

use crate::{
    h2load::Spread,
    rounds::{self, Figure, Pace, median},
};
use backends::{Backends, Body};
use load::{KeepAlive, Load, Unit};
use peers::Peer;

/// One load that every peer meets.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    load: Load,
}

/// Runs the rows with one of `words` in their name; all of them if there is no word.
pub fn run(pace: Pace, words: &[String]) -> Result<(), Box<dyn Error>> {
    let is_chosen = |row: &Row| words.is_empty() || words.iter().any(|w| row.name.contains(w));
    let rows: Vec<Row> = ROWS.into_iter().filter(is_chosen).collect();
    if rows.is_empty() {
        let names = ROWS.map(|row| row.name).join("; ");
        return Err(format!("no row has {words:?} in its name; there are: {names}").into());
    }
    let Pace { rounds, seconds } = pace;
    println!("HTTP load balancer, {rounds} rounds of {seconds} s, medians\n");
    println!("| load | server | requests/s | server CPU | × best of nginx, HAProxy, Caddy |");
    println!("|---|---|---|---|---|");
    let backends = Backends::start()?;
    for row in rows {
        run_row(row, &backends, pace)?;
    }
    Ok(())
}

fn run_row(row: Row, backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let protocol = row.load.protocol();
    // A relay does not speak to the backends for its clients, and these know no HTTP/2.
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|peer| peer.speaks(protocol))
        .collect();
    let all = rounds::in_turns(pace.rounds, &peers, |peer| {
        let server = peer.start(backends, protocol)?;
        load::run(&server, row.load, pace.seconds)
            .map_err(|error| format!("{}, {}: {error}", row.name, peer.name()).into())
    })?;
    let best = best_rivals(&peers, &all);
    for (peer, figures) in peers.iter().zip(&all) {
        let per_second = median(figures.iter().map(|figure| figure.per_second));
        let cpu = median(figures.iter().map(|figure| figure.cpu));
        let ratio = median(figures.iter().zip(&best).map(|(own, best)| own.cpu / best));
        let cpu = match row.load.unit() {
            Unit::MicrosPerRequest => format!("{cpu:.1} µs/request"),
            Unit::MillisPerGigabyte => format!("{cpu:.0} ms/GB"),
        };
        let (name, peer) = (row.name, peer.name());
        println!("| {name} | {peer} | {per_second:.0} | {cpu} | {ratio:.2} |");
    }
    Ok(())
}

/// The least CPU time that any of the other load balancers took, by round.
fn best_rivals(peers: &[Peer], all: &[Vec<Figure>]) -> Vec<f64> {
    let rivals: Vec<&Vec<Figure>> = peers
        .iter()
        .zip(all)
        .filter(|(peer, _)| peer.is_rival())
        .map(|(_, figures)| figures)
        .collect();
    let rounds = 0..rivals.first().map_or(0, |figures| figures.len());
    rounds
        .map(|round| {
            let cpus = rivals.iter().map(|figures| figures[round].cpu);
            cpus.fold(f64::INFINITY, f64::min)
        })
        .collect()
}

const ROWS: [Row; 6] = [
    wrk("90 B, 16 connections", 16, Body::Small, KeepAlive::Yes),
    wrk("90 B, 64 connections", 64, Body::Small, KeepAlive::Yes),
    wrk("64 KiB, 16 connections", 16, Body::Page, KeepAlive::Yes),
    wrk("10 MB, 4 connections", 4, Body::Video, KeepAlive::Yes),
    wrk("90 B, Connection: close", 16, Body::Small, KeepAlive::No),
    Row {
        name: "90 B, HTTP/2, 10 × 10",
        load: Load::Http2(Spread {
            connections: 10,
            streams: 10,
        }),
    },
];

const fn wrk(name: &'static str, connections: u32, body: Body, keep_alive: KeepAlive) -> Row {
    let load = Load::Http1 {
        connections,
        body,
        keep_alive,
    };
    Row { name, load }
}
