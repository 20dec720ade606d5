//! Speed and memory of a server in the middle of a load, when all connections are open. Opening
//! thousands of them costs as much CPU time as many requests, so the start is left out.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use crate::{
    http::{
        backends::Backends,
        load::{self, Load},
    },
    rounds::{Figure, median},
    server::Server,
};

/// What one measurement showed.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    pub speed: Figure,
    pub resident_kib: f64,
}

/// Runs the load, and measures the server for `seconds` in the middle of it.
pub fn measure(
    server: &Server,
    backends: &Backends,
    load: Load,
    seconds: u32,
) -> Result<Steady, Box<dyn Error>> {
    thread::scope(|scope| {
        let load_seconds = RAMP_SECONDS + seconds + TAIL_SECONDS;
        let run = scope.spawn(move || {
            let sent = load::send(server, load, load_seconds);
            sent.map_err(|error| error.to_string())
        });
        thread::sleep(Duration::from_secs(RAMP_SECONDS.into()));
        let steady = observe(server, backends, Duration::from_secs(seconds.into()));
        run.join()
            .map_err(|_panic| "the load's thread panicked")??;
        steady
    })
}

fn observe(server: &Server, backends: &Backends, time: Duration) -> Result<Steady, Box<dyn Error>> {
    let began = Instant::now();
    let (cpu_before, requests_before) = (server.cpu_nanos()?, backends.requests()?);
    let mut resident_kib = Vec::new();
    while began.elapsed() < time {
        resident_kib.push(server.resident_kib()? as f64);
        thread::sleep(SAMPLE_INTERVAL);
    }
    let cpu_nanos = (server.cpu_nanos()? - cpu_before) as f64;
    let requests = (backends.requests()? - requests_before) as f64;
    Ok(Steady {
        speed: Figure {
            per_second: requests / began.elapsed().as_secs_f64(),
            cpu: cpu_nanos / 1e3 / requests,
        },
        resident_kib: median(resident_kib.into_iter()),
    })
}

/// Time to open all connections and to make some requests on each.
const RAMP_SECONDS: u32 = 3;
/// Keeps the load running until the measurement has ended.
const TAIL_SECONDS: u32 = 1;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
