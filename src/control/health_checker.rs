//! Probes backends and publishes who is available.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header, uri::PathAndQuery};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    config::{HealthCheck, Probe},
    health::{Health, HealthTracker},
    state::{Backend, Shared, Snapshot},
};

/// Probes until it is dropped; returns at once if nothing is to be probed.
pub(super) async fn run(checks: Vec<Option<HealthCheck>>, shared: Arc<Shared>) {
    let (flips, mut flipped) = mpsc::channel(FLIPS_WAITING_MAX);
    let snapshot = shared.snapshot.load_full();
    let mut probing = JoinSet::new();
    for (upstream, check) in snapshot.upstreams.iter().zip(checks) {
        let Some(check) = check else {
            continue;
        };
        for backend in upstream.backends.iter() {
            let prober = Prober {
                upstream: Arc::clone(&upstream.name),
                backend: Arc::clone(backend),
                check: check.clone(),
                shared: Arc::clone(&shared),
                flips: flips.clone(),
            };
            probing.spawn(prober.run());
        }
    }
    drop((flips, snapshot));
    while let Some(()) = flipped.recv().await {
        publish(&shared);
    }
}

/// Publishes the snapshot anew with the backends that are healthy now. Nothing waits in between,
/// so no other publisher's change is lost.
fn publish(shared: &Shared) {
    let current = shared.snapshot.load_full();
    let health_of = |id| {
        let backend = current
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.backends.iter())
            .find(|backend| backend.id == id);
        backend.map_or(Health::Unhealthy, |backend| backend.stats.health())
    };
    let upstreams = current
        .upstreams
        .iter()
        .map(|upstream| upstream.with_health(health_of))
        .collect();
    shared.snapshot.publish(Snapshot {
        upstreams,
        ..Snapshot::clone(&current)
    });
}

/// Probes one backend.
struct Prober {
    upstream: Arc<str>,
    backend: Arc<Backend>,
    check: HealthCheck,
    shared: Arc<Shared>,
    flips: mpsc::Sender<()>,
}

impl Prober {
    async fn run(self) {
        let mut tracker = HealthTracker::new(self.check.thresholds);
        let mut first = true;
        loop {
            let result = self.probe().await;
            let health = if result.is_ok() {
                Health::Healthy
            } else {
                Health::Unhealthy
            };
            if let Some(verdict) = tracker.record(health) {
                self.flip(verdict, result.as_ref().err()).await;
            } else if let (true, Err(failure)) = (first, &result) {
                tracing::warn!(upstream = %self.upstream, backend = %self.backend.addr, %failure, "backend is unhealthy from the start");
            }
            if std::mem::take(&mut first) {
                self.shared.first_probe_done();
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

    async fn flip(&self, health: Health, failure: Option<&ProbeFailure>) {
        let (upstream, backend) = (&self.upstream, &self.backend.addr);
        match failure {
            Some(failure) => tracing::warn!(%upstream, %backend, %failure, "backend is unhealthy"),
            None => tracing::info!(%upstream, %backend, "backend is healthy"),
        }
        self.backend.stats.set_health(health);
        let _stopping = self.flips.send(()).await;
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let probe = async {
            match &self.check.probe {
                Probe::Tcp => self.connect().await.map(drop),
                Probe::Http(path) => self.ask(path).await,
            }
        };
        match timeout(self.check.timeout, probe).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ProbeFailure::Timeout(self.check.timeout)),
        }
    }

    async fn connect(&self) -> Result<TcpStream, ProbeFailure> {
        let addr = &self.backend.addr;
        TcpStream::connect((addr.host.as_str(), addr.port))
            .await
            .map_err(ProbeFailure::Connect)
    }

    /// Only the status counts, so the body is never read.
    async fn ask(&self, path: &PathAndQuery) -> Result<(), ProbeFailure> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ProbeFailure::Http)?;
        let request = Request::get(path.as_str())
            .header(header::HOST, self.backend.addr.to_string())
            .header(
                header::USER_AGENT,
                concat!("weir/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_source| ProbeFailure::Status(0))?;
        let response = tokio::select! {
            response = sender.send_request(request) => response.map_err(ProbeFailure::Http)?,
            Err(broken) = connection => return Err(ProbeFailure::Http(broken)),
        };
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        Err(ProbeFailure::Status(status.as_u16()))
    }
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeFailure {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("no valid answer: {0}")]
    Http(hyper::Error),
    #[error("status {0}")]
    Status(u16),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Verdicts that wait to be published.
const FLIPS_WAITING_MAX: usize = 64;
