//! Statistics of the running process, looked at once a second: the counts of all workers, with rates,
//! and a short history.
//!
//! A task of the control plane looks (`Recorder`), whether anyone reads or not, so that rates and
//! history are there when somebody does. A look costs some loads for each backend.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::{
    sync::watch,
    time::{Duration, Instant, MissedTickBehavior, interval},
};

use crate::{
    control::{is_ready, operations::now_ms},
    limit::Mode,
    shutdown::{Phase, PhaseReceiver},
    state::{Cause, Counter, LatencyCounts, Scope, Shared, WorkerStats},
};

mod backends;
mod history;
mod meter;
mod process;
mod redirect;
mod upstreams;
mod view;

pub(super) use history::{CHARTED_UPSTREAMS, History};
pub(super) use view::{
    BackendView, CauseCount, CheckView, ListenerView, ProcessStats, RateLimitStats, RedirectStats,
    RefusedClient, Stats, UpstreamStats,
};

use meter::Meter;
use process::Usage;

/// The latest look and what came before it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Recorded(watch::Receiver<Arc<Look>>);

/// What one look has found.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) stats: Stats,
    pub(super) history: History,
}

impl Recorded {
    /// The latest look.
    pub(super) fn latest(&self) -> Arc<Look> {
        Arc::clone(&self.0.borrow())
    }

    /// The latest look, of which [`Recorded::next`] does not tell again.
    pub(super) fn current(&mut self) -> Arc<Look> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Waits for the next look. `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<Arc<Look>> {
        self.0.changed().await.ok()?;
        Some(Arc::clone(&self.0.borrow_and_update()))
    }
}

/// Looks at the process once a second.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    began: Instant,
    /// The time of the look that is under way, and the same in milliseconds since 1970.
    now: Instant,
    now_ms: i64,
    meter: Meter<Metered>,
    /// CPU time in nanoseconds: a rate of it is a share of a core.
    cpu: Meter<Option<usize>>,
    latencies: HashMap<usize, [LatencyCounts; 2]>,
    latencies_turned: Instant,
    redirect_latency: redirect::Latency,
    history: VecDeque<history::Point>,
    looks: u64,
}

/// A counter of which a rate is shown.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Metered {
    Calls,
    Rejected(usize),
    Accepted(usize),
    Requests(usize),
    Errors(usize),
    Received(usize),
    Sent(usize),
    Responses(usize),
    Failures(usize),
    Faults(Cause),
    Retries(Cause),
    RateLimited,
}

impl Recorder {
    /// A recorder, and where its looks are read. Must be made within the control plane's runtime.
    pub(super) fn new(
        shared: Arc<Shared>,
        phase: PhaseReceiver,
    ) -> (Self, watch::Sender<Arc<Look>>, Recorded) {
        let now = Instant::now();
        let mut recorder = Self {
            shared,
            phase,
            began: now,
            now,
            now_ms: now_ms(),
            meter: Meter::default(),
            cpu: Meter::default(),
            latencies: HashMap::new(),
            latencies_turned: now,
            redirect_latency: redirect::Latency::default(),
            history: VecDeque::new(),
            looks: 0,
        };
        let first = Arc::new(recorder.look());
        let (sender, receiver) = watch::channel(first);
        (recorder, sender, Recorded(receiver))
    }

    /// Looks until the process ends.
    pub(super) async fn run(mut self, looks: watch::Sender<Arc<Look>>) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the first look was made.
        seconds.tick().await;
        loop {
            seconds.tick().await;
            let look = Arc::new(self.look());
            let _nobody_reads = looks.send(look);
        }
    }

    fn look(&mut self) -> Look {
        let now = Instant::now();
        (self.now, self.now_ms) = (now, now_ms());
        self.meter.begin(now);
        self.cpu.begin(now);
        if now - self.latencies_turned >= LATENCY_TIME {
            self.latencies_turned = now;
            self.turn_latencies();
        }
        let stats = Stats {
            at_ms: self.now_ms,
            process: self.process(),
            redirect: self.redirect(),
            listeners: self.listeners(),
            upstreams: self.upstreams(),
            faults: self.causes(Metered::Faults, |stats, cause| {
                [stats.faults(cause), stats.session_faults(cause)]
            }),
            retries: self.causes(Metered::Retries, |stats, cause| {
                [stats.retries(cause), stats.session_retries(cause)]
            }),
            rate_limits: self.rate_limits(),
        };
        self.looks += 1;
        self.remember(&stats);
        Look {
            history: self.history(&stats),
            stats,
        }
    }

    fn process(&mut self) -> ProcessStats {
        let workers = self.shared.workers();
        let usage = Usage::now(workers.len());
        let mut percent = |key, cpu: Option<Duration>| {
            let nanos = u64::try_from(cpu?.as_nanos()).unwrap_or(u64::MAX);
            Some(self.cpu.per_second(key, nanos) / 1e9 * 100.0)
        };
        let cpu_percent = percent(None, usage.cpu);
        let of_workers = usage.workers.iter().zip(workers).enumerate();
        let of_workers = of_workers.map(|(index, (cpu, worker))| view::WorkerStats {
            index,
            cpu_percent: percent(Some(index), *cpu),
            connections: worker.open_connections(),
        });
        let of_workers = of_workers.collect();
        let phase: Phase = *self.phase.borrow();
        ProcessStats {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: (self.now - self.began).as_secs(),
            state: match phase {
                Phase::Running if is_ready(phase, &self.shared) => "running",
                Phase::Running => "starting",
                Phase::LameDuck | Phase::Draining | Phase::ClosingIdle | Phase::Cut => "stopping",
            },
            cpu_percent,
            memory_bytes: usage.memory_bytes,
            connections: self.shared.open_connections(),
            in_flight: self.shared.calls_in_flight(),
            workers: of_workers,
        }
    }

    /// What happened for some causes, of requests and sessions together.
    fn causes(
        &mut self,
        key: impl Fn(Cause) -> Metered,
        counters: impl Fn(&WorkerStats, Cause) -> [&Counter; 2],
    ) -> Vec<CauseCount> {
        let mut causes = Vec::new();
        for cause in Cause::ALL {
            let workers = self.shared.workers().iter();
            let counts =
                workers.flat_map(|worker| counters(&worker.stats, cause).map(Counter::get));
            let count = counts.sum();
            let per_second = self.meter.per_second(key(cause), count);
            if count > 0 {
                let cause = cause.label();
                causes.push(CauseCount {
                    cause,
                    count,
                    per_second,
                });
            }
        }
        causes
    }

    fn rate_limits(&mut self) -> RateLimitStats {
        let refused = self.above_limits(Mode::Enforce);
        let snapshot = self.shared.snapshot.load_full();
        let tick = self.shared.rate_limits.tick(self.now);
        let clients = snapshot.limits.clients.iter();
        let mut clients: Vec<RefusedClient> = clients
            .map(|client| RefusedClient {
                id: client.client.id.to_string(),
                refused_last_minute: client.refusals.last_minute(tick),
            })
            .filter(|client| client.refused_last_minute > 0)
            .collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.refused_last_minute));
        clients.truncate(REFUSED_CLIENTS_MAX);
        RateLimitStats {
            refused,
            refused_per_second: self.meter.per_second(Metered::RateLimited, refused),
            shadow: self.above_limits(Mode::Shadow),
            clients,
        }
    }

    fn above_limits(&self, mode: Mode) -> u64 {
        let workers = self.shared.workers().iter();
        let of_worker = |stats: &WorkerStats| -> u64 {
            let counters = Scope::ALL.map(|scope| stats.rate_limited(scope, mode).get());
            counters.iter().sum()
        };
        workers.map(|worker| of_worker(&worker.stats)).sum()
    }

    fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        let workers = self.shared.workers().iter();
        workers.map(|worker| counter(&worker.stats).get()).sum()
    }

    /// The wall clock's time of a moment before this look.
    fn unix_ms(&self, at: Instant) -> i64 {
        let ago = self.now.saturating_duration_since(at).as_millis();
        self.now_ms
            .saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX))
    }
}

/// Response times are of the last one or two of this.
const LATENCY_TIME: Duration = Duration::from_secs(30);
const REFUSED_CLIENTS_MAX: usize = 10;
