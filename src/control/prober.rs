//! Probes one backend, and tells what the probes say of its health.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::{
    config::{HealthCheck, HttpProbe, Probe, Scheme},
    control::postgres_probe,
    health::{Health, HealthTracker},
    net::{DialError, Dialing, HttpVersion, Transport, dial},
    state::{Backend, Upstream},
};

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
}

impl Prober {
    pub(super) async fn run(self) {
        let thresholds = self.check.thresholds;
        let mut tracker = match self.known {
            Some(health) => HealthTracker::resume(thresholds, health),
            None => HealthTracker::new(thresholds),
        };
        let mut first = true;
        loop {
            // Boxed, as a prober sleeps most of its life and a probe's state is 2 KB.
            let failure = Box::pin(self.probe()).await.err();
            if failure.as_ref().is_some_and(ProbeFailure::is_local) {
                // It says nothing of the backend.
                sleep(self.check.interval / 4).await;
                continue;
            }
            let result = match failure {
                None => Health::Healthy,
                Some(_) => Health::Unhealthy,
            };
            let flipped = tracker.record(result).is_some();
            if std::mem::take(&mut first) || flipped {
                let verdict = Verdict {
                    backend: self.backend.id,
                    health: tracker.health(),
                    failure,
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

    async fn probe(&self) -> Result<(), ProbeFailure> {
        // The time waited is no fault of the backend's.
        let _place = self.places.acquire().await;
        let probe = async {
            match &self.check.probe {
                Probe::Tcp => self.dial().await.map(drop),
                Probe::Http(probe) => self.ask_http(probe).await,
                Probe::Grpc(service) => self.ask_grpc(service).await,
                Probe::Postgres(probe) => match &probe.login {
                    Some(login) => postgres_probe::ask(self.backend.addr, probe, login).await,
                    None => postgres_probe::ask_anonymously(self.dial().await?.0).await,
                },
            }
        };
        match timeout(self.check.timeout, probe).await {
            Ok(result) => result,
            Err(_elapsed) => Err(ProbeFailure::Timeout(self.check.timeout)),
        }
    }

    async fn dial(&self) -> Result<(Transport, HttpVersion), ProbeFailure> {
        dial(&self.backend, &self.upstream, Dialing::Any)
            .await
            .map_err(ProbeFailure::Connect)
    }

    /// Only the status counts, so the body is never read.
    async fn ask_http(&self, probe: &HttpProbe) -> Result<(), ProbeFailure> {
        let (stream, version) = self.dial().await?;
        let request = self.http_request(probe, version)?;
        let answered = ask(stream, version, request).await?.status().as_u16();
        if probe.status.contains(&answered) {
            return Ok(());
        }
        Err(ProbeFailure::Status {
            asked: format!("{} {} on {}", probe.method, probe.path, self.backend.addr),
            answered,
            expected: format!("{}-{}", probe.status.start(), probe.status.end()),
        })
    }

    fn http_request(
        &self,
        probe: &HttpProbe,
        version: HttpVersion,
    ) -> Result<Request<Full<Bytes>>, ProbeFailure> {
        let authority = self.backend.name.authority();
        let host = match &probe.host {
            Some(host) => host.to_str().unwrap_or(&authority),
            None => &authority,
        };
        let request = Request::builder().method(&probe.method);
        let mut request = match version {
            HttpVersion::Http1 => request
                .uri(probe.path.as_str())
                .header(header::HOST, host)
                .header(header::CONNECTION, "close"),
            HttpVersion::Http2 => request
                .uri(self.url(host, probe.path.as_str()))
                .version(Version::HTTP_2),
        };
        if !probe
            .headers
            .iter()
            .any(|(name, _)| name == header::USER_AGENT)
        {
            request = request.header(header::USER_AGENT, USER_AGENT);
        }
        for (name, value) in &probe.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::default())
            .map_err(|_source| ProbeFailure::Malformed)
    }

    /// Asks by the gRPC health checking protocol, version 1.
    async fn ask_grpc(&self, service: &str) -> Result<(), ProbeFailure> {
        let (stream, _) = self.dial().await?;
        let question = HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut framed = BytesMut::with_capacity(GRPC_PREFIX_BYTES + question.encoded_len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(question.encoded_len()).unwrap_or(u32::MAX));
        framed.put_slice(&question.encode_to_vec());
        let version = HttpVersion::Http2;
        let authority = self.backend.name.authority();
        let url = self.url(&authority, "/grpc.health.v1.Health/Check");
        let request = Request::post(url)
            .version(Version::HTTP_2)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::new(framed.freeze()))
            .map_err(|_source| ProbeFailure::Malformed)?;
        let response = ask(stream, version, request).await?;
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, GRPC_ANSWER_BYTES_MAX).collect().await;
        let whole = whole.map_err(|_source| ProbeFailure::Malformed)?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let status = trailers
            .get("grpc-status")
            .or_else(|| head.headers.get("grpc-status"));
        let answer = whole.to_bytes();
        let status = status.and_then(|status| status.to_str().ok());
        if status != Some("0") {
            let status = status.unwrap_or("missing").to_owned();
            return Err(ProbeFailure::GrpcStatus(status));
        }
        let answer = answer
            .get(GRPC_PREFIX_BYTES..)
            .and_then(|message| HealthCheckResponse::decode(message).ok())
            .ok_or(ProbeFailure::Malformed)?;
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                Err(ProbeFailure::NotServing(answer.status().as_str_name()))
            }
        }
    }

    /// A URL as HTTP/2 needs it.
    fn url(&self, host: &str, path: &str) -> String {
        match self.backend.name.scheme {
            Scheme::Https => format!("https://{host}{path}"),
            Scheme::Http | Scheme::H2c | Scheme::Tcp => format!("http://{host}{path}"),
        }
    }
}

/// Sends one request on a connection of its own, which ends with the answer.
async fn ask(
    stream: Transport,
    version: HttpVersion,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ProbeFailure> {
    let io = TokioIo::new(stream);
    match version {
        HttpVersion::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::select! {
                response = sender.send_request(request) => Ok(response?),
                Err(broken) = connection => Err(broken.into()),
            }
        }
        HttpVersion::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            // Lives until the answer was read: the body comes over it.
            tokio::spawn(timeout(CONNECTION_TIME_MAX, connection));
            Ok(sender.send_request(request).await?)
        }
    }
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeFailure {
    #[error("cannot connect: {0}")]
    Connect(DialError),
    #[error("no valid answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("{asked} answered {answered}, expected {expected}")]
    Status {
        asked: String,
        answered: u16,
        expected: String,
    },
    #[error("grpc-status {0}")]
    GrpcStatus(String),
    #[error("gRPC health is {0}")]
    NotServing(&'static str),
    #[error("it is {0}")]
    Role(&'static str),
    #[error("no valid answer: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("no answer: {0}")]
    Broken(#[from] std::io::Error),
    #[error("malformed answer")]
    Malformed,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ProbeFailure {
    /// Whether this process lacked what a probe needs: files, ports, buffers.
    fn is_local(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_local(),
            Self::Http(_)
            | Self::Status { .. }
            | Self::GrpcStatus(_)
            | Self::NotServing(_)
            | Self::Role(_)
            | Self::Postgres(_)
            | Self::Broken(_)
            | Self::Malformed
            | Self::Timeout(_) => false,
        }
    }
}

const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));
const GRPC_PREFIX_BYTES: usize = 5;
const GRPC_ANSWER_BYTES_MAX: usize = 4096;
/// No probe takes longer; an HTTP/2 connection ends when its sender is gone.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
