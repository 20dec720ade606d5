//! One measured run of wrk or h2load against one server.

use std::{error::Error, process::Stdio};

use serde_json::Value;

use crate::{
    h2load::{self, Spread},
    http::{backends::Body, peers::Protocol},
    rounds::Figure,
    server::Server,
    tools,
};

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// wrk: each connection asks for the body again and again.
    Http1 {
        connections: u32,
        body: Body,
        keep_alive: KeepAlive,
    },
    /// h2load: each stream asks for the small body again and again.
    Http2(Spread),
}

/// Whether a connection serves more than one request.
#[derive(Clone, Copy, Debug)]
pub enum KeepAlive {
    Yes,
    /// The client says `Connection: close`.
    No,
}

/// What CPU time is held against.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    MicrosPerRequest,
    MillisPerGigabyte,
}

impl Load {
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Http1 { .. } => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    pub fn unit(self) -> Unit {
        match self.body() {
            Body::Small => Unit::MicrosPerRequest,
            Body::Page | Body::Video => Unit::MillisPerGigabyte,
        }
    }

    fn body(self) -> Body {
        match self {
            Self::Http1 { body, .. } => body,
            Self::Http2(_) => Body::Small,
        }
    }
}

pub fn run(server: &Server, load: Load, seconds: u32) -> Result<Figure, Box<dyn Error>> {
    // A short run first: the server's tables, its connections to the backends and the CPU's caches
    // warm up.
    send(server, load, 1)?;
    let before = server.cpu_nanos()?;
    let sent = send(server, load, seconds)?;
    let cpu_nanos = (server.cpu_nanos()? - before) as f64;
    let cpu = match load.unit() {
        Unit::MicrosPerRequest => cpu_nanos / 1e3 / sent.requests,
        Unit::MillisPerGigabyte => cpu_nanos / 1e6 / (sent.bytes / 1e9),
    };
    Ok(Figure {
        per_second: sent.requests / sent.seconds,
        cpu,
    })
}

/// What a load generator counted.
struct Sent {
    requests: f64,
    /// All that came back, with the part of responses that the end of the run cut off.
    bytes: f64,
    seconds: f64,
}

fn send(server: &Server, load: Load, seconds: u32) -> Result<Sent, Box<dyn Error>> {
    let url = format!("http://{}/{}", server.addr, load.body().name());
    match load {
        Load::Http2(spread) => {
            let requests = h2load::run(spread, seconds, &url, &[])?;
            Ok(Sent {
                requests,
                bytes: requests * load.body().bytes() as f64,
                seconds: f64::from(seconds),
            })
        }
        Load::Http1 {
            connections,
            body,
            keep_alive,
        } => {
            let sent = wrk(connections, keep_alive, seconds, &url)?;
            let least = sent.requests * body.bytes() as f64;
            if sent.requests == 0.0 || sent.bytes < least {
                let (requests, bytes) = (sent.requests, sent.bytes);
                return Err(format!("{requests} responses of {bytes} bytes in all").into());
            }
            Ok(sent)
        }
    }
}

/// # Errors
///
/// If one request failed.
fn wrk(
    connections: u32,
    keep_alive: KeepAlive,
    seconds: u32,
    url: &str,
) -> Result<Sent, Box<dyn Error>> {
    let mut command = tools::pinned(tools::LOAD_CORE, "wrk");
    command.args(["--threads", "1", "--timeout", "10s", "--script", SUMMARY]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    match keep_alive {
        KeepAlive::Yes => {}
        KeepAlive::No => {
            command.args(["--header", "Connection: close"]);
        }
    }
    let output = command
        .arg(url)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    let report = String::from_utf8(output.stdout)?;
    let summary = report
        .lines()
        .find(|line| line.starts_with('{'))
        .ok_or("wrk printed no summary")?;
    let summary: Value = serde_json::from_str(summary)?;
    let sum = |name: &str| summary[name].as_f64().ok_or("wrk's summary changed");
    if sum("failed")? > 0.0 {
        return Err(format!("requests failed:\n{report}").into());
    }
    Ok(Sent {
        requests: sum("requests")?,
        bytes: sum("bytes")?,
        seconds: sum("micros")? / 1e6,
    })
}

const SUMMARY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/side_by_side/http/summary.lua"
);
