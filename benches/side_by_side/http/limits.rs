//! What a limit of each client's requests costs, and how exact it is.

use std::{error::Error, thread, time::Duration};

use crate::{
    http::{
        backends::{Backends, Body},
        load::{self, Load},
        peers::Peer,
        setup::{LOW_BURST, LOW_RATE, RateLimit, Setup},
        wrk::{self, Clients},
    },
    rounds::{self, Figure, Pace, median},
    selection::RowFilter,
    server::{Server, free_addr},
    tools,
};

pub fn row_names() -> Vec<String> {
    [COST, ACCURACY, SHARED].map(str::to_owned).to_vec()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let backends = Backends::start()?;
    if filter.includes(COST) {
        costs(&backends, pace)?;
    }
    if filter.includes(ACCURACY) {
        accuracy(&backends, pace)?;
    }
    if filter.includes(SHARED) {
        shared_accuracy(&backends, pace)?;
    }
    Ok(())
}

/// Every server with a limit that refuses nothing and without one, in turns.
fn costs(backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!("{COST}, {rounds} rounds of {seconds} s, medians\n");
    println!("| server | limit | requests/s | server CPU µs/request | × without |");
    println!("|---|---|---|---|---|");
    let redis = redis()?;
    let all = rounds::in_turns(rounds, &VARIANTS, |(peer, limit)| {
        let setup = limit.setup(backends, &redis);
        load::run(&peer.start(&setup)?, LOAD, seconds)
    })?;
    let mut without: &[Figure] = &[];
    for ((peer, limit), figures) in VARIANTS.iter().zip(&all) {
        if *limit == Limited::Not {
            without = figures;
        }
        let per_second = median(figures.iter().map(|figure| figure.per_second));
        let cpu = median(figures.iter().map(|figure| figure.cpu));
        let both = figures.iter().zip(without);
        let ratio = median(both.map(|(own, without)| own.cpu / without.cpu));
        let (peer, limit) = (peer.name(), limit.name());
        println!("| {peer} | {limit} | {per_second:.0} | {cpu:.2} | {ratio:.3} |");
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
    let setup = Setup {
        rate_limit: RateLimit::Low,
        ..Setup::for_load(LOAD, &backends.addrs)
    };
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

/// As above, of two processes that share the limit, each with clients of its own.
fn shared_accuracy(backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!(
        "\n{SHARED}, {LOW_RATE} requests/s and {LOW_BURST} at once, {rounds} rounds of {seconds} s, medians\n"
    );
    println!("| server | requests/s | admitted | admitted ÷ (rate × time + burst) |");
    println!("|---|---|---|---|");
    let redis = redis()?;
    let setup = Setup {
        rate_limit: RateLimit::Low,
        shared_by: Some(redis.addr),
        ..Setup::for_load(LOAD, &backends.addrs)
    };
    let all = rounds::in_turns(rounds, &[()], |()| {
        // New ones, so that the bucket is full at the beginning of each round.
        let first = Peer::Weir.start_in("weir-1", &setup)?;
        let second = Peer::Weir.start_in("weir-2", &setup)?;
        thread::sleep(fill_time());
        let ask = |server: &Server| {
            let url = format!("http://{}/{}", server.addr, BODY.name());
            thread::spawn(move || {
                let counted = wrk::count(CLIENTS, seconds, &url);
                counted.map_err(|error| error.to_string())
            })
        };
        let both = [ask(&first), ask(&second)].map(thread::JoinHandle::join);
        let mut answered = Vec::new();
        for one in both {
            answered.push(one.map_err(|_panic| "a load generator failed")??);
        }
        Ok(answered)
    })?;
    let rounds = all.iter().flatten();
    let admitted = |answered: &wrk::Answered| answered.sent.requests - answered.refused;
    let sum = |both: &Vec<wrk::Answered>| both.iter().map(admitted).sum::<f64>();
    let time = |both: &Vec<wrk::Answered>| {
        let longest = both.iter().map(|answered| answered.sent.seconds);
        longest.fold(0.0, f64::max)
    };
    let share = |both| sum(both) / (f64::from(LOW_RATE) * time(both) + f64::from(LOW_BURST));
    let requests =
        |both: &Vec<wrk::Answered>| both.iter().map(|all| all.sent.requests).sum::<f64>();
    let per_second = median(rounds.clone().map(|both| requests(both) / time(both)));
    let all = median(rounds.clone().map(sum));
    let share = median(rounds.map(share));
    println!("| two processes of **Weir**, Redis | {per_second:.0} | {all:.0} | {share:.4} |");
    Ok(())
}

/// Time in which the bucket is full again.
fn fill_time() -> Duration {
    Duration::from_secs(1) * LOW_BURST / LOW_RATE + Duration::from_secs(1)
}

/// A server of Redis, beside the load.
fn redis() -> Result<Server, Box<dyn Error>> {
    let addr = free_addr()?;
    let mut command = tools::pinned(tools::LOAD_CORE, "redis-server");
    command.args(["--port", &addr.port().to_string(), "--save", ""]);
    Server::start(&mut command, addr)
}

/// What limits a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Limited {
    Not,
    Alone,
    Shared,
}

impl Limited {
    fn name(self) -> &'static str {
        match self {
            Self::Not => "off",
            Self::Alone => "on",
            Self::Shared => "on, shared by Redis",
        }
    }

    fn setup<'a>(self, backends: &'a Backends, redis: &Server) -> Setup<'a> {
        let (rate_limit, shared_by) = match self {
            Self::Not => (RateLimit::Off, None),
            Self::Alone => (RateLimit::High, None),
            Self::Shared => (RateLimit::High, Some(redis.addr)),
        };
        Setup {
            rate_limit,
            shared_by,
            ..Setup::for_load(LOAD, &backends.addrs)
        }
    }
}

const COST: &str = "cost of a limit, 90 B, 16 connections of one client";
const SHARED: &str = "accuracy of a limit of two processes, 90 B, 16 connections each";
const ACCURACY: &str = "accuracy of a limit, 90 B, 16 connections of one client";
const BODY: Body = Body::Small;
const CLIENTS: Clients = Clients::keeping(16);
const LOAD: Load = Load::Http1 {
    clients: CLIENTS,
    body: BODY,
};
/// Each server without the limit first.
const VARIANTS: [(Peer, Limited); 7] = [
    (Peer::Nginx, Limited::Not),
    (Peer::Nginx, Limited::Alone),
    (Peer::Haproxy, Limited::Not),
    (Peer::Haproxy, Limited::Alone),
    (Peer::Weir, Limited::Not),
    (Peer::Weir, Limited::Alone),
    (Peer::Weir, Limited::Shared),
];
