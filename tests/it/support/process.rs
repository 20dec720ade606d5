//! The real binary as a process of its own.

use std::{
    io::{BufRead, BufReader},
    mem,
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

/// The command line of the built binary, with nothing inherited that is a setting.
pub fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    clean(&mut command);
    command
}

fn clean(command: &mut Command) {
    let is_setting = |name: &str| {
        name.starts_with("WEIR_")
            || [
                "CDN_HOST",
                "CONFIG_PATH",
                "DATABASE_URL",
                "REDIS_URL",
                "RUST_LOG",
            ]
            .contains(&name)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_setting) {
            command.env_remove(name);
        }
    }
}

/// A running process, whose log is read line by line. Killed when it is dropped.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// Whether its log is still read.
    reading: Arc<AtomicBool>,
    pub redirect: SocketAddr,
    /// The HTTP load balancer's first listener, if there is one.
    pub http: Option<SocketAddr>,
    /// The TCP load balancer's first listener, if there is one.
    pub tcp: Option<SocketAddr>,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts `weir serve` on ports that the system chooses, with more arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = weir();
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts it under a limit of open files.
    pub fn start_with_open_files(limit: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        clean(&mut command);
        command
            .arg("-c")
            .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_weir"))
            .args(arguments);
        Self::spawn(command)
    }

    /// Starts a prepared command, on ports that the system chooses.
    pub fn spawn(mut command: Command) -> Self {
        command.args([
            "--redirect-listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
        ]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let reading = Arc::new(AtomicBool::new(true));
        let reads_on = Arc::clone(&reading);
        thread::spawn(move || {
            let mut lines = stdout.lines();
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    return;
                }
                if !reads_on.load(Ordering::Relaxed) {
                    // Open, so that it is a full pipe and not a broken one.
                    mem::forget(lines);
                    return;
                }
            }
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self {
            child,
            lines,
            reading,
            redirect: any,
            http: None,
            tcp: None,
            admin: any,
        };
        let serving = process.until_logged("serving");
        process.redirect = serving["redirect"].as_str().unwrap().parse().unwrap();
        let http = serving["http"].as_str().unwrap_or_default();
        process.http = http.split(" ").next().and_then(|addr| addr.parse().ok());
        let tcp = serving["tcp"].as_str().unwrap_or_default();
        process.tcp = tcp.split(" ").next().and_then(|addr| addr.parse().ok());
        process.admin = serving["admin"].as_str().unwrap().parse().unwrap();
        process
    }

    /// Reads nothing more of what it prints: the pipe fills up.
    pub fn stop_reading(&self) {
        self.reading.store(false, Ordering::Relaxed);
    }

    /// Waits for its end; `None` if it takes longer.
    pub fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Waits for an event whose message begins so.
    pub fn until_logged(&self, message: &str) -> Value {
        self.until_logged_any(&[message])
    }

    /// Waits for an event whose message begins like one of these.
    pub fn until_logged_any(&self, messages: &[&str]) -> Value {
        loop {
            let event = self.next_event();
            let event = event.unwrap_or_else(|| panic!("never logged: {messages:?}"));
            let told = event["message"].as_str().unwrap_or_default();
            if messages.iter().any(|message| told.starts_with(message)) {
                return event;
            }
        }
    }

    fn next_event(&self) -> Option<Value> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).ok()?;
            // The demo prints text between the events.
            if let Ok(event) = serde_json::from_str(&line) {
                return Some(event);
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Lowers its limit of open files while it runs.
    pub fn limit_open_files(&self, limit: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(limit),
            maximum,
        };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// Lets it open no file besides those that it has.
    pub fn take_files_away(&self) {
        let taken = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        let taken: Vec<u64> = taken
            .map(|entry| name(entry.unwrap()).parse().unwrap())
            .collect();
        let lowest_free = (0..).find(|file| !taken.contains(file)).unwrap();
        self.limit_open_files(lowest_free);
    }

    /// Files that it has open.
    pub fn open_files(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.unwrap().count()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Waits for its end, and returns the last event that it logged.
    pub fn ended(mut self) -> (ExitStatus, Value) {
        let mut last = Value::Null;
        while let Some(event) = self.next_event() {
            last = event;
        }
        (self.child.wait().unwrap(), last)
    }

    /// The memory that it holds now, and the most that it ever held.
    pub fn memory_bytes(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.unwrap().split_whitespace().next().unwrap();
            number.parse().unwrap()
        };
        (kib("VmRSS:") << 10, kib("VmHWM:") << 10)
    }

    /// CPU time of all its threads so far.
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = tasks.map(|task| {
            let schedstat =
                std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            schedstat
                .split_whitespace()
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        Duration::from_nanos(nanos.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
