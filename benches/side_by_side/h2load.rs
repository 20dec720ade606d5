//! One run of h2load, whose every request must succeed.

use std::{error::Error, fmt, process::Stdio};

use crate::tools;

/// How the load is spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub connections: u32,
    pub streams: u32,
}

impl Spread {
    pub const fn new(connections: u32, streams: u32) -> Self {
        Self {
            connections,
            streams,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.connections, self.streams)
    }
}

/// Returns the number of requests.
///
/// # Errors
///
/// If one of them failed.
pub fn run(
    spread: Spread,
    seconds: u32,
    url: &str,
    options: &[&str],
) -> Result<f64, Box<dyn Error>> {
    let output = tools::pinned(tools::LOAD_CORE, "h2load")
        .arg("--threads=1")
        .arg(format!("--clients={}", spread.connections))
        .arg(format!("--max-concurrent-streams={}", spread.streams))
        .arg(format!("--duration={seconds}"))
        .args(options)
        .arg(url)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    let report = String::from_utf8(output.stdout)?;
    let requests = report
        .lines()
        .find(|line| line.starts_with("requests:"))
        .ok_or("h2load printed no summary")?;
    let count = |name: &str| -> Result<f64, Box<dyn Error>> {
        let part = requests
            .split([',', ':'])
            .find(|part| part.ends_with(name))
            .ok_or("h2load's summary changed")?;
        Ok(part.trim().trim_end_matches(name).trim().parse()?)
    };
    if count(" failed")? > 0.0 || count(" errored")? > 0.0 || count(" succeeded")? == 0.0 {
        return Err(format!("calls failed: {requests}").into());
    }
    let succeeded = count(" succeeded")?;
    // A connection that is closed early counts no failure. The others then make fewer requests
    // than their speed says.
    let speed = report
        .lines()
        .find_map(|line| line.strip_prefix("req/s "))
        .and_then(|speeds| speeds.split_whitespace().nth(3))
        .ok_or("h2load printed no speed")?
        .parse::<f64>()?;
    let expected = speed * f64::from(spread.connections) * f64::from(seconds);
    if succeeded < 0.9 * expected {
        return Err(format!("connections were closed early: {requests}").into());
    }
    Ok(succeeded)
}
