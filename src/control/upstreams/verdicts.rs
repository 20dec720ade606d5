//! What probes and failed requests say of backends.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    control::{prober::Verdict, upstreams::Upstreams},
    ejection::EjectionPolicy,
    state::{Backend, Condition, Member, Shared, Upstream},
};

impl Upstreams {
    pub(super) fn note(&mut self, verdict: &Verdict) {
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
        record.primary = verdict.primary;
        let Some((upstream, backend)) = find(&self.shared, verdict.backend) else {
            return;
        };
        let upstream = upstream.name();
        backend.stats.set_health(verdict.health);
        if flipped && !is_first {
            backend.stats.flipped(verdict.health);
        }
        if verdict.failure.is_some() {
            // It may be at another address by now.
            self.names.ask_again(&backend.name);
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
    pub(super) fn eject(&mut self) -> usize {
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
                if failures >= policy.consecutive_failures.get() {
                    self.names.ask_again(&member.backend.name);
                }
                if failures < policy.consecutive_failures.get()
                    || !may_eject(upstream, member, policy)
                {
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
                let latest = stats.latest_failure();
                tracing::warn!(upstream, %backend, failures, latest, ?time, "backend is ejected");
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
