//! The real application inside the test process, on ports that the system chooses.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc as std_mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};
use weir::{
    app::{App, RunError},
    config::{Config, Environment, Flags},
    control::{Command, DrainReport, Loader},
};

/// A running application; stopped when it is dropped.
pub struct TestApp {
    pub redirect: SocketAddr,
    /// The HTTP load balancer's first listener, if there is one.
    pub http: Option<SocketAddr>,
    /// Its second, if there is one.
    pub second_http: Option<SocketAddr>,
    /// The TCP load balancer's listener, if there is one.
    pub tcp: Option<SocketAddr>,
    pub admin: SocketAddr,
    config_file: PathBuf,
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<Result<DrainReport, RunError>>>,
    _directory: TempDir,
}

impl TestApp {
    /// Starts with two workers, a short drain, and what `yaml` adds: whole sections, or keys of
    /// `redirect` as indented lines.
    pub fn start(redirect_keys: &str, sections: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config_file = directory.path().join("weir.yaml");
        fs::write(&config_file, yaml(redirect_keys, &unchecked(sections))).unwrap();
        Self::start_from(directory, config_file, None, || ())
    }

    /// Starts with a file that the caller wrote, and reloads when it changes. `meanwhile` runs
    /// between the reading of the file and the start.
    pub fn watching(directory: TempDir, config_file: PathBuf, meanwhile: impl FnOnce()) -> Self {
        let watched = Some(config_file.clone());
        Self::start_from(directory, config_file, watched, meanwhile)
    }

    fn start_from(
        directory: TempDir,
        config_file: PathBuf,
        watched: Option<PathBuf>,
        meanwhile: impl FnOnce(),
    ) -> Self {
        let flags = Flags {
            config: Some(config_file.clone()),
            ..Flags::default()
        };
        let load = move || Config::check(&flags, &Environment::default());
        let app = App::build(load().unwrap_or_else(|errors| panic!("{errors}"))).unwrap();
        let (redirect, admin) = (app.redirect_addr().unwrap(), app.admin_addr().unwrap());
        let (http, second_http) = (app.http_addr(0), app.http_addr(1));
        let tcp = app.tcp_addr(0);
        meanwhile();
        let (commands, receiver) = mpsc::channel(8);
        let loader = Loader {
            load: Arc::new(load),
            file: watched,
        };
        let thread = thread::spawn(move || app.run(receiver, loader));
        Self {
            redirect,
            http,
            second_http,
            tcp,
            admin,
            config_file,
            commands,
            thread: Some(thread),
            _directory: directory,
        }
    }

    pub fn plain() -> Self {
        Self::start("", "")
    }

    /// Replaces the configuration file.
    pub fn rewrite(&self, redirect_keys: &str, sections: &str) {
        fs::write(&self.config_file, yaml(redirect_keys, &unchecked(sections))).unwrap();
    }

    pub async fn reload(&self) {
        self.commands.send(Command::Reload).await.unwrap();
    }

    /// Begins a stop.
    pub async fn stop(&self) {
        self.commands.send(Command::Stop).await.unwrap();
    }

    /// Waits for the end of a stop.
    pub async fn stopped(mut self) -> DrainReport {
        let thread = self.thread.take().unwrap();
        let (sender, receiver) = std_mpsc::channel();
        thread::spawn(move || sender.send(thread.join().unwrap()));
        let report = tokio::task::spawn_blocking(move || receiver.recv_timeout(PATIENCE)).await;
        report.unwrap().expect("the stop takes too long").unwrap()
    }

    pub async fn metrics(&self) -> String {
        let (head, body) = http1(
            self.admin,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body
    }

    /// The value of a metric, named with its labels as the page writes it.
    pub async fn metric(&self, name: &str) -> u64 {
        metric(&self.metrics().await, name)
    }

    /// The open connections of all workers.
    pub async fn open_connections(&self) -> u64 {
        let page = self.metrics().await;
        let workers = page
            .lines()
            .filter_map(|line| line.strip_prefix("weir_connections_open{")?.split_once(' '));
        workers
            .map(|(_worker, open)| open.parse::<u64>().unwrap())
            .sum()
    }

    /// The status that `/readyz` answers.
    pub async fn readiness(&self) -> u16 {
        let (head, _) = http1(
            self.admin,
            "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub async fn until_metric(&self, name: &str, expected: u64) {
        eventually(&format!("{name} is {expected}"), async || {
            self.metric(name).await == expected
        })
        .await;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // Twice: the second ends the drain at once.
        let _already_stopped = self.commands.try_send(Command::Stop);
        let _already_stopped = self.commands.try_send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Sections whose upstreams have no checks but those that a test names: most tests count the
/// connections to their backends.
fn unchecked(sections: &str) -> String {
    let mut lines: Vec<String> = sections.lines().map(str::to_owned).collect();
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut at = 0;
    while at < lines.len() {
        let line = &lines[at];
        let depth = indentation(line);
        if line.starts_with("    backends:") {
            let is_inside = |line: &&String| indentation(line) >= depth;
            let before = lines[..at].iter().rev().take_while(is_inside);
            let after = lines[at..].iter().take_while(is_inside);
            if !before
                .chain(after)
                .any(|line| line.contains("health_check"))
            {
                lines.insert(at, "    health_check: off".to_owned());
                at += 1;
            }
        } else if line.contains("{ backends:") && !line.contains("health_check") {
            lines[at] = line.replace("{ backends:", "{ health_check: off, backends:");
        }
        at += 1;
    }
    lines.join("\n") + "\n"
}

/// The configuration that [`TestApp::start`] writes.
pub fn yaml(redirect_keys: &str, sections: &str) -> String {
    let cdn = if redirect_keys.contains("cdn_host:") {
        ""
    } else {
        "  cdn_host: cdn.example.com\n"
    };
    let workers = if sections.contains("workers:") {
        ""
    } else {
        "workers: 2\n"
    };
    let drain = if sections.contains("drain:") {
        ""
    } else {
        "drain: { lame_duck: 0s, quiet: 50ms, timeout: 10s }\n"
    };
    let admin = match sections.contains("admin:") {
        true => "",
        false => "admin: { listen: 127.0.0.1:0 }\n",
    };
    format!(
        "redirect:\n  listen: 127.0.0.1:0\n{cdn}{redirect_keys}\n{admin}{workers}{drain}{sections}\n"
    )
}

/// The value of a metric on a metrics page.
pub fn metric(page: &str, name: &str) -> u64 {
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no metric {name} in\n{page}"));
    value.parse().unwrap()
}

/// What an error's body says, without the id of the request.
pub fn error_message(body: &str) -> &str {
    body.split_once("\nrequest ID: ")
        .map_or(body, |(message, _)| message)
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Sends raw bytes and reads until the server closes or resets. Returns the head and the body.
pub async fn http1(addr: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too: what is not whole must show in what was received.
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap_or_else(|_| panic!("no end of the answer to {request:.200}"));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// Far above what any test needs, so that only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(30);
