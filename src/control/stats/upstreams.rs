//! Statistics of listeners and upstreams.

use crate::{
    balance::Policy,
    control::stats::{ListenerView, Metered, Recorder, UpstreamStats},
    state::{Condition, ResponseStats, SessionStats, Snapshot, Upstream},
};

/// What the workers have counted of an upstream.
struct Counts {
    requests: u64,
    by_class: Vec<u64>,
    received: u64,
    sent: u64,
}

impl Recorder {
    pub(super) fn listeners(&mut self) -> Vec<ListenerView> {
        let snapshot = self.shared.snapshot.load_full();
        let listeners = self.shared.listeners.list();
        let views = listeners.iter().map(|listener| {
            let accepted = listener.stats.accepted();
            let key = Metered::Accepted(listener.id);
            ListenerView {
                service: listener.service,
                address: listener.addr.to_string(),
                upstreams: upstreams_of(&snapshot, listener.id),
                connections: listener.stats.open(),
                accepted,
                accepted_per_second: self.meter.per_second(key, accepted),
            }
        });
        views.collect()
    }

    pub(super) fn upstreams(&mut self) -> Vec<UpstreamStats> {
        let snapshot = self.shared.snapshot.load_full();
        let upstreams = snapshot.upstreams.iter();
        upstreams.map(|upstream| self.upstream(upstream)).collect()
    }

    fn upstream(&mut self, upstream: &Upstream) -> UpstreamStats {
        let counts = match upstream.carries_sessions() {
            true => sessions(upstream.all_sessions()),
            false => responses(upstream.all_responses()),
        };
        let id = upstream.id;
        let errors = counts.by_class.last().copied().unwrap_or(0);
        let backends = self.backends(upstream);
        let is_available = |condition| condition == Condition::Available.label();
        UpstreamStats {
            name: upstream.name().to_owned(),
            kind: match upstream.carries_sessions() {
                true => "tcp",
                false => "http",
            },
            balance: match upstream.settings.policy {
                Policy::RoundRobin => "round_robin",
                Policy::LeastConnections => "least_connections",
                Policy::RandomTwo => "random_two",
                Policy::ConsistentHash { .. } => "consistent_hash",
            },
            available: backends
                .iter()
                .filter(|backend| is_available(backend.condition))
                .count(),
            in_flight: backends.iter().map(|backend| backend.in_flight).sum(),
            queue: upstream.queue.waiting(),
            queue_max: upstream.settings.queue.length,
            requests: counts.requests,
            requests_per_second: self
                .meter
                .per_second(Metered::Requests(id), counts.requests),
            errors_per_second: self.meter.per_second(Metered::Errors(id), errors),
            by_class: counts.by_class,
            bytes_received: counts.received,
            received_per_second: self
                .meter
                .per_second(Metered::Received(id), counts.received),
            bytes_sent: counts.sent,
            sent_per_second: self.meter.per_second(Metered::Sent(id), counts.sent),
            backends,
        }
    }
}

/// The names of the upstreams that a listener leads to, each once.
fn upstreams_of(snapshot: &Snapshot, listener: usize) -> Vec<String> {
    let http = snapshot.http.iter().find(|http| http.id == listener);
    let routes = http.into_iter().flat_map(|http| {
        let router = &http.settings.router;
        (0..)
            .map_while(|index| router.get(index))
            .map(|route| route.upstream)
    });
    let tcp = snapshot.tcp.iter().filter(|tcp| tcp.id == listener);
    let mut indices: Vec<usize> = routes.chain(tcp.map(|tcp| tcp.settings.upstream)).collect();
    indices.sort_unstable();
    indices.dedup();
    let names = indices
        .into_iter()
        .filter_map(|index| snapshot.upstreams.get(index));
    names.map(|upstream| upstream.name().to_owned()).collect()
}

fn responses(workers: &[ResponseStats]) -> Counts {
    let of_class = |class| -> u64 {
        let counts = workers.iter().map(|stats| stats.of_class(class).get());
        counts.sum()
    };
    let by_class: Vec<u64> = (1..=5).map(of_class).collect();
    Counts {
        requests: by_class.iter().sum(),
        by_class,
        received: workers.iter().map(|stats| stats.received.get()).sum(),
        sent: workers.iter().map(|stats| stats.sent.get()).sum(),
    }
}

fn sessions(workers: &[SessionStats]) -> Counts {
    Counts {
        requests: workers.iter().map(|stats| stats.sessions.get()).sum(),
        by_class: Vec::new(),
        received: workers.iter().map(|stats| stats.received.get()).sum(),
        sent: workers.iter().map(|stats| stats.sent.get()).sum(),
    }
}
