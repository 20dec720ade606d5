//! Who may take requests now: folds addresses, checks, ejections, the operator's wishes and slow
//! starts into the published upstreams.
//!
//! Runs on the control plane's thread, and is the only one that changes upstreams. Probers tell it
//! verdicts, `names` tells it addresses, the workers tell it suspects.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU16,
    sync::Arc,
};

use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::{
    config::{self, AdminState, BackendAddr, HealthCheck, WeightedBackend},
    control::{
        names::{Names, Resolved},
        prober::{Prober, Verdict},
    },
    ejection::{EjectionPolicy, EjectionTracker},
    health::Health,
    state::{Backend, Condition, Member, Shared, Snapshot, Upstream, WHOLE_SHARE},
};

/// Keeps the published upstreams true.
#[derive(Debug)]
pub struct Upstreams {
    shared: Arc<Shared>,
    /// What is known of each backend beside its counts, by its id.
    records: HashMap<usize, Record>,
    names: Names,
    resolved: mpsc::Receiver<Resolved>,
    verdicts: mpsc::Receiver<Verdict>,
    /// Cloned for each prober.
    verdict_sender: mpsc::Sender<Verdict>,
    backends_ever: usize,
    upstreams_ever: usize,
}

/// What the control plane knows of a backend.
#[derive(Debug)]
struct Record {
    health: Health,
    /// Whether nothing more is waited for before it counts for readiness.
    probed: bool,
    /// Whether its health is what probes found.
    known: bool,
    check: Option<HealthCheck>,
    prober: Option<AbortHandle>,
    ejections: EjectionTracker,
    /// When it came back, while it may still be starting slowly.
    back_since: Option<Instant>,
}

impl Record {
    fn new() -> Self {
        Self {
            health: Health::Unhealthy,
            probed: false,
            known: false,
            check: None,
            prober: None,
            ejections: EjectionTracker::default(),
            back_since: None,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
    }
}

impl Upstreams {
    /// Knows nothing yet. Must be made within the control plane's runtime.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (verdict_sender, verdicts) = mpsc::channel(WAITING_MAX);
        let (resolved_sender, resolved) = mpsc::channel(WAITING_MAX);
        Self {
            shared,
            records: HashMap::new(),
            names: Names::new(resolved_sender),
            resolved,
            verdicts,
            verdict_sender,
            backends_ever: 0,
            upstreams_ever: 0,
        }
    }

    /// The upstreams of a configuration, in its order. What has the same name and address as
    /// before keeps its health, counts, connections and round-robin position.
    pub(super) fn configured(&mut self, configs: &[config::Upstream]) -> Vec<Upstream> {
        let hosts = configs.iter().flat_map(|config| &config.backends);
        let names = hosts.filter(|backend| backend.addr.ip().is_none());
        self.names
            .follow(names.map(|backend| backend.addr.host.as_str()));
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
            Some(verdict) = self.verdicts.recv() => self.note(&verdict),
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
    pub(super) fn publish_configured(&self, snapshot: Snapshot) {
        let before = self.shared.snapshot.load_full();
        self.publish_snapshot(snapshot.after(&before));
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

/// Membership.
impl Upstreams {
    fn with_members(
        &mut self,
        old: Option<&Upstream>,
        settings: Arc<config::Upstream>,
    ) -> Upstream {
        // A connection that other authorities vouched for must not be kept.
        let old_members = old.filter(|old| old.settings.tls == settings.tls);
        let old_members = old_members.map(|old| Arc::clone(&old.members));
        let upstream = match old {
            Some(old) => old.with_settings(settings),
            None => {
                self.upstreams_ever += 1;
                Upstream::new(self.upstreams_ever, settings)
            }
        };
        let mut members = Vec::new();
        for configured in &upstream.settings.backends {
            for addr in self.names.addrs(&configured.addr) {
                let is_same = |member: &&Member| {
                    member.backend.name == configured.addr && member.backend.addr == addr
                };
                let known = old_members
                    .as_ref()
                    .and_then(|old| old.iter().find(is_same));
                let backend = match known {
                    Some(member) => Arc::clone(&member.backend),
                    None => self.new_backend(&upstream, &configured.addr, addr),
                };
                self.check(&upstream, configured, &backend);
                members.push(Member {
                    backend,
                    weight: configured.weight,
                    admin_state: configured.admin_state,
                });
            }
        }
        if let Some(old) = old_members.filter(|_| members.is_empty()) {
            // Its names are not known yet: whoever was there serves on.
            members.extend(old.iter().cloned());
        }
        members.truncate(MEMBERS_MAX);
        upstream.with_members(members)
    }

    fn new_backend(
        &mut self,
        upstream: &Upstream,
        name: &BackendAddr,
        addr: std::net::SocketAddr,
    ) -> Arc<Backend> {
        self.backends_ever += 1;
        let queue = Arc::clone(&upstream.queue);
        Arc::new(Backend::new(self.backends_ever, name.clone(), addr, queue))
    }

    /// Starts, stops or restarts a backend's prober.
    fn check(&mut self, upstream: &Upstream, configured: &WeightedBackend, backend: &Arc<Backend>) {
        let wanted = upstream.settings.health_check.as_ref();
        let is_disabled = configured.admin_state == AdminState::Disabled;
        let check = wanted.filter(|_| !is_disabled).cloned();
        let record = self.records.entry(backend.id).or_insert_with(Record::new);
        if record.prober.is_some() && record.check == check {
            return;
        }
        if let Some(prober) = record.prober.take() {
            prober.abort();
        }
        record.check.clone_from(&check);
        let Some(check) = check else {
            // Without checks it counts as healthy; disabled, it is not asked.
            record.health = match wanted {
                None => Health::Healthy,
                Some(_) => Health::Unhealthy,
            };
            (record.probed, record.known) = (true, false);
            backend.stats.set_health(record.health);
            return;
        };
        if !record.known {
            (record.health, record.probed) = (Health::Unhealthy, false);
            backend.stats.set_health(record.health);
        }
        let prober = Prober {
            upstream: upstream.clone(),
            backend: Arc::clone(backend),
            check,
            known: record.known.then_some(record.health),
            verdicts: self.verdict_sender.clone(),
        };
        record.prober = Some(tokio::spawn(prober.run()).abort_handle());
    }

    fn forget_all_but(&mut self, upstreams: &[Upstream]) {
        let members = upstreams
            .iter()
            .flat_map(|upstream| upstream.members.iter());
        let ids: HashSet<usize> = members.map(|member| member.backend.id).collect();
        self.records.retain(|id, _| ids.contains(id));
    }
}

/// Health and ejection.
impl Upstreams {
    fn note(&mut self, verdict: &Verdict) {
        let Some(record) = self.records.get_mut(&verdict.backend) else {
            // It went while its last probe was under way.
            return;
        };
        if record.prober.is_none() {
            // It is not checked any more; this one was under way.
            return;
        }
        record.probed = true;
        let is_first = !std::mem::replace(&mut record.known, true);
        let flipped = record.health != verdict.health;
        record.health = verdict.health;
        let Some((upstream, backend)) = find(&self.shared, verdict.backend) else {
            return;
        };
        let upstream = upstream.name();
        backend.stats.set_health(verdict.health);
        if flipped && !is_first {
            backend.stats.flipped(verdict.health);
        }
        match (&verdict.failure, flipped) {
            (None, true) => {
                // Newer evidence than whatever it was ejected for.
                record.ejections.end(Instant::now().into_std());
                backend.stats.forgive();
                tracing::info!(upstream, %backend, "backend is healthy");
            }
            (Some(failure), true) => {
                tracing::warn!(upstream, %backend, %failure, "backend is unhealthy");
            }
            (Some(failure), false) if is_first => {
                tracing::warn!(upstream, %backend, %failure, "backend is unhealthy from the start");
            }
            (_, false) => {}
        }
    }

    /// Ejects the backends that failed too often, as far as their upstreams bear it. Returns how
    /// many.
    fn eject(&mut self) -> usize {
        let now = Instant::now().into_std();
        let snapshot = self.shared.snapshot.load_full();
        let mut ejected = 0;
        for upstream in snapshot.upstreams.iter() {
            let Some(policy) = &upstream.settings.ejection else {
                continue;
            };
            for member in upstream.members.iter() {
                let stats = &member.backend.stats;
                let failures = stats.failures_in_a_row();
                if failures < policy.failures.get() || !may_eject(upstream, member, policy) {
                    continue;
                }
                let Some(record) = self.records.get_mut(&member.backend.id) else {
                    continue;
                };
                let time = record.ejections.eject(policy, now);
                stats.ejected();
                // The next one must know.
                stats.set_condition(Condition::Ejected);
                ejected += 1;
                let (upstream, backend) = (upstream.name(), &member.backend);
                tracing::warn!(upstream, %backend, failures, ?time, "backend is ejected");
            }
        }
        ejected
    }
}

/// Whether a backend may be left alone: it takes requests, others do, too, and not too many are
/// left alone already.
fn may_eject(upstream: &Upstream, member: &Member, policy: &EjectionPolicy) -> bool {
    let count = |wanted: Condition| {
        let members = upstream.members.iter();
        let conditions = members.map(|member| member.backend.stats.condition());
        conditions.filter(|&condition| condition == wanted).count()
    };
    member.backend.stats.condition() == Condition::Available
        && count(Condition::Available) >= 2
        && policy.has_room(upstream.members.len(), count(Condition::Ejected))
}

/// Availability.
impl Upstreams {
    /// The same upstreams with those backends available that are so now.
    fn folded(&mut self, upstreams: &[Upstream]) -> Vec<Upstream> {
        let now = Instant::now();
        for upstream in upstreams {
            for member in upstream.members.iter() {
                self.settle(upstream, member, now);
            }
        }
        let before = self.shared.snapshot.load_full();
        let fold = |upstream: &Upstream| {
            let folded = upstream.with_available(|member| self.share(upstream, member, now));
            let was_up = |old: &Upstream| old.id == upstream.id && !old.is_down();
            if folded.is_down() && before.upstreams.iter().any(was_up) {
                tracing::error!(upstream = upstream.name(), "no backend is available");
            }
            folded
        };
        upstreams.iter().map(fold).collect()
    }

    /// Notes a backend's condition, and when it came back.
    fn settle(&mut self, upstream: &Upstream, member: &Member, now: Instant) {
        let Some(record) = self.records.get_mut(&member.backend.id) else {
            return;
        };
        let stats = &member.backend.stats;
        let (before, condition) = (stats.condition(), record.condition(upstream, member, now));
        let is_back = before != Condition::Available && condition == Condition::Available;
        // What is there when the process begins is no newcomer.
        if is_back && self.shared.is_probed() {
            record.back_since = Some(now);
        }
        let is_over =
            |since: Instant| now.saturating_duration_since(since) >= upstream.settings.slow_start;
        if condition != Condition::Available || record.back_since.is_some_and(is_over) {
            record.back_since = None;
        }
        if before == Condition::Ejected && condition == Condition::Available {
            if let Some(policy) = &upstream.settings.ejection {
                stats.on_probation(policy.failures.get());
            }
            let (upstream, backend) = (upstream.name(), &member.backend);
            tracing::info!(upstream, %backend, "ejected backend is tried again");
        }
        let is_operators =
            |condition| matches!(condition, Condition::Draining | Condition::Disabled);
        if before != condition && (is_operators(before) || is_operators(condition)) {
            let (upstream, backend) = (upstream.name(), &member.backend);
            let (from, to) = (before.label(), condition.label());
            tracing::info!(upstream, %backend, from, to, "operator changed a backend");
        }
        stats.set_condition(condition);
    }

    /// Which tenths of its weight a member gets now.
    fn share(&self, upstream: &Upstream, member: &Member, now: Instant) -> Option<NonZeroU16> {
        let record = self.records.get(&member.backend.id)?;
        if member.backend.stats.condition() != Condition::Available {
            let members = upstream.members.iter();
            let mut conditions = members.map(|member| member.backend.stats.condition());
            let somebody_is = conditions.any(|condition| condition == Condition::Available);
            let is_resort = !somebody_is && self.is_last_resort(member, record);
            return is_resort.then_some(WHOLE_SHARE);
        }
        let Some(since) = record.back_since else {
            return Some(WHOLE_SHARE);
        };
        let step = upstream.settings.slow_start / u32::from(WHOLE_SHARE.get());
        let steps = now.saturating_duration_since(since).as_nanos() / step.as_nanos().max(1);
        let tenths = u16::try_from(steps).unwrap_or(u16::MAX).saturating_add(1);
        NonZeroU16::new(tenths.min(WHOLE_SHARE.get()))
    }

    /// Whether a backend is tried when no other takes requests: one that is only left alone for its
    /// failures, or a newcomer that a reload or a name brought and nobody knows anything bad of.
    fn is_last_resort(&self, member: &Member, record: &Record) -> bool {
        match member.backend.stats.condition() {
            Condition::Ejected => true,
            Condition::Unhealthy => !record.known && self.shared.is_probed(),
            Condition::Available | Condition::Draining | Condition::Disabled => false,
        }
    }

    /// When time alone changes something: an ejection ends, or a slow starter gets more.
    fn due(&self, now: Instant) -> Option<Instant> {
        let snapshot = self.shared.snapshot.load();
        let members = snapshot.upstreams.iter().flat_map(|upstream| {
            let members = upstream.members.iter();
            members.map(move |member| (upstream, member))
        });
        let dues = members.filter_map(|(upstream, member)| {
            let record = self.records.get(&member.backend.id)?;
            let ejection = record.ejections.ends_at(now.into_std());
            let step = record.back_since.map(|since| {
                let step = upstream.settings.slow_start / u32::from(WHOLE_SHARE.get());
                let steps =
                    now.saturating_duration_since(since).as_nanos() / step.as_nanos().max(1);
                since + step * (u32::try_from(steps).unwrap_or(0) + 1)
            });
            [ejection.map(Instant::from_std), step]
                .into_iter()
                .flatten()
                .min()
        });
        dues.min()
    }
}

impl Record {
    fn condition(&self, upstream: &Upstream, member: &Member, now: Instant) -> Condition {
        let ejects = upstream.settings.ejection.is_some();
        let is_out = ejects && self.ejections.ends_at(now.into_std()).is_some();
        match member.admin_state {
            AdminState::Draining => Condition::Draining,
            AdminState::Disabled => Condition::Disabled,
            AdminState::Enabled if self.health == Health::Unhealthy => Condition::Unhealthy,
            AdminState::Enabled if is_out => Condition::Ejected,
            AdminState::Enabled => Condition::Available,
        }
    }
}

fn find(shared: &Shared, id: usize) -> Option<(Upstream, Arc<Backend>)> {
    let snapshot = shared.snapshot.load();
    snapshot.upstreams.iter().find_map(|upstream| {
        let member = upstream
            .members
            .iter()
            .find(|member| member.backend.id == id)?;
        Some((upstream.clone(), Arc::clone(&member.backend)))
    })
}

/// Verdicts or addresses that wait to be noted; those who bring more wait, too.
const WAITING_MAX: usize = 64;
/// Backends of one upstream, as many as an index can tell apart.
const MEMBERS_MAX: usize = 1 << 16;
