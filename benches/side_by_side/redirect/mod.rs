//! gRPC `Redirect`: calls per second and server CPU time per call.

use std::error::Error;

pub mod floor;
mod load;
mod peers;
pub mod stock_tonic;

use crate::{
    h2load::Spread,
    rounds::{self, Pace, median},
    selection::RowFilter,
};
use peers::Peer;

pub fn row_names() -> Vec<String> {
    SPREADS.iter().map(Spread::to_string).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!("gRPC Redirect, {rounds} rounds of {seconds} s, medians\n");
    println!("| connections × streams | server | calls/s | server CPU µs/call | × floor |");
    println!("|---|---|---|---|---|");
    let is_chosen = |spread: &Spread| filter.includes(&spread.to_string());
    for spread in SPREADS.into_iter().filter(is_chosen) {
        run_row(spread, pace)?;
    }
    Ok(())
}

fn run_row(spread: Spread, pace: Pace) -> Result<(), Box<dyn Error>> {
    let all = rounds::in_turns(pace.rounds, &Peer::ALL, |peer| {
        load::run(&peer.start()?, spread, pace.seconds)
    })?;
    let floor = &all[0];
    for (peer, figures) in Peer::ALL.into_iter().zip(&all) {
        let per_second = median(figures.iter().map(|figure| figure.per_second));
        let micros = median(figures.iter().map(|figure| figure.cpu));
        let pairs = figures.iter().zip(floor);
        let ratio = median(pairs.map(|(own, floor)| own.cpu / floor.cpu));
        let peer = peer.name();
        println!("| {spread} | {peer} | {per_second:.0} | {micros:.2} | {ratio:.2} |");
    }
    Ok(())
}

const SPREADS: [Spread; 3] = [
    Spread::new(1, 50),
    Spread::new(10, 100),
    Spread::new(50, 10),
];
