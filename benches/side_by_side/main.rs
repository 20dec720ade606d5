//! Weir beside its peers in one run: calls per second and server CPU time per call.
//!
//! `cargo bench --bench side_by_side` starts each server pinned to one core and h2load (Debian:
//! nghttp2-client) pinned to another, in turns, and prints a table. CPU time per call is what to
//! compare: it does not depend on how fast the load generator is, nor much on who else uses the
//! machine. Needs Linux, two cores, `taskset` and `h2load`.
//!
//! `ROUNDS` (default 5) and `SECONDS` (default 3) set how long it takes.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a benchmark that cannot go on should stop"
)]

use std::{env, error::Error};

mod floor;
mod load;
mod peer;
mod stock_tonic;

use load::Row;
use peer::Peer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    // A peer that lives in this file's executable is started by naming it.
    match env::args().nth(1).as_deref() {
        Some("serve-floor") => return floor::serve(),
        Some("serve-stock-tonic") => return stock_tonic::serve(),
        _ => {}
    }
    let rounds = setting("ROUNDS", 5)?;
    let seconds = setting("SECONDS", 3)?;
    println!("gRPC Redirect, {rounds} rounds of {seconds} s, medians\n");
    println!("| connections × streams | server | calls/s | server CPU µs/call | × floor |");
    println!("|---|---|---|---|---|");
    for row in load::ROWS {
        run_row(row, rounds, seconds)?;
    }
    Ok(())
}

/// Measures every peer in turns, so that a drift of the machine meets all of them.
fn run_row(row: Row, rounds: u32, seconds: u32) -> Result<(), Box<dyn Error>> {
    let mut figures = vec![Vec::new(); Peer::ALL.len()];
    for _ in 0..rounds {
        for (peer, figures) in Peer::ALL.into_iter().zip(&mut figures) {
            let server = peer.start()?;
            figures.push(load::run(&server, row, seconds)?);
        }
    }
    for (index, peer) in Peer::ALL.into_iter().enumerate() {
        let per_second = median(figures[index].iter().map(|figure| figure.calls_per_second));
        let micros = median(
            figures[index]
                .iter()
                .map(|figure| figure.cpu_micros_per_call),
        );
        let ratios = figures[index].iter().zip(&figures[0]);
        let ratio =
            median(ratios.map(|(own, floor)| own.cpu_micros_per_call / floor.cpu_micros_per_call));
        let Row {
            connections,
            streams,
        } = row;
        println!(
            "| {connections} × {streams} | {} | {per_second:.0} | {micros:.2} | {ratio:.2} |",
            peer.name()
        );
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn setting(name: &str, default: u32) -> Result<u32, Box<dyn Error>> {
    match env::var(name) {
        Ok(text) => Ok(text.parse()?),
        Err(_unset) => Ok(default),
    }
}
