//! What a request and the memory cost with 1,000 routes or backends, beside three of them.

use std::{error::Error, thread, time::Duration};

use crate::{
    http::{
        backends::{Backends, Body},
        load::{self, Load},
        peers::Peer,
        setup::{HealthChecks, Routes, Setup},
        wrk::{Clients, Paths},
    },
    rounds::{self, Pace, median},
    selection::RowFilter,
};

/// What there are many of.
#[derive(Clone, Copy, Debug)]
enum Many {
    /// Prefixes of paths, asked for in turn: nginx's locations, HAProxy's ACLs (which it tries one
    /// after the other, unlike its maps), Weir's routes. All lead to the same backends.
    Routes,
    /// Addresses of one upstream, in turn.
    Backends,
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_micros: f64,
    /// After the first probes, before the first request.
    at_rest_kib: f64,
    after_load_kib: f64,
}

pub fn row_names() -> Vec<String> {
    let names = Many::ALL.into_iter().map(Many::row_name);
    names.map(str::to_owned).collect()
}

pub fn run(pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
    let Pace { rounds, seconds } = pace;
    println!(
        "{MANY} routes or backends, {CONNECTIONS} connections, bodies of 90 B, {rounds} rounds of {seconds} s, medians;"
    );
    println!("Weir probes its backends by TCP every 5 minutes, the others never\n");
    println!(
        "| load | server | µs/request with {FEW} | with {MANY} | ratio | KiB each at rest | after the load |"
    );
    println!("|---|---|---|---|---|---|---|");
    let backends = Backends::start_many(MANY)?;
    let is_chosen = |many: &Many| filter.includes(many.row_name());
    for many in Many::ALL.into_iter().filter(is_chosen) {
        run_row(many, &backends, pace)?;
    }
    Ok(())
}

impl Many {
    const ALL: [Self; 2] = [Self::Routes, Self::Backends];

    fn row_name(self) -> &'static str {
        match self {
            Self::Routes => "1000 routes",
            Self::Backends => "1000 backends",
        }
    }

    fn load(self, count: u16) -> Load {
        let paths = match self {
            Self::Routes => Paths::Services(count.into()),
            Self::Backends => Paths::One,
        };
        Load::Http1 {
            clients: Clients {
                paths,
                ..Clients::keeping(CONNECTIONS)
            },
            body: Body::Small,
        }
    }

    fn setup(self, count: u16, backends: &Backends) -> Setup<'_> {
        let (routes, backend_count) = match self {
            Self::Routes => (Routes::Services(count.into()), FEW),
            Self::Backends => (Routes::Everything, count),
        };
        let addrs = &backends.addrs[..backend_count.into()];
        Setup {
            routes,
            // A peer that keeps fewer would connect anew for most requests.
            kept_connections: 2 * u32::from(MANY),
            health_checks: HealthChecks::Rare,
            ..Setup::for_load(self.load(count), addrs)
        }
    }
}

fn run_row(many: Many, backends: &Backends, pace: Pace) -> Result<(), Box<dyn Error>> {
    let peers = Peer::RIVALS_AND_WEIR;
    let name = many.row_name();
    let all = rounds::in_turns(pace.rounds, &peers, |peer| {
        let cost = |count| {
            measure(peer, many, count, backends, pace.seconds)
                .map_err(|error| format!("{name}, {}: {error}", peer.name()))
        };
        Ok((cost(FEW)?, cost(MANY)?))
    })?;
    for (peer, pairs) in peers.into_iter().zip(&all) {
        let of = |value: fn(&(Cost, Cost)) -> f64| median(pairs.iter().map(value));
        let with_few = of(|(few, _)| few.cpu_micros);
        let with_many = of(|(_, many)| many.cpu_micros);
        let ratio = of(|(few, many)| many.cpu_micros / few.cpu_micros);
        let added = f64::from(MANY - FEW);
        let at_rest = of(|(few, many)| many.at_rest_kib - few.at_rest_kib) / added;
        let after_load = of(|(few, many)| many.after_load_kib - few.after_load_kib) / added;
        let peer = peer.name();
        println!(
            "| {name} | {peer} | {with_few:.1} | {with_many:.1} | {ratio:.2} | {at_rest:.2} | {after_load:.2} |"
        );
    }
    Ok(())
}

fn measure(
    peer: Peer,
    many: Many,
    count: u16,
    backends: &Backends,
    seconds: u32,
) -> Result<Cost, Box<dyn Error>> {
    let server = peer.start(&many.setup(count, backends))?;
    thread::sleep(SETTLE);
    let at_rest_kib = server.resident_kib()? as f64;
    let figure = load::run(&server, many.load(count), seconds)?;
    Ok(Cost {
        cpu_micros: figure.cpu,
        at_rest_kib,
        after_load_kib: server.resident_kib()? as f64,
    })
}

const FEW: u16 = 3;
const MANY: u16 = 1000;
const CONNECTIONS: u32 = 64;
/// Time for the first probes of all backends.
const SETTLE: Duration = Duration::from_secs(2);
