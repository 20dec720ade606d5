//! The admin listener: liveness, readiness and metrics.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
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
    sync::Semaphore,
    time,
};

use crate::{
    control::{is_ready, metrics},
    net::{AcceptPause, AcceptRetry, accept_retry},
    shutdown::{Phase, PhaseReceiver},
    state::Shared,
    telemetry::access_log::AccessLog,
};

/// Serves the admin listener until the process ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    access_log: Option<AccessLog>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = pages(shared, phase, access_log);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut pause = AcceptPause::default();
    loop {
        // The oldest waits for a place, the rest in the kernel's queue.
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                pause.reset();
                let connection = serve_connection(stream, pages.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if accept_retry(&error) == AcceptRetry::AtOnce => {}
            Err(_exhausted) => time::sleep(pause.next_pause()).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, pages: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    // A broken connection is the client's affair: the pages have no side effects. One that reads
    // nothing must not keep its place.
    let _broken_or_elapsed = time::timeout(LIFETIME_MAX, connection).await;
}

#[derive(Clone, Debug)]
struct Admin {
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
}

fn pages(shared: Arc<Shared>, phase: PhaseReceiver, access_log: Option<AccessLog>) -> Router {
    let registry = Arc::new(metrics::registry(Arc::clone(&shared), access_log));
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(Admin {
            registry,
            shared,
            phase,
        })
}

async fn index() -> &'static str {
    concat!(
        "weir ",
        env!("CARGO_PKG_VERSION"),
        "\n\n/livez    the process works\n/readyz   it may get traffic\n/metrics  Prometheus\n"
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

async fn scrape(State(admin): State<Admin>) -> Response {
    let mut page = String::new();
    match text::encode(&mut page, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CONNECTIONS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 16 * 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A scraper connects anew after this; far above what any answer takes.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
