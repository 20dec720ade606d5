//! Statistics of backends.

use std::num::NonZeroU32;

use tokio::time::Duration;

use crate::{
    control::stats::{BackendView, CheckView, Metered, Recorder},
    health::Health,
    state::{Check, LatencyCounts, Member, Upstream},
};

impl Recorder {
    /// The backends of an upstream, in its order.
    pub(super) fn backends(&mut self, upstream: &Upstream) -> Vec<BackendView> {
        let limit = upstream.settings.max_requests;
        let members = upstream.members.iter();
        let mut views: Vec<BackendView> =
            members.map(|member| self.backend(member, limit)).collect();
        let total: f64 = views.iter().map(|view| view.responses_per_second).sum();
        for view in &mut views {
            view.share = (total > 0.0).then_some(view.responses_per_second / total);
        }
        views
    }

    fn backend(&mut self, member: &Member, limit: Option<NonZeroU32>) -> BackendView {
        let backend = &member.backend;
        let stats = &backend.stats;
        let id = backend.id;
        let (responses, failures) = (stats.responses(), stats.failures());
        let checked = stats.checks.get();
        let counts = stats.latency.counts();
        let before = self.latencies.entry(id);
        let [oldest, _] = before.or_insert_with(|| [counts.clone(), counts.clone()]);
        let recent = counts.since(oldest);
        BackendView {
            id: backend.name.to_string(),
            address: backend.addr.to_string(),
            number: id,
            condition: stats.condition().label(),
            since_ms: checked.since.map(|since| self.unix_ms(since)),
            state: member.admin_state.word(),
            weight: member.weight.get(),
            is_backup: member.is_backup,
            in_flight: stats.in_flight(),
            in_flight_max: limit.map(NonZeroU32::get),
            responses,
            responses_per_second: self.meter.per_second(Metered::Responses(id), responses),
            share: None,
            server_errors: stats.server_errors(),
            failures,
            failures_per_second: self.meter.per_second(Metered::Failures(id), failures),
            ejections: stats.ejections(),
            falls: stats.flips(Health::Unhealthy),
            p50_ms: quantile_ms(&recent, 0.5),
            p99_ms: quantile_ms(&recent, 0.99),
            check: checked.latest.map(|check| self.check(&check)),
        }
    }

    fn check(&self, check: &Check) -> CheckView {
        CheckView {
            failure: check.failure.clone(),
            took_ms: ms(check.took),
            at_ms: self.unix_ms(check.at),
        }
    }

    /// Forgets the response times before the latest turn but one, and backends that are gone.
    pub(super) fn turn_latencies(&mut self) {
        self.turn_redirect_latency();
        let snapshot = self.shared.snapshot.load_full();
        let upstreams = snapshot.upstreams.iter();
        let members = upstreams.flat_map(|upstream| upstream.members.iter());
        let turned = members.map(|member| {
            let counts: LatencyCounts = member.backend.stats.latency.counts();
            let before = self.latencies.remove(&member.backend.id);
            let [_, latest] = before.unwrap_or_else(|| [counts.clone(), counts.clone()]);
            (member.backend.id, [latest, counts])
        });
        self.latencies = turned.collect();
    }
}

fn quantile_ms(counts: &LatencyCounts, share: f64) -> Option<f64> {
    counts.quantile(share).map(ms)
}

fn ms(duration: Duration) -> f64 {
    // To a microsecond.
    (duration.as_secs_f64() * 1e6).round() / 1000.0
}
