//! One backend: what lives on while snapshots come and go.

use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    config::{BackendAddr, Scheme},
    health::Health,
    state::{Cause, CheckRecord, Latency, Queue},
};

/// One address that takes requests. Outlives snapshots and reloads.
#[derive(Debug)]
#[repr(align(128))]
pub struct Backend {
    /// Which one it is among all that the process ever had.
    pub id: usize,
    /// How the configuration names it.
    pub name: BackendAddr,
    /// Where it is.
    pub addr: SocketAddr,
    /// What happened to requests that it was picked for.
    pub stats: BackendStats,
    /// Where requests wait for it and its siblings.
    pub(super) queue: Arc<Queue>,
}

impl Backend {
    /// A backend that nothing is known of yet.
    pub fn new(id: usize, name: BackendAddr, addr: SocketAddr, queue: Arc<Queue>) -> Self {
        Self {
            id,
            name,
            addr,
            stats: BackendStats::default(),
            queue,
        }
    }

    /// Whether requests may share a connection to it.
    pub fn may_speak_http2(&self) -> bool {
        match self.name.scheme {
            Scheme::Http | Scheme::Tcp => false,
            Scheme::H2c | Scheme::Https => true,
        }
    }
}

impl fmt::Display for Backend {
    /// Its name, and its address where the name does not say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.ip() {
            Some(_) => write!(f, "{}", self.name),
            None => write!(f, "{}/{}", self.name, self.addr.ip()),
        }
    }
}

/// Counts of one backend. Relaxed where nothing is said: each number stands for itself.
#[derive(Debug, Default)]
pub struct BackendStats {
    /// Written by every worker, read at the scrape.
    responses: AtomicU64,
    /// Written by every worker, read at the scrape.
    failures: AtomicU64,
    /// Failures since the last success. Written by every worker, read and reset by the control
    /// plane.
    failures_in_a_row: AtomicU32,
    /// Written by every worker. Sequentially consistent, together with the count of those who
    /// wait in the queue: either the one who leaves sees the one who waits, or the other way round.
    in_flight: AtomicUsize,
    /// Written by every worker, read at the scrape.
    server_errors: AtomicU64,
    /// Why the latest attempt failed: a cause's place in `Cause::ALL`, from 1; 0 for a response.
    /// Written by every worker, read by the control plane.
    latest_failure: AtomicU8,
    /// Written by the control plane alone, as are those below.
    condition: AtomicU8,
    /// Times that it was marked down.
    marked_down: AtomicU64,
    /// Tells sessions of it.
    went_down: Notify,
    is_healthy: AtomicBool,
    recoveries: AtomicU64,
    falls: AtomicU64,
    ejections: AtomicU64,
    /// Time to its response, or to its connection for a session.
    pub latency: Latency,
    /// What the control plane knows beside the counts.
    pub checks: CheckRecord,
}

/// Whether a backend takes requests, and why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// It fails its checks, or was not probed yet.
    Unhealthy,
    /// It takes requests.
    Available,
    /// Its answers failed, so it is left alone for a while.
    Ejected,
    /// The operator lets it finish what it has.
    Draining,
    /// The operator took it out.
    Disabled,
    /// It says that it is the primary of PostgreSQL, as another server does that is in use.
    SecondPrimary,
}

impl Condition {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 6] = [
        Self::Unhealthy,
        Self::Available,
        Self::Ejected,
        Self::Draining,
        Self::Disabled,
        Self::SecondPrimary,
    ];

    /// Whether it gets nothing and should lose what it has.
    fn is_down(self) -> bool {
        match self {
            Self::Unhealthy | Self::Disabled | Self::SecondPrimary => true,
            Self::Available | Self::Ejected | Self::Draining => false,
        }
    }

    /// The value of the metrics' `condition` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Available => "available",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::SecondPrimary => "second_primary",
        }
    }
}

impl BackendStats {
    /// Whether it takes requests.
    pub fn condition(&self) -> Condition {
        let discriminant = usize::from(self.condition.load(Ordering::Relaxed));
        Condition::ALL
            .get(discriminant)
            .copied()
            .unwrap_or(Condition::Unhealthy)
    }

    /// Notes whether it takes requests; the next snapshot acts on it.
    pub fn set_condition(&self, condition: Condition) {
        let was_down = self.condition().is_down();
        self.condition.store(condition as u8, Ordering::Relaxed);
        if condition.is_down() && !was_down {
            self.marked_down.fetch_add(1, Ordering::Relaxed);
            self.went_down.notify_waiters();
        }
    }

    /// Times that it was marked down: by its checks, or by the operator who disabled it.
    pub fn times_marked_down(&self) -> u64 {
        self.marked_down.load(Ordering::Relaxed)
    }

    /// Waits until it was marked down more than so many times.
    pub async fn marked_down(&self, times: u64) {
        loop {
            let mut told = pin!(self.went_down.notified());
            // From here on nothing is missed.
            told.as_mut().enable();
            if self.times_marked_down() > times {
                return;
            }
            told.await;
        }
    }

    /// The checks' verdict; healthy without checks, unhealthy before the first probe.
    pub fn health(&self) -> Health {
        match self.is_healthy.load(Ordering::Relaxed) {
            true => Health::Healthy,
            false => Health::Unhealthy,
        }
    }

    /// Notes the checks' verdict.
    pub fn set_health(&self, health: Health) {
        self.is_healthy
            .store(health == Health::Healthy, Ordering::Relaxed);
    }

    /// Counts a verdict of the checks that differs from the one before.
    pub fn flipped(&self, to: Health) {
        let flips = match to {
            Health::Healthy => &self.recoveries,
            Health::Unhealthy => &self.falls,
        };
        flips.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an ejection. What failed before it does not count towards the next.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.forgive();
    }

    /// Tries it again after an ejection: the next failure is enough for another one.
    pub fn on_probation(&self, failures: u32) {
        self.failures_in_a_row
            .store(failures.saturating_sub(1), Ordering::Relaxed);
    }

    /// Forgets the failures in a row.
    pub fn forgive(&self) {
        self.failures_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts a response head that is no failure.
    pub fn responded(&self) {
        self.responses.fetch_add(1, Ordering::Relaxed);
        // Read first: among thousands of good answers the line stays shared.
        if self.failures_in_a_row() != 0 {
            self.forgive();
        }
    }

    /// Counts a response head that says that the backend cannot do its work (502, 503, 504).
    /// Returns the failures in a row.
    pub fn responded_badly(&self) -> u32 {
        self.responses.fetch_add(1, Ordering::Relaxed);
        self.latest_failure.store(0, Ordering::Relaxed);
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an attempt that got no response. Returns the failures in a row.
    pub fn failed(&self, cause: Cause) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.latest_failure
            .store(cause as u8 + 1, Ordering::Relaxed);
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a response of the 500s, whatever else it means.
    pub fn responded_with_server_error(&self) {
        self.server_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Why the latest failure was one, in a word.
    pub fn latest_failure(&self) -> &'static str {
        let place = usize::from(self.latest_failure.load(Ordering::Relaxed));
        let cause = place.checked_sub(1).and_then(|index| Cause::ALL.get(index));
        cause.map_or("bad_status", |cause| cause.label())
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row.load(Ordering::Relaxed)
    }

    /// Response heads.
    pub fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }

    /// Response heads of the 500s.
    pub fn server_errors(&self) -> u64 {
        self.server_errors.load(Ordering::Relaxed)
    }

    /// Attempts without one.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Times that the checks' verdict became this one.
    pub fn flips(&self, to: Health) -> u64 {
        match to {
            Health::Healthy => self.recoveries.load(Ordering::Relaxed),
            Health::Unhealthy => self.falls.load(Ordering::Relaxed),
        }
    }

    /// Times that it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Requests that began and did not end.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

/// A request in flight at a backend; ends when it is dropped, and then lets one in that waits.
#[derive(Debug)]
pub struct InFlight(Arc<Backend>);

impl InFlight {
    /// Begins a request, unless the backend has as many as it may. Costs two atomic instructions
    /// over its life.
    pub fn begin(backend: &Arc<Backend>, limit: Option<NonZeroU32>) -> Option<Self> {
        let before = backend.stats.in_flight.fetch_add(1, Ordering::SeqCst);
        // From here on the drop gives it back.
        let begun = Self(Arc::clone(backend));
        let is_over = limit.is_some_and(|limit| before >= limit.get() as usize);
        (!is_over).then_some(begun)
    }

    /// Where it is.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.stats.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.queue.let_one_in();
    }
}
