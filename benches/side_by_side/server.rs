//! A server under test or a backend: a process of its own, with its children.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    pub addr: SocketAddr,
}

impl Server {
    /// Starts what was told to listen there, and waits until it accepts connections.
    pub fn start(command: &mut Command, addr: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let process = Process(command.spawn()?);
        Self::accepting(process, addr)
    }

    /// Starts what chooses its port and says so on its first line, which `read` understands.
    pub fn start_announced(
        command: &mut Command,
        read: impl FnOnce(&str) -> Result<SocketAddr, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut process = Process(command.stdout(Stdio::piped()).spawn()?);
        let stdout = process.0.stdout.as_mut().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = read(&line)?;
        Self::accepting(process, addr)
    }

    fn accepting(mut process: Process, addr: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let give_up_at = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = process.0.try_wait()? {
                return Err(format!("a server did not start: {status}").into());
            }
            if Instant::now() > give_up_at {
                return Err(format!("nothing accepts connections at {addr}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, addr })
    }

    /// CPU time of all its threads so far, in nanoseconds, from the scheduler's own accounts.
    pub fn cpu_nanos(&self) -> Result<u64, Box<dyn Error>> {
        let mut sum = 0;
        for process in self.process.family()? {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
                let on_cpu = schedstat
                    .split_whitespace()
                    .next()
                    .ok_or("empty schedstat")?;
                sum += on_cpu.parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Memory that it holds, in KiB. What its processes share counts for each of them.
    pub fn resident_kib(&self) -> Result<u64, Box<dyn Error>> {
        let mut sum = 0;
        for process in self.process.family()? {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let resident = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .ok_or("a process without memory")?;
            sum += resident.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok(sum)
    }
}

/// A process that we started.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// The process and all its descendants.
    fn family(&self) -> Result<Vec<u32>, Box<dyn Error>> {
        let mut family = vec![self.0.id()];
        let mut next = 0;
        while let Some(process) = family.get(next) {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let children = fs::read_to_string(task?.path().join("children"))?;
                for child in children.split_whitespace() {
                    family.push(child.parse()?);
                }
            }
            next += 1;
        }
        Ok(family)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = self.family().unwrap_or_default();
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
        // Nothing is left to start them anew, and a killed parent does not take them with it.
        for child in family.into_iter().skip(1) {
            if let Some(child) = Pid::from_raw(child.cast_signed()) {
                let _already_gone = kill_process(child, Signal::KILL);
            }
        }
    }
}

/// A port that was free a moment ago, for servers that cannot say which one they were given.
pub fn free_addr() -> Result<SocketAddr, Box<dyn Error>> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// As above, free on all of the machine's addresses.
pub fn free_port() -> Result<u16, Box<dyn Error>> {
    Ok(TcpListener::bind("0.0.0.0:0")?.local_addr()?.port())
}

const START_TIMEOUT: Duration = Duration::from_secs(10);
