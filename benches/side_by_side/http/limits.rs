//! What a limit of each client's requests costs, and how exact it is.

use std::error::Error;

use crate::{
    http::{
        backends::{Backends, Body},
        load::{self, Load},
        peers::Peer,
        setup::{LOW_BURST, LOW_RATE, RateLimit, Setup},
        wrk::{self, Clients},
    },
    rounds::{self, Pace, median},
    selection::RowFilter,
};

pub fn row_names() -> Vec<String> {
    vec![COST.to_owned(), ACCURACY.to_owned()]
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let backends = Backends::start()?;
    if filter.includes(COST) {
        costs(&backends, pace)?;
    }
    if filter.includes(ACCURACY) {
        accuracy(&backends, pace)?;
    }
    Ok(())
}

/// Every server with a limit that refuses nothing and without one, in turns.
fn costs(backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!("{COST}, {rounds} rounds of {seconds} s, medians\n");
    println!("| server | limit | requests/s | server CPU µs/request | × without |");
    println!("|---|---|---|---|---|");
    let all = rounds::in_turns(rounds, &VARIANTS, |(peer, rate_limit)| {
        let setup = setup(backends, rate_limit);
        load::run(&peer.start(&setup)?, LOAD, seconds)
    })?;
    for (variants, pair) in VARIANTS.chunks(2).zip(all.chunks(2)) {
        for ((peer, rate_limit), figures) in variants.iter().zip(pair) {
            let limit = match rate_limit {
                RateLimit::Off => "off",
                RateLimit::High | RateLimit::Low => "on",
            };
            let per_second = median(figures.iter().map(|figure| figure.per_second));
            let cpu = median(figures.iter().map(|figure| figure.cpu));
            let both = figures.iter().zip(&pair[0]);
            let ratio = median(both.map(|(own, without)| own.cpu / without.cpu));
            let peer = peer.name();
            println!("| {peer} | {limit} | {per_second:.0} | {cpu:.2} | {ratio:.3} |");
        }
    }
    Ok(())
}

/// How many of a client's requests pass a limit that is far below what it asks for. HAProxy has
/// no token bucket.
fn accuracy(backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!(
        "\n{ACCURACY}, {LOW_RATE} requests/s and {LOW_BURST} at once, {rounds} rounds of {seconds} s, medians\n"
    );
    println!("| server | requests/s | admitted | admitted ÷ (rate × time + burst) |");
    println!("|---|---|---|---|");
    let peers = [Peer::Nginx, Peer::Weir];
    let setup = setup(backends, RateLimit::Low);
    let all = rounds::in_turns(rounds, &peers, |peer| {
        let server = peer.start(&setup)?;
        wrk::count(
            CLIENTS,
            seconds,
            &format!("http://{}/{}", server.addr, BODY.name()),
        )
    })?;
    for (peer, figures) in peers.iter().zip(&all) {
        let admitted = |answered: &wrk::Answered| answered.sent.requests - answered.refused;
        let share = |answered: &wrk::Answered| {
            let most = f64::from(LOW_RATE) * answered.sent.seconds + f64::from(LOW_BURST);
            admitted(answered) / most
        };
        let per_second = median(
            figures
                .iter()
                .map(|all| all.sent.requests / all.sent.seconds),
        );
        let all = median(figures.iter().map(admitted));
        let share = median(figures.iter().map(share));
        println!(
            "| {} | {per_second:.0} | {all:.0} | {share:.4} |",
            peer.name()
        );
    }
    Ok(())
}

fn setup(backends: &Backends, rate_limit: RateLimit) -> Setup<'_> {
    Setup {
        rate_limit,
        ..Setup::for_load(LOAD, &backends.addrs)
    }
}

const COST: &str = "cost of a limit, 90 B, 16 connections of one client";
const ACCURACY: &str = "accuracy of a limit, 90 B, 16 connections of one client";
const BODY: Body = Body::Small;
const CLIENTS: Clients = Clients::keeping(16);
const LOAD: Load = Load::Http1 {
    clients: CLIENTS,
    body: BODY,
};
/// Each server without the limit, then with it.
const VARIANTS: [(Peer, RateLimit); 6] = [
    (Peer::Nginx, RateLimit::Off),
    (Peer::Nginx, RateLimit::High),
    (Peer::Haproxy, RateLimit::Off),
    (Peer::Haproxy, RateLimit::High),
    (Peer::Weir, RateLimit::Off),
    (Peer::Weir, RateLimit::High),
];
