//! The admin listener: liveness, readiness and metrics.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time,
};

use crate::{
    config::Config,
    control::{
        AccessLogs, is_ready,
        metrics::{self, MetricsFormat},
    },
    net::{AcceptPause, AcceptRetry, accept_retry},
    shutdown::{Phase, PhaseReceiver},
    state::{Shared, Status},
};

/// Serves the admin listener until the process ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    settings: Arc<AdminSettings>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    access_logs: AccessLogs,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = pages(settings, shared, phase, access_logs);
    let mut connections = VecDeque::<AbortHandle>::new();
    let mut pause = AcceptPause::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                pause.reset();
                make_room(&mut connections);
                let connection = tokio::spawn(serve_connection(stream, pages.clone()));
                connections.push_back(connection.abort_handle());
            }
            Err(error) if accept_retry(&error) == AcceptRetry::AtOnce => {}
            Err(_exhausted) => time::sleep(pause.next_pause()).await,
        }
    }
}

/// Closes the oldest connection if there are too many, so that a probe always gets through. Every
/// answer is ready at once, so the oldest is idle, or its client does not read.
fn make_room(connections: &mut VecDeque<AbortHandle>) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= CONNECTIONS_MAX
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
}

async fn serve_connection(stream: TcpStream, pages: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    // A broken connection is the client's affair: the pages have no side effects. One that reads
    // nothing must not keep its place.
    let _broken_or_elapsed = time::timeout(LIFETIME_MAX, connection).await;
}

/// What a reload changes of the pages.
#[derive(Debug)]
pub(super) struct AdminSettings {
    hosts: ArcSwap<Option<Vec<String>>>,
    stop_seconds_max: AtomicU64,
}

impl AdminSettings {
    pub(super) fn new(config: &Config) -> Self {
        let settings = Self {
            hosts: ArcSwap::default(),
            stop_seconds_max: AtomicU64::new(0),
        };
        settings.set(config);
        settings
    }

    pub(super) fn set(&self, config: &Config) {
        let is_local = config.admin.listen.ip().is_loopback();
        let hosts = config.admin.hosts.clone();
        let hosts = hosts.or_else(|| is_local.then(Vec::new));
        self.hosts.store(Arc::new(hosts));
        let stop = config.drain.lame_duck + config.drain.timeout;
        self.stop_seconds_max
            .store(stop.as_secs(), Ordering::Relaxed);
    }

    /// Whether a request may have this `Host`. Addresses are safe: only a name can be made to
    /// resolve to this listener by somebody else (DNS rebinding).
    fn takes_host(&self, host: &str) -> bool {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_address = inner.unwrap_or(host).parse::<IpAddr>().is_ok();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let hosts = self.hosts.load();
        let is_named = hosts
            .as_ref()
            .as_ref()
            .is_none_or(|hosts| hosts.contains(&name));
        is_address || name == "localhost" || is_named
    }
}

/// Refuses requests that a web page sends by a name of its own.
async fn check_host(
    State(admin): State<Admin>,
    request: Request,
    next: middleware::Next,
) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()));
    match host {
        Some(host) if !admin.settings.takes_host(&host) => {
            let reason = format!("the host {host:?} is not allowed here; name it in admin.hosts\n");
            (StatusCode::FORBIDDEN, reason).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

#[derive(Clone, Debug)]
struct Admin {
    settings: Arc<AdminSettings>,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
}

fn pages(
    settings: Arc<AdminSettings>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    access_logs: AccessLogs,
) -> Router {
    let registry = Arc::new(metrics::registry(Arc::clone(&shared), access_logs));
    let admin = Admin {
        settings,
        registry,
        shared,
        phase,
    };
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/status", get(status))
        .layer(middleware::from_fn_with_state(admin.clone(), check_host))
        .with_state(admin)
}

async fn index() -> &'static str {
    concat!(
        "weir ",
        env!("CARGO_PKG_VERSION"),
        "\n\n/livez    the process works\n/readyz   it may get traffic\n/metrics  Prometheus\n/status   version, process and reloads, as JSON\n"
    )
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    let phase: Phase = *admin.phase.borrow();
    if is_ready(phase, &admin.shared) {
        return (StatusCode::OK, "ready\n");
    }
    let why = if phase == Phase::Running {
        "probing backends\n"
    } else {
        "stopping\n"
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn status(State(admin): State<Admin>) -> Response {
    let stop_time_max = admin.settings.stop_seconds_max.load(Ordering::Relaxed);
    let reloads = &admin.shared.reloads;
    let phase: Phase = *admin.phase.borrow();
    let status = Status {
        is_stopping: phase != Phase::Running,
        reloads: reloads.count_succeeded(),
        reloads_refused: reloads.count_refused(),
        reload_error: reloads.last_error(),
        ..Status::of_this_process(Duration::from_secs(stop_time_max))
    };
    match serde_json::to_string_pretty(&status) {
        Ok(page) => ([(header::CONTENT_TYPE, "application/json")], page).into_response(),
        Err(_unwritable) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn scrape(State(admin): State<Admin>, head: HeaderMap) -> Response {
    let mut page = String::new();
    let format = MetricsFormat::accepted_by(&head);
    match text::encode(&mut page, &admin.registry) {
        Ok(()) => {
            let page = format.page(page);
            ([(header::CONTENT_TYPE, format.content_type())], page).into_response()
        }
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

const CONNECTIONS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// For a head, and between two requests: scrapers ask every 15 s or less often, and connect anew.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A scraper connects anew after this; far above what any answer takes.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
