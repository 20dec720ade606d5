//! One run of wrk, whose every request must succeed.

use std::{error::Error, process::Stdio};

use serde_json::Value;

use crate::{http::load::Sent, tools};

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    pub connections: u32,
    pub keep_alive: KeepAlive,
    pub paths: Paths,
}

impl Clients {
    /// Clients that keep their connections and ask for the same again and again.
    pub const fn keeping(connections: u32) -> Self {
        Self {
            connections,
            keep_alive: KeepAlive::Yes,
            paths: Paths::One,
        }
    }
}

/// Whether a connection serves more than one request.
#[derive(Clone, Copy, Debug)]
pub enum KeepAlive {
    Yes,
    /// The client says `Connection: close`.
    No,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Paths {
    One,
    /// This number of services, in turn.
    Services(u32),
}

/// # Errors
///
/// If one request failed.
pub fn run(clients: Clients, seconds: u32, url: &str) -> Result<Sent, Box<dyn Error>> {
    let answered = count(clients, seconds, url)?;
    match answered.refused > 0.0 {
        true => Err(format!("{} requests were refused", answered.refused).into()),
        false => Ok(answered.sent),
    }
}

/// What came back, refusals included.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub sent: Sent,
    /// Answers with a status of 400 or more.
    pub refused: f64,
}

/// # Errors
///
/// If one request got no answer.
pub fn count(clients: Clients, seconds: u32, url: &str) -> Result<Answered, Box<dyn Error>> {
    let mut command = tools::pinned(tools::LOAD_CORE, "wrk");
    command.args(["--threads", "1", "--timeout", "10s", "--script", SCRIPT]);
    command.args(["--connections", &clients.connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    match clients.keep_alive {
        KeepAlive::Yes => {}
        KeepAlive::No => {
            command.args(["--header", "Connection: close"]);
        }
    }
    command.arg(url);
    match clients.paths {
        Paths::One => {}
        Paths::Services(count) => {
            command.arg(count.to_string());
        }
    }
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    parse(&String::from_utf8(output.stdout)?)
}

fn parse(report: &str) -> Result<Answered, Box<dyn Error>> {
    let summary = report
        .lines()
        .find(|line| line.starts_with('{'))
        .ok_or("wrk printed no summary")?;
    let summary: Value = serde_json::from_str(summary)?;
    let sum = |name: &str| summary[name].as_f64().ok_or("wrk's summary changed");
    if sum("failed")? > 0.0 {
        return Err(format!("requests failed:\n{report}").into());
    }
    let sent = Sent {
        requests: sum("requests")?,
        bytes: sum("bytes")?,
        seconds: sum("micros")? / 1e6,
    };
    let refused = sum("refused")?;
    Ok(Answered { sent, refused })
}

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/side_by_side/http/wrk.lua"
);
