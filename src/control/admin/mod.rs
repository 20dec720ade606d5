//! The admin listener: liveness, readiness and metrics (`pages`), the API by which operators look
//! and change things (`api`), a page for it (`browse`), and the stats page (`stats`).

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, middleware};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time,
};
use tower_service::Service as _;

use crate::{
    control::{AccessLogs, metrics, operations::Operations, stats::Recorded},
    net::{AcceptPause, AcceptRetry, accept_retry},
    shutdown::PhaseReceiver,
    state::Shared,
    store::Store,
};

mod api;
mod browse;
mod browser_headers;
mod guard;
mod pages;
mod problem;
mod settings;
mod stats;

pub(super) use settings::AdminSettings;

use guard::Peer;

/// What the admin listener knows.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    settings: Arc<AdminSettings>,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    changes: AdminChanges,
    /// Requests of the API at a time.
    calls: Arc<Semaphore>,
    /// The statistics, which a recorder takes once a second.
    stats: Recorded,
    /// Pages that follow them at a time.
    event_streams: Arc<Semaphore>,
}

/// Where changes go.
#[derive(Clone, Debug)]
pub(super) struct AdminChanges {
    /// The database, if there is one.
    pub(super) store: Option<Store>,
    /// Tells the task that follows the database of a change that was made here.
    pub(super) clients_changed: Arc<Notify>,
    /// Takes what is asked of the running process to it.
    pub(super) operations: Operations,
}

impl Admin {
    pub(super) fn new(
        settings: Arc<AdminSettings>,
        shared: Arc<Shared>,
        phase: PhaseReceiver,
        access_logs: AccessLogs,
        changes: AdminChanges,
        stats: Recorded,
    ) -> Self {
        Self {
            settings,
            registry: Arc::new(metrics::registry(Arc::clone(&shared), access_logs)),
            shared,
            phase,
            changes,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            stats,
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
        }
    }
}

/// Serves the admin listener until the process ends.
pub(super) async fn serve(listener: std::net::TcpListener, admin: Admin) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = router(admin);
    let mut connections = VecDeque::<Connection>::new();
    let mut pause = AcceptPause::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause.reset();
                make_room(&mut connections);
                let is_busy = Arc::new(AtomicBool::new(false));
                let serving = serve_connection(
                    stream,
                    Peer(peer.ip()),
                    router.clone(),
                    Arc::clone(&is_busy),
                );
                connections.push_back(Connection {
                    task: tokio::spawn(serving).abort_handle(),
                    is_busy,
                });
            }
            Err(error) if accept_retry(&error) == AcceptRetry::AtOnce => {}
            Err(_exhausted) => time::sleep(pause.next_pause()).await,
        }
    }
}

fn router(admin: Admin) -> Router {
    let check_changes = middleware::from_fn_with_state(admin.clone(), guard::check_changes);
    let check_host = middleware::from_fn_with_state(admin.clone(), guard::check_host);
    pages::router()
        .merge(browse::router())
        .merge(stats::router())
        .merge(api::router().layer(check_changes))
        .layer(check_host)
        .layer(middleware::from_fn(browser_headers::add))
        .with_state(admin)
}

/// A connection that is served.
#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// Whether a request is being answered. Written by its task.
    is_busy: Arc<AtomicBool>,
}

/// Closes the oldest idle connection if there are too many, so that a probe always gets through; the
/// oldest of all if none is idle.
fn make_room(connections: &mut VecDeque<Connection>) {
    connections.retain(|connection| !connection.task.is_finished());
    if connections.len() < CONNECTIONS_MAX {
        return;
    }
    let is_idle = |connection: &Connection| !connection.is_busy.load(Ordering::Relaxed);
    let oldest = connections.iter().position(is_idle).unwrap_or(0);
    if let Some(oldest) = connections.remove(oldest) {
        oldest.task.abort();
    }
}

async fn serve_connection(stream: TcpStream, peer: Peer, router: Router, is_busy: Arc<AtomicBool>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (mut router, is_busy) = (router.clone(), Arc::clone(&is_busy));
        async move {
            is_busy.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let answer = router.call(request).await;
            is_busy.store(false, Ordering::Relaxed);
            answer.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // A broken connection is the client's affair. One that reads nothing must not keep its place.
    let _broken_or_elapsed = time::timeout(LIFETIME_MAX, connection).await;
}

const CONNECTIONS_MAX: usize = 32;
const CALLS_MAX: usize = 8;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// For a head, and between two requests: scrapers ask every 15 s or less often, and connect anew.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A scraper connects anew after this; far above what any answer takes.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
/// Stats pages that are open at a time; one more is refused, and shows what it first got.
const EVENT_STREAMS_MAX: usize = 32;
