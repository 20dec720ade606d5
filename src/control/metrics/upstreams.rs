//! What the metrics page tells of upstreams and their backends, as the published snapshot has them.

use std::{collections::BTreeSet, fmt};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    control::metrics::Shards,
    health::Health,
    state::{BackendStats, Condition, Upstream},
};

impl Shards {
    /// What is told of upstreams and their backends.
    pub(super) fn upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &BY_BACKEND {
            self.by_backend(encoder, metric)?;
        }
        self.conditions(encoder)?;
        let help = "Available backends; 0 also where no address is known";
        self.by_upstream(encoder, "upstream_available", help, |upstream| {
            let members = upstream.members.iter();
            let conditions = members.map(|member| member.backend.stats.condition());
            conditions
                .filter(|&condition| condition == Condition::Available)
                .count()
        })?;
        self.primaries(encoder)?;
        let help = "Requests that wait for a backend";
        self.by_upstream(encoder, "upstream_queue", help, |upstream| {
            upstream.queue.waiting()
        })?;
        self.name_lookups(encoder)
    }

    /// Servers that say that they are the primary, where checks ask for that.
    fn primaries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "postgres_primaries";
        let help =
            "Servers of PostgreSQL that say that they are the primary; more than 1 is an alarm";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let snapshot = self.shared.snapshot.load_full();
        let upstreams = snapshot.upstreams.iter();
        for upstream in upstreams.filter(|upstream| upstream.finds_primary()) {
            let members = upstream.members.iter();
            let healths = members.map(|member| member.backend.stats.health());
            let primaries = healths.filter(|&health| health == Health::Healthy).count();
            let labels = [("upstream", upstream.name().to_owned())];
            let value = i64::try_from(primaries).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn by_upstream(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Upstream) -> usize,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for upstream in self.shared.snapshot.load_full().upstreams.iter() {
            let labels = [("upstream", upstream.name().to_owned())];
            let value = i64::try_from(value(upstream)).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn name_lookups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "name_lookup_failures";
        let help = "Look-ups of a backend's name that found nothing";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for upstream in self.shared.snapshot.load_full().upstreams.iter() {
            let backends = upstream.settings.backends.iter();
            let named = backends.filter(|backend| backend.addr.ip().is_none());
            // Once, however many of its ports are backends.
            let hosts: BTreeSet<&str> = named.map(|backend| backend.addr.host.as_str()).collect();
            for host in hosts {
                let labels = [("upstream", upstream.name()), ("host", host)];
                let failures = self.shared.name_lookups.failures(host);
                ConstCounter::new(failures).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Which backend is in which condition: 1 for the one that it is in.
    fn conditions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 for the condition that a backend is in";
        let mut metric =
            encoder.encode_descriptor("backend_condition", help, None, MetricType::Gauge)?;
        for upstream in self.shared.snapshot.load_full().upstreams.iter() {
            for member in upstream.members.iter() {
                let condition = member.backend.stats.condition();
                let labels = [
                    ("upstream", upstream.name().to_owned()),
                    ("backend", member.backend.to_string()),
                    ("condition", condition.label().to_owned()),
                ];
                ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn by_backend(&self, encoder: &mut DescriptorEncoder<'_>, told: &BackendMetric) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(told.name, told.help, None, told.kind)?;
        for upstream in self.shared.snapshot.load_full().upstreams.iter() {
            for member in upstream.members.iter() {
                let labels = [
                    ("upstream", upstream.name().to_owned()),
                    ("backend", member.backend.to_string()),
                ];
                let value = (told.value)(&member.backend.stats);
                let metric = metric.encode_family(&labels)?;
                if matches!(told.kind, MetricType::Counter) {
                    ConstCounter::new(value).encode(metric)?;
                } else {
                    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
                }
            }
        }
        Ok(())
    }
}

/// One thing that is told of each backend.
struct BackendMetric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: fn(&BackendStats) -> u64,
}

/// What is told of each backend.
const BY_BACKEND: [BackendMetric; 10] = [
    BackendMetric {
        name: "backend_responses",
        help: "Response heads of a backend",
        kind: MetricType::Counter,
        value: BackendStats::responses,
    },
    BackendMetric {
        name: "backend_server_errors",
        help: "Response heads of a backend with a status of the 500s",
        kind: MetricType::Counter,
        value: BackendStats::server_errors,
    },
    BackendMetric {
        name: "backend_failures",
        help: "Attempts at a backend that got no response",
        kind: MetricType::Counter,
        value: BackendStats::failures,
    },
    BackendMetric {
        name: "backend_in_flight",
        help: "Requests in flight at a backend",
        kind: MetricType::Gauge,
        value: |stats| stats.in_flight() as u64,
    },
    BackendMetric {
        name: "backend_available",
        help: "1 if a backend takes requests",
        kind: MetricType::Gauge,
        value: |stats| u64::from(stats.condition() == Condition::Available),
    },
    BackendMetric {
        name: "backend_healthy",
        help: "1 if a backend passes its checks",
        kind: MetricType::Gauge,
        value: |stats| u64::from(stats.health() == Health::Healthy),
    },
    BackendMetric {
        name: "backend_ejected",
        help: "1 while a backend is left alone because its answers failed",
        kind: MetricType::Gauge,
        value: |stats| u64::from(stats.condition() == Condition::Ejected),
    },
    BackendMetric {
        name: "backend_ejections",
        help: "Times that a backend was ejected",
        kind: MetricType::Counter,
        value: BackendStats::ejections,
    },
    BackendMetric {
        name: "backend_recoveries",
        help: "Times that the checks found a backend healthy again",
        kind: MetricType::Counter,
        value: |stats| stats.flips(Health::Healthy),
    },
    BackendMetric {
        name: "backend_falls",
        help: "Times that the checks found a backend unhealthy",
        kind: MetricType::Counter,
        value: |stats| stats.flips(Health::Unhealthy),
    },
];
