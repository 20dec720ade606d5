//! The admin listener: liveness, readiness and metrics.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
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
    control::{
        AccessLogs, is_ready,
        metrics::{self, MetricsFormat},
    },
    net::{AcceptPause, AcceptRetry, accept_retry},
    shutdown::{Phase, PhaseReceiver},
    state::Shared,
};

/// Serves the admin listener until the process ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    access_logs: AccessLogs,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = pages(shared, phase, access_logs);
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

#[derive(Clone, Debug)]
struct Admin {
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
}

fn pages(shared: Arc<Shared>, phase: PhaseReceiver, access_logs: AccessLogs) -> Router {
    let registry = Arc::new(metrics::registry(Arc::clone(&shared), access_logs));
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
