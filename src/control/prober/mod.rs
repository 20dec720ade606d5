//! Probes one backend, and tells what the probes say of its health.

use std::{net::SocketAddr, sync::Arc};

use proxy_header::ProxyHeader;
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};

use crate::{
    config::{HealthCheck, Probe, ProxyProtocol},
    health::{Health, HealthTracker},
    net::{Dialing, HttpVersion, Transport, dial},
    replication::Timeline,
    state::{Backend, Check, Upstream},
};

mod clusters;
mod failure;
mod grpc;
mod http;
mod mysql;
mod postgres;
mod redis;
mod text;

pub(super) use clusters::Clusters;
pub(super) use failure::ProbeFailure;

use postgres::PostgresProber;

/// Probes one backend for as long as it runs.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) upstream: Upstream,
    pub(super) backend: Arc<Backend>,
    pub(super) check: HealthCheck,
    /// What earlier probes found, if there were any.
    pub(super) known: Option<Health>,
    pub(super) verdicts: mpsc::Sender<Verdict>,
    /// Bounds the probes at a time, over all backends.
    pub(super) places: Arc<Semaphore>,
    /// Where the primaries of PostgreSQL are in their logs.
    pub(super) clusters: Clusters,
}

/// What is thought of a backend now: told after the first probe, and at each change.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The backend's id.
    pub(super) backend: usize,
    /// What is thought of it.
    pub(super) health: Health,
    /// What the latest probe failed by.
    pub(super) failure: Option<ProbeFailure>,
    /// Which history it writes, where the latest probe found a primary of PostgreSQL.
    pub(super) primary: Option<Timeline>,
}

/// What a probe that did not fail has found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// A server that is as it has to be.
    Server,
    /// A primary of PostgreSQL, and which history it writes.
    Primary(Timeline),
}

impl Prober {
    pub(super) async fn run(self) {
        let thresholds = self.check.thresholds;
        let mut tracker = match self.known {
            Some(health) => HealthTracker::resume(thresholds, health),
            None => HealthTracker::new(thresholds),
        };
        let mut postgres = PostgresProber::new(self.clusters.clone());
        let mut told: Option<Option<Timeline>> = None;
        loop {
            // Boxed, as a prober sleeps most of its life and a probe's state is 2 KB.
            let began = Instant::now();
            let result = Box::pin(self.probe(&mut postgres)).await;
            if result.as_ref().is_err_and(ProbeFailure::is_local) {
                // It says nothing of the backend.
                sleep(self.check.interval / 4).await;
                continue;
            }
            let at = Instant::now();
            self.backend.stats.checks.checked(Check {
                at,
                took: at - began,
                failure: result.as_ref().err().map(ToString::to_string),
            });
            let (health, primary, failure) = match result {
                Ok(Found::Server) => (Health::Healthy, None, None),
                Ok(Found::Primary(timeline)) => (Health::Healthy, Some(timeline), None),
                // What it was lasts as long as it counts as healthy.
                Err(failure) => (Health::Unhealthy, told.flatten(), Some(failure)),
            };
            let flipped = tracker.record(health).is_some();
            if told != Some(primary) || flipped {
                told = Some(primary);
                let verdict = Verdict {
                    backend: self.backend.id,
                    health: tracker.health(),
                    failure,
                    primary,
                };
                let _stopping = self.verdicts.send(verdict).await;
            }
            // While in doubt, sooner; never in step with the probes of other backends.
            let interval = if tracker.is_in_doubt() {
                self.check.interval / 4
            } else {
                self.check.interval
            };
            sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    async fn probe(&self, postgres: &mut PostgresProber) -> Result<Found, ProbeFailure> {
        // The time waited is no fault of the backend's.
        let _place = self.places.acquire().await;
        let probe = async {
            match &self.check.probe {
                Probe::Tcp(probe) => text::ask(self.dial().await?.0, probe).await?,
                Probe::Http(probe) => self.ask_http(probe).await?,
                Probe::Grpc(service) => self.ask_grpc(service).await?,
                Probe::Postgres(probe) => match &probe.login {
                    Some(login) => return postgres.ask(self, probe, login).await,
                    None => postgres::ask_anonymously(self.dial().await?.0).await?,
                },
                Probe::Redis(probe) => redis::ask(self.dial().await?.0, probe).await?,
                Probe::Mysql(probe) => mysql::ask(self.dial().await?.0, probe).await?,
            }
            Ok(Found::Server)
        };
        match timeout(self.check.timeout, probe).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ProbeFailure::Timeout(self.check.timeout)),
        }
    }

    /// Where the backend is probed.
    fn addr(&self) -> SocketAddr {
        let mut addr = self.backend.addr;
        if let Some(port) = self.check.port {
            addr.set_port(port);
        }
        addr
    }

    async fn dial(&self) -> Result<(Transport, HttpVersion), ProbeFailure> {
        let dialed = dial(self.addr(), &self.backend, &self.upstream, Dialing::Any).await;
        let (mut stream, version) = dialed.map_err(ProbeFailure::Connect)?;
        // Another port speaks another protocol.
        let announced = self.upstream.settings.send_proxy_protocol;
        if let Some(protocol) = announced.filter(|_| self.check.port.is_none()) {
            stream.write_all(&header_of_a_check(protocol)).await?;
        }
        Ok((stream, version))
    }
}

/// The header of a connection that no client is behind (PROXY protocol, section 2.2: `LOCAL`).
fn header_of_a_check(protocol: ProxyProtocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = ProxyHeader::with_local();
    let encoded = match protocol {
        ProxyProtocol::V1 => header.encode_v1(&mut bytes),
        ProxyProtocol::V2 => header.encode_v2(&mut bytes),
    };
    debug_assert!(encoded.is_ok(), "it has neither addresses nor extensions");
    bytes
}
