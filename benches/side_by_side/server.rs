//! A server under test: a process of its own.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    pub addr: SocketAddr,
}

impl Server {
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
        for task in fs::read_dir(format!("/proc/{}/task", self.process.0.id()))? {
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

/// A process that we started.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

const START_TIMEOUT: Duration = Duration::from_secs(10);
