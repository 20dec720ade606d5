//! Which backends take requests now, and with which share.

use std::num::NonZeroU16;

use tokio::time::Instant;

use crate::{
    config::AdminState,
    control::upstreams::{
        BackendRecord, Upstreams,
        primaries::{Standing, is_unprobed},
    },
    health::Health,
    state::{Condition, Member, Upstream, WHOLE_SHARE},
};

impl Upstreams {
    /// The same upstreams with those backends available that are so now.
    pub(super) fn folded(&mut self, upstreams: &[Upstream]) -> Vec<Upstream> {
        let now = Instant::now();
        self.choose_primaries(upstreams);
        for upstream in upstreams {
            for member in upstream.members.iter() {
                self.settle(upstream, member, now);
            }
        }
        let before = self.shared.snapshot.load_full();
        let fold = |upstream: &Upstream| {
            let folded = upstream
                .with_available(|member| self.share(upstream, member, now))
                .with_unprobed(
                    upstream
                        .members
                        .iter()
                        .any(|member| is_unprobed(&self.records, member)),
                );
            let was_up = |old: &Upstream| old.id == upstream.id && !old.is_down();
            if folded.is_down() && before.upstreams.iter().any(was_up) {
                tracing::error!(upstream = upstream.name(), "no backend is available");
            }
            folded
        };
        upstreams.iter().map(fold).collect()
    }

    /// Notes a backend's condition, and when it came back.
    pub(super) fn settle(&mut self, upstream: &Upstream, member: &Member, now: Instant) {
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
                stats.on_probation(policy.consecutive_failures.get());
            }
            let (upstream, backend) = (upstream.name(), &member.backend);
            tracing::info!(upstream, %backend, "ejected backend is tried again");
        }
        let is_operators =
            |condition| matches!(condition, Condition::Draining | Condition::Disabled);
        let is_first = !std::mem::replace(&mut record.is_settled, true);
        let is_changed = before != condition && !is_first;
        if is_changed && (is_operators(before) || is_operators(condition)) {
            let (upstream, backend) = (upstream.name(), &member.backend);
            let (from, to) = (before.label(), condition.label());
            tracing::info!(upstream, %backend, from, to, "operator changed a backend");
        }
        if before != condition || is_first {
            stats.checks.changed(now);
        }
        stats.set_condition(condition);
    }

    /// Which tenths of its weight a member gets now.
    pub(super) fn share(
        &self,
        upstream: &Upstream,
        member: &Member,
        now: Instant,
    ) -> Option<NonZeroU16> {
        let record = self.records.get(&member.backend.id)?;
        if member.backend.stats.condition() != Condition::Available {
            let members = upstream.members.iter();
            let mut conditions = members.map(|member| member.backend.stats.condition());
            let somebody_is = conditions.any(|condition| condition == Condition::Available);
            let is_resort =
                !somebody_is && !upstream.finds_primary() && self.is_last_resort(member, record);
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
    pub(super) fn is_last_resort(&self, member: &Member, record: &BackendRecord) -> bool {
        match member.backend.stats.condition() {
            Condition::Ejected => true,
            Condition::Unhealthy => !record.known && self.shared.is_probed(),
            Condition::Available
            | Condition::Draining
            | Condition::Disabled
            | Condition::SecondPrimary => false,
        }
    }

    /// When time alone changes something: an ejection ends, or a slow starter gets more.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
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

impl BackendRecord {
    fn condition(&self, upstream: &Upstream, member: &Member, now: Instant) -> Condition {
        let ejects = upstream.settings.ejection.is_some();
        let is_out = ejects && self.ejections.ends_at(now.into_std()).is_some();
        match member.admin_state {
            AdminState::Draining => Condition::Draining,
            AdminState::Disabled => Condition::Disabled,
            AdminState::Enabled if self.health == Health::Unhealthy => Condition::Unhealthy,
            AdminState::Enabled if self.standing == Standing::Undecided => Condition::Unhealthy,
            AdminState::Enabled if self.standing == Standing::PassedOver => {
                Condition::SecondPrimary
            }
            AdminState::Enabled if is_out => Condition::Ejected,
            AdminState::Enabled => Condition::Available,
        }
    }
}
