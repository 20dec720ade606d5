//! A balancer with an access log, and how its lines are read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{KeptClient, RecordingBackend, TestApp, eventually};

/// A balancer that logs to a file of its own.
pub struct Logged {
    pub app: TestApp,
    pub path: PathBuf,
    _directory: TempDir,
}

impl Logged {
    /// `routes` leads from paths to upstreams of one name each, with their backends' URLs.
    pub fn start(format: &str, routes: &[(&str, &[String])]) -> Self {
        Self::start_with(format, routes, "")
    }

    /// With further sections.
    pub fn start_with(format: &str, routes: &[(&str, &[String])], more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut sections = format!(
            "access_log: {{ format: {format}, file: \"{}\" }}\n",
            path.display()
        );
        let (mut rules, mut upstreams) = (String::new(), String::new());
        for (name, urls) in routes {
            rules += &format!("      - {{ path: /{name}, upstream: {name} }}\n");
            upstreams += &format!("  {name}: {{ backends: [\"{}\"] }}\n", urls.join("\", \""));
        }
        // One worker, so that there is one set of kept connections.
        sections += &format!(
            "{more}workers: 1\nhttp:\n  - listen: 127.0.0.1:0\n    body_limit: 100KiB\n    routes:\n{rules}upstreams:\n{upstreams}"
        );
        Self {
            app: TestApp::start("", &sections),
            path,
            _directory: directory,
        }
    }

    pub async fn client(&self) -> KeptClient {
        KeptClient::connect(self.app.http.unwrap()).await
    }

    pub fn lines(&self) -> Vec<String> {
        lines(&self.path)
    }

    pub async fn until_lines(&self, count: usize) {
        eventually("the lines", async || self.lines().len() >= count).await;
    }

    /// Stops, and returns all lines with the metrics as they were before.
    pub async fn stop(self) -> (Vec<String>, String) {
        self.app.until_metric("weir_calls_in_flight", 0).await;
        let metrics = self.app.metrics().await;
        self.app.stop().await;
        self.app.stopped().await;
        (lines(&self.path), metrics)
    }
}

pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub fn json(lines: &[String]) -> Vec<Value> {
    let read = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    read.collect()
}

/// The one line of a target.
#[track_caller]
pub fn of<'a>(lines: &'a [Value], target: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["target"] == target);
    match (found.next(), found.next()) {
        (Some(line), None) => line,
        _ => panic!("not one line of {target} in {lines:#?}"),
    }
}

/// The fields of a combined line: quoted, bracketed or bare.
pub fn fields(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let end = match rest.as_bytes()[0] {
            b'"' => rest[1..].find('"').map(|end| end + 2),
            b'[' => rest.find(']').map(|end| end + 1),
            _ => rest.find(' '),
        };
        let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
        fields.push(field.trim_matches('"'));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    fields
}

/// What a line tells of the outcome.
#[track_caller]
pub fn outcome(lines: &[Value], target: &str) -> (u64, u64, String) {
    let line = of(lines, target);
    let cause = line["cause"].as_str().unwrap().to_owned();
    let number = |key: &str| line[key].as_u64().unwrap();
    (number("status"), number("attempts"), cause)
}

/// Switches where it is asked to, and then says everything back.
pub async fn echo() -> RecordingBackend {
    RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        while let Some(bytes) = wire.bytes().await {
            wire.send(bytes).await;
        }
    })
    .await
}

pub const UPGRADE: &str =
    "GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
