//! The servers that are compared, as processes of their own.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// What is compared. The first is what the others are held against.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// The least that a server on this stack can do: the `h2` crate by hand, no metrics, no
    /// limits, no timeouts.
    Floor,
    /// Weir with all its defaults.
    Weir,
    /// `tonic::transport::Server` as its documentation has it.
    StockTonic,
}

impl Peer {
    pub const ALL: [Self; 3] = [Self::Floor, Self::Weir, Self::StockTonic];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "raw `h2` (floor)",
            Self::Weir => "**Weir**",
            Self::StockTonic => "tonic `Server`",
        }
    }

    /// Starts it, pinned to core 0, and waits until it accepts connections.
    pub fn start(self) -> Result<Server, Box<dyn Error>> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0"]).stdout(Stdio::piped());
        match self {
            Self::Floor => command.arg(env::current_exe()?).arg("serve-floor"),
            Self::StockTonic => command.arg(env::current_exe()?).arg("serve-stock-tonic"),
            Self::Weir => command.arg(env!("CARGO_BIN_EXE_weir")).args(weir_flags()?),
        };
        let mut child = command.spawn()?;
        let addr = match self {
            Self::Weir => weir_addr(&mut child)?,
            Self::Floor | Self::StockTonic => first_line(&mut child)?.trim().parse()?,
        };
        while TcpStream::connect(addr).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Server { child, addr })
    }
}

fn weir_flags() -> Result<[String; 3], Box<dyn Error>> {
    // Let the system choose a free port, then use it: the admin address is not printed for us.
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok([
        "--cdn-host=cdn.example.com".to_owned(),
        "--redirect-listen=127.0.0.1:0".to_owned(),
        format!("--admin-listen={admin}"),
    ])
}

fn weir_addr(child: &mut Child) -> Result<SocketAddr, Box<dyn Error>> {
    let line = first_line(child)?;
    let event: serde_json::Value = serde_json::from_str(&line)?;
    let addr = event["redirect"]
        .as_str()
        .ok_or("the first log line names no redirect address")?;
    Ok(addr.parse()?)
}

fn first_line(child: &mut Child) -> Result<String, Box<dyn Error>> {
    let stdout = child.stdout.as_mut().ok_or("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line)
}

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
}

impl Server {
    /// CPU time of all its threads so far, in nanoseconds, from the scheduler's own accounts.
    pub fn cpu_nanos(&self) -> Result<u64, Box<dyn Error>> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat
                .split_whitespace()
                .next()
                .ok_or("empty schedstat")?;
            sum += on_cpu.parse::<u64>()?;
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}
