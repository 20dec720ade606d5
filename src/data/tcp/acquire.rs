//! The stage that gets a backend and a connection to it: picks, waits in the queue where all backends
//! are full, and goes on to the next backend where one cannot be reached.

use std::{future::pending, net::IpAddr};

use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    data::{
        fault::{Blame, Fault},
        tcp::{log::Attempt, proxy_header, session::Session},
        upstream::{failed, no_file_left, pick, unreached, wait_in_queue},
    },
    net::{self, Transport},
    state::{BackendFile, Cause, InFlight, Upstream},
};

/// A backend that counts the session, and a connection to it.
#[derive(Debug)]
pub(super) struct Acquired {
    pub(super) in_flight: InFlight,
    pub(super) stream: TcpStream,
    /// How often the backend was marked down before.
    pub(super) marked_down: u64,
    pub(super) _file: BackendFile,
}

impl Session {
    /// Connects to a backend. Logs an event where none takes the session.
    ///
    /// # Errors
    ///
    /// The cause of the last failure.
    pub(super) async fn acquire(
        &mut self,
        client: &Transport,
        is_silent: bool,
    ) -> Result<Acquired, Cause> {
        self.upstream
            .get()
            .retry_budget
            .deposit(self.upstream.get().settings.retry_percent);
        let mut tried = Vec::new();
        let mut latest = None;
        loop {
            let picked = match self.pick(&tried) {
                Ok(Some(in_flight)) => Ok(in_flight),
                Ok(None) => tokio::select! {
                    biased;
                    waited = self.wait(&tried) => waited,
                    () = gone(client), if is_silent => return Err(Cause::ClientClosed),
                },
                Err(fault) => Err(fault),
            };
            let in_flight = match picked {
                Ok(in_flight) => in_flight,
                // The failure says more than that no other backend is left.
                Err(fault) => return Err(self.give_up(latest.unwrap_or(fault))),
            };
            let fault = match self.connect(in_flight).await {
                Ok(acquired) => return Ok(acquired),
                Err((backend, fault)) => {
                    tried.push(backend);
                    fault
                }
            };
            let may_retry = fault.row().blame == Blame::Backend && tried.len() < ATTEMPTS_MAX;
            let budget = &self.upstream.get().retry_budget;
            if !may_retry || !budget.withdraw(Instant::now().into_std()) {
                return Err(self.give_up(fault));
            }
            self.tcp.stats().session_retries(fault.cause()).increment();
            latest = Some(fault);
        }
    }

    fn pick(&self, tried: &[usize]) -> Result<Option<InFlight>, Fault> {
        pick(self.upstream.get(), &self.key(), tried)
    }

    /// Waits for a place at a backend.
    async fn wait(&self, tried: &[usize]) -> Result<InFlight, Fault> {
        let upstream = self.upstream.get();
        let (key, time_max) = (self.key(), upstream.settings.queue.timeout);
        let waiting = wait_in_queue(&self.tcp.context, &self.upstream, &key, tried);
        let waited = timeout(time_max, waiting).await;
        waited.unwrap_or_else(|_elapsed| {
            Err(Fault::QueueTimeout {
                upstream: upstream.name().to_owned(),
                timeout: time_max,
            })
        })
    }

    /// What consistent hashing hashes.
    fn key(&self) -> Vec<u8> {
        match (self.upstream.get().hashes(), self.addresses.client.ip()) {
            (false, _) => Vec::new(),
            (true, IpAddr::V4(ip)) => ip.octets().to_vec(),
            (true, IpAddr::V6(ip)) => ip.octets().to_vec(),
        }
    }

    async fn connect(&mut self, in_flight: InFlight) -> Result<Acquired, (usize, Fault)> {
        let backend = std::sync::Arc::clone(in_flight.backend());
        self.attempts.push(Attempt::at(&backend));
        let marked_down = backend.stats.times_marked_down();
        let began = Instant::now();
        let time_max = self.upstream.get().settings.connect_timeout;
        let connected = timeout(time_max, self.open(&backend)).await;
        let connected = connected.unwrap_or_else(|_elapsed| {
            Err(Fault::ConnectTimeout {
                upstream: self.upstream.get().name().to_owned(),
                timeout: time_max,
            })
        });
        match connected {
            Ok((stream, file)) => {
                backend.stats.responded();
                let now = Instant::now();
                backend.stats.latency.record(now - began);
                self.connected_at = Some(now);
                Ok(Acquired {
                    in_flight,
                    stream,
                    marked_down,
                    _file: file,
                })
            }
            Err(fault) => {
                let cause = fault.cause();
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.failed = Some(cause);
                }
                if fault.row().blame == Blame::Backend {
                    failed(&self.tcp.context, self.upstream.get(), &backend, cause);
                }
                Err((backend.id, fault))
            }
        }
    }

    /// Connects, and says who the client is where the backend wants to know.
    async fn open(
        &self,
        backend: &crate::state::Backend,
    ) -> Result<(TcpStream, BackendFile), Fault> {
        let upstream: &Upstream = self.upstream.get();
        let file = self.tcp.pool.file().ok_or_else(no_file_left)?;
        let connecting = net::connect(backend.addr, upstream.settings.idle_timeout);
        let connected = connecting.await;
        let mut stream = connected.map_err(|error| unreached(upstream, error))?;
        if let Some(version) = upstream.settings.send_proxy_protocol {
            let header = proxy_header::write(version, self.addresses);
            let written = stream.write_all(&header).await;
            let error = |source| unreached(upstream, net::DialError::Connect(source));
            written.map_err(error)?;
        }
        Ok((stream, file))
    }

    fn give_up(&self, fault: Fault) -> Cause {
        self.log_failure(&fault);
        fault.cause()
    }
}

/// Waits until a client that has sent nothing closes its connection. One that has ended its own side
/// alone, to be answered all the same, looks the same; so this counts in the queue only.
async fn gone(client: &Transport) {
    let mut byte = [0];
    match client.tcp() {
        Some(stream) if !matches!(stream.peek(&mut byte).await, Ok(1..)) => {}
        Some(_) | None => pending().await,
    }
}

/// A client waits for all of them.
const ATTEMPTS_MAX: usize = 4;
