//! Who may take requests now: folds addresses, checks, ejections, the operator's wishes and slow
//! starts into the published upstreams.
//!
//! Runs on the control plane's thread, and is the only one that changes upstreams. Probers tell it
//! verdicts, `names` tells it addresses, the workers tell it suspects.

use std::{collections::HashMap, path::Path, sync::Arc};

use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    config::{self, Config, HealthCheck},
    control::{
        names::{Names, Resolved},
        prober::{Clusters, Verdict},
    },
    ejection::EjectionTracker,
    health::Health,
    limit::{Client, ClientTable},
    replication::Timeline,
    state::{ListenerSettings, Shared, Snapshot, Upstream},
};

mod availability;
mod kept_timelines;
mod membership;
mod primaries;
mod verdicts;

use kept_timelines::KeptTimelines;
use primaries::{Primaries, Standing};

/// Keeps the published upstreams true.
#[derive(Debug)]
pub struct Upstreams {
    shared: Arc<Shared>,
    /// What is known of each backend beside its counts, by its id.
    records: HashMap<usize, BackendRecord>,
    names: Names,
    resolved: mpsc::Receiver<Resolved>,
    verdicts: mpsc::Receiver<Verdict>,
    /// Cloned for each prober.
    verdict_sender: mpsc::Sender<Verdict>,
    /// Cloned for each prober.
    probe_places: Arc<Semaphore>,
    /// Cloned for each prober.
    clusters: Clusters,
    /// Which server takes writes, by the ids of the upstreams whose checks know.
    primaries: HashMap<usize, Primaries>,
    kept_timelines: KeptTimelines,
    backends_ever: usize,
    upstreams_ever: usize,
}

/// What the control plane knows of a backend.
#[derive(Debug)]
struct BackendRecord {
    health: Health,
    /// Whether nothing more is waited for before it counts for readiness.
    probed: bool,
    /// Whether its health is what probes found.
    known: bool,
    /// Which history it writes, where a check found a primary of PostgreSQL.
    primary: Option<Timeline>,
    standing: Standing,
    check: Option<HealthCheck>,
    prober: Option<AbortHandle>,
    ejections: EjectionTracker,
    /// When it came back, while it may still be starting slowly.
    back_since: Option<Instant>,
    /// Whether its condition was noted before; what it begins with is no change.
    is_settled: bool,
}

impl BackendRecord {
    fn new() -> Self {
        Self {
            health: Health::Unhealthy,
            probed: false,
            known: false,
            primary: None,
            standing: Standing::Unopposed,
            check: None,
            prober: None,
            ejections: EjectionTracker::default(),
            back_since: None,
            is_settled: false,
        }
    }
}

impl Drop for BackendRecord {
    fn drop(&mut self) {
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
    }
}

impl Upstreams {
    /// Knows nothing yet. Must be made within the control plane's runtime.
    pub(super) fn new(shared: Arc<Shared>, state_file: Option<&Path>) -> Self {
        let (verdict_sender, verdicts) = mpsc::channel(WAITING_MAX);
        let (resolved_sender, resolved) = mpsc::channel(WAITING_MAX);
        Self {
            names: Names::new(Arc::clone(&shared), resolved_sender),
            shared,
            records: HashMap::new(),
            resolved,
            verdicts,
            verdict_sender,
            probe_places: Arc::new(Semaphore::new(PROBES_MAX)),
            clusters: Clusters::default(),
            primaries: HashMap::new(),
            kept_timelines: KeptTimelines::open(state_file),
            backends_ever: 0,
            upstreams_ever: 0,
        }
    }

    /// The upstreams of a configuration, in its order. What has the same name and address as
    /// before keeps its health, counts, connections and round-robin position.
    pub(super) fn configured(
        &mut self,
        configs: &[config::Upstream],
        ttl_max: Duration,
    ) -> Vec<Upstream> {
        self.names.keep_for(ttl_max);
        let backends = configs.iter().flat_map(|config| &config.backends);
        self.names.follow(backends.map(|backend| &backend.addr));
        let before = self.shared.snapshot.load_full();
        let mut upstreams = Vec::with_capacity(configs.len());
        for config in configs {
            let old = before
                .upstreams
                .iter()
                .find(|old| old.name() == config.name);
            upstreams.push(self.with_members(old, Arc::new(config.clone())));
        }
        self.forget_all_but(&upstreams);
        self.folded(&upstreams)
    }

    /// Waits for something that changes upstreams, and publishes them anew. Loses nothing when it
    /// is dropped while it waits.
    pub(super) async fn change(&mut self) {
        let due = self.due(Instant::now());
        let due = async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(verdict) = self.verdicts.recv() => self.note_all(verdict),
            Some(resolved) = self.resolved.recv() => return self.rename(resolved),
            () = self.shared.suspects.notified() => {
                if self.eject() == 0 {
                    return;
                }
            }
            () = due => {}
        }
        self.publish();
    }

    /// Notes a verdict, and those that wait behind it: one snapshot tells them all. At most as many
    /// as the channel holds, so that a publish is never far.
    fn note_all(&mut self, first: Verdict) {
        self.note(&first);
        for _ in 0..WAITING_MAX {
            match self.verdicts.try_recv() {
                Ok(verdict) => self.note(&verdict),
                Err(_none) => return,
            }
        }
    }

    /// Publishes the snapshot anew with the backends that are available now.
    fn publish(&mut self) {
        let current = self.shared.snapshot.load_full();
        let upstreams = self.folded(&current.upstreams);
        self.replace(&current, upstreams);
    }

    /// Publishes the snapshot anew with the addresses that a name has now.
    fn rename(&mut self, resolved: Resolved) {
        self.names.note(resolved);
        let current = self.shared.snapshot.load_full();
        let upstreams: Vec<Upstream> = current
            .upstreams
            .iter()
            .map(|old| self.with_members(Some(old), Arc::clone(&old.settings)))
            .collect();
        self.forget_all_but(&upstreams);
        let upstreams = self.folded(&upstreams);
        self.replace(&current, upstreams);
    }

    fn replace(&self, current: &Snapshot, upstreams: Vec<Upstream>) {
        self.publish_snapshot(Snapshot {
            upstreams: upstreams.into(),
            ..current.clone()
        });
    }

    /// Publishes the snapshot of another configuration.
    pub(super) fn publish_configured(
        &self,
        config: &Config,
        listeners: ListenerSettings,
        upstreams: Vec<Upstream>,
    ) {
        let rate_limits = &self.shared.rate_limits;
        let snapshot = Snapshot::new(config, rate_limits, listeners, upstreams);
        let before = self.shared.snapshot.load_full();
        self.publish_snapshot(snapshot.after(&before, rate_limits.slots()));
    }

    /// Publishes upstreams with other weights or states.
    pub(super) fn publish_upstreams(&mut self, configs: &[config::Upstream], ttl_max: Duration) {
        let upstreams = self.configured(configs, ttl_max);
        let current = self.shared.snapshot.load_full();
        self.replace(&current, upstreams);
    }

    /// Publishes other registered clients.
    pub(super) fn publish_clients(&self, clients: Vec<Client>) {
        let before = self.shared.snapshot.load_full();
        let slots = self.shared.rate_limits.slots();
        let clients = ClientTable::new(clients, slots, &before.limits.clients);
        self.publish_snapshot(before.with_clients(clients));
    }

    /// Publishes a snapshot, and lets everyone know whom that concerns.
    fn publish_snapshot(&self, snapshot: Snapshot) {
        self.shared.snapshot.publish(snapshot);
        // Those who wait for a backend look again.
        for upstream in self.shared.snapshot.load().upstreams.iter() {
            upstream.queue.let_all_in();
        }
        self.tell_if_probed();
    }

    /// Readiness waits for the first probe of everything that was there at the start.
    fn tell_if_probed(&self) {
        let mut records = self.records.values();
        if self.names.is_complete() && records.all(|record| record.probed) {
            self.shared.probed();
        }
    }
}

/// Verdicts or addresses that wait to be noted; those who bring more wait, too.
const WAITING_MAX: usize = 1024;
/// Probes at a time: each takes a file and memory. With a timeout of 1 s, 1,000 dead backends are
/// probed in 4 s.
const PROBES_MAX: usize = 256;
