//! What both planes see: the published snapshot, the shared cells and the statistics.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

mod backend;
mod cause;
mod check_record;
mod clients;
mod close_cause;
mod counter;
mod database_status;
mod duration_histogram;
mod fleet;
mod latency;
mod listeners;
mod name_lookups;
mod open_files;
mod queue;
mod rate_limits;
mod reloads;
mod response_stats;
mod session_stats;
mod snapshot;
mod stats;
mod status;
mod turns;
mod upstream;
mod usage;

pub use backend::{Backend, BackendStats, Condition, InFlight};
pub use cause::Cause;
pub use check_record::{Check, CheckRecord, Checked};
pub use clients::{ClientConnections, ClientPlace};
pub use close_cause::CloseCause;
pub use counter::Counter;
pub use database_status::DatabaseStatus;
pub use duration_histogram::{DURATION_BOUNDS, DurationHistogram};
pub use fleet::{Fleet, Sharing};
pub use latency::{Latency, LatencyCounts};
pub use listeners::{ListenerPlace, ListenerState, ListenerStats, OpenListeners};
pub use name_lookups::NameLookups;
pub use open_files::{BackendFile, OpenFiles};
pub use queue::{Place, Queue, QueueRank};
pub use rate_limits::{Limit, RateLimits, Scope};
pub use reloads::Reloads;
pub use response_stats::ResponseStats;
pub use session_stats::SessionStats;
pub use snapshot::{
    HttpSettings, Limits, ListenerSettings, RedirectSettings, Snapshot, SnapshotHandle, TcpSettings,
};
pub use stats::{AcceptFault, Protocol, WorkerStats};
pub use status::Status;
pub use turns::Turns;
pub use upstream::{Member, Pick, Upstream, WHOLE_SHARE};
pub use usage::{SharedBucket, Used};

/// Everything that workers and the control plane share. Lives as long as the process.
#[derive(Debug)]
pub struct Shared {
    /// Published by the control plane, loaded by the workers.
    pub snapshot: SnapshotHandle,
    /// Counts accepted redirect calls over the whole process.
    pub turns: Turns,
    /// How reloads went.
    pub reloads: Reloads,
    /// The listeners that are open.
    pub listeners: OpenListeners,
    /// How looking up backends' names went.
    pub name_lookups: NameLookups,
    /// How many connections each client has.
    pub clients: Arc<ClientConnections>,
    /// What clients have used of the limits of requests.
    pub rate_limits: RateLimits,
    /// How reading registered clients goes.
    pub database: DatabaseStatus,
    /// What is left of the process's files.
    pub open_files: Arc<OpenFiles>,
    /// Says that a backend failed often enough to be looked at. Given by the workers, taken by the
    /// control plane.
    pub suspects: Notify,
    /// Whether every backend that was there at the start is known and probed. Written by the
    /// control plane.
    is_probed: AtomicBool,
    /// Accept loops that did not end yet. Written by the workers, read by the drain.
    accept_loops: AtomicUsize,
    /// One entry a worker.
    workers: Box<[WorkerState]>,
}

impl Shared {
    /// Fresh state for a number of workers.
    pub fn new(
        snapshot: Snapshot,
        rate_limits: RateLimits,
        workers: usize,
        per_client_limit: Option<NonZeroUsize>,
        open_files: OpenFiles,
    ) -> Arc<Self> {
        let workers = (0..workers).map(|_| WorkerState::default()).collect();
        Arc::new(Self {
            snapshot: SnapshotHandle::new(snapshot),
            turns: Turns::default(),
            reloads: Reloads::default(),
            listeners: OpenListeners::default(),
            name_lookups: NameLookups::default(),
            clients: ClientConnections::new(per_client_limit),
            rate_limits,
            database: DatabaseStatus::default(),
            open_files: Arc::new(open_files),
            suspects: Notify::new(),
            is_probed: AtomicBool::new(false),
            accept_loops: AtomicUsize::new(0),
            workers,
        })
    }

    /// Says that every backend was probed.
    pub fn probed(&self) {
        self.is_probed.store(true, Ordering::Relaxed);
    }

    /// Whether every backend that is checked was probed once.
    pub fn is_probed(&self) -> bool {
        self.is_probed.load(Ordering::Relaxed)
    }

    /// Says that there will be more accept loops.
    pub fn expect_accept_loops(&self, loops: usize) {
        self.accept_loops.fetch_add(loops, Ordering::Relaxed);
    }

    /// Counts the end of an accept loop. Release: a reader that sees it also sees the connections that
    /// the loop has counted.
    pub fn accept_loop_ended(&self) {
        self.accept_loops.fetch_sub(1, Ordering::Release);
    }

    /// Whether nobody accepts any more.
    pub fn is_closed_to_new(&self) -> bool {
        self.accept_loops.load(Ordering::Acquire) == 0
    }

    /// All workers, in the order of their indices.
    pub fn workers(&self) -> &[WorkerState] {
        &self.workers
    }

    /// One worker.
    ///
    /// # Panics
    ///
    /// If there is no worker of that index, which only our own start could get wrong.
    #[expect(
        clippy::indexing_slicing,
        reason = "indices are given out by `app` alone"
    )]
    pub fn worker(&self, index: usize) -> &WorkerState {
        &self.workers[index]
    }

    /// Client connections that are open now, over all workers.
    pub fn open_connections(&self) -> usize {
        self.workers.iter().map(WorkerState::open_connections).sum()
    }

    /// Calls that ended since the process began, over all workers.
    pub fn calls_finished(&self) -> u64 {
        let finished = |worker: &WorkerState| worker.stats.calls_finished.get();
        self.workers.iter().map(finished).sum()
    }

    /// Calls that began and did not end yet, over all workers.
    pub fn calls_in_flight(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.stats.calls_in_flight())
            .sum()
    }
}

/// What belongs to one worker and is seen by others. Cache-line padded, so that one worker's
/// counting does not slow another's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerState {
    /// Written by this worker, read by the control plane.
    pub stats: WorkerStats,
    /// Open client connections. Written by this worker, and by a worker that hands a connection
    /// over, which counts it before it is sent so that no third one does the same. Read by every
    /// accept loop. Relaxed: placement and the limit bear being off by connections that are
    /// accepted at the same instant.
    open_connections: AtomicUsize,
}

impl WorkerState {
    /// Counts a connection that this worker is about to own.
    pub fn connection_opened(&self) {
        self.open_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection of this worker.
    pub fn connection_closed(&self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Open client connections of this worker.
    pub fn open_connections(&self) -> usize {
        self.open_connections.load(Ordering::Relaxed)
    }
}
