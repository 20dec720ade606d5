//! One measured run of h2load against one server.

use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
};

use prost::Message as _;
use weir::proto;

use crate::peer::Server;

/// How the load is spread.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub connections: u32,
    pub streams: u32,
}

pub const ROWS: [Row; 3] = [
    Row {
        connections: 1,
        streams: 50,
    },
    Row {
        connections: 10,
        streams: 100,
    },
    Row {
        connections: 50,
        streams: 10,
    },
];

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub calls_per_second: f64,
    pub cpu_micros_per_call: f64,
}

pub fn run(server: &Server, row: Row, seconds: u32) -> Result<Figure, Box<dyn Error>> {
    let message = env!("CARGO_TARGET_TMPDIR").to_owned() + "/redirect-call.bin";
    fs::write(&message, call())?;
    let url = format!("http://{}{}", server.addr, proto::REDIRECT_PATH);
    // A short run first: the server's tables and the CPU's caches warm up.
    h2load(row, 1, &message, &url)?;
    let before = server.cpu_nanos()?;
    let calls = h2load(row, seconds, &message, &url)?;
    let cpu_nanos = server.cpu_nanos()? - before;
    Ok(Figure {
        calls_per_second: calls / f64::from(seconds),
        cpu_micros_per_call: cpu_nanos as f64 / 1000.0 / calls,
    })
}

/// Returns the number of calls, all of which must have succeeded.
fn h2load(row: Row, seconds: u32, message: &str, url: &str) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("taskset")
        .args(["--cpu-list", "1", "h2load", "--threads=1"])
        .arg(format!("--clients={}", row.connections))
        .arg(format!("--max-concurrent-streams={}", row.streams))
        .arg(format!("--duration={seconds}"))
        .arg(format!("--data={message}"))
        .args([
            "--header=content-type: application/grpc",
            "--header=te: trailers",
            url,
        ])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run h2load (Debian: nghttp2-client): {error}"))?;
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
    if count(" failed")? > 0.0 || count(" errored")? > 0.0 {
        return Err(format!("calls failed: {requests}").into());
    }
    count(" succeeded")
}

fn call() -> Vec<u8> {
    let video = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8".to_owned();
    let message = proto::Request { video }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}
