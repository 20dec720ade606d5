//! What the metrics page tells of the TCP load balancer's sessions.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::{
    control::metrics::{Shards, family},
    state::{Cause, Counter, SessionStats, Upstream},
};

impl Shards {
    /// Sessions and bytes by upstream, and what went wrong.
    pub(super) fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot.load_full();
        let upstreams = snapshot.upstreams.iter();
        let upstreams: Vec<&Upstream> = upstreams
            .filter(|upstream| upstream.carries_sessions())
            .collect();
        let help = "Sessions of the TCP load balancer that got a backend";
        let mut metric =
            encoder.encode_descriptor("tcp_sessions", help, None, MetricType::Counter)?;
        for upstream in &upstreams {
            let labels = [("upstream", upstream.name())];
            let count = sum(upstream, |stats| &stats.sessions);
            ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
        }
        let help = "Bytes of sessions, by the side that they came from";
        let mut metric = encoder.encode_descriptor("tcp_bytes", help, None, MetricType::Counter)?;
        for upstream in &upstreams {
            let sides = [
                ("client", sum(upstream, |stats| &stats.received)),
                ("backend", sum(upstream, |stats| &stats.sent)),
            ];
            for (side, bytes) in sides {
                let labels = [("upstream", upstream.name()), ("from", side)];
                ConstCounter::new(bytes).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Sessions that went wrong, by cause";
        let counts =
            Cause::ALL.map(|cause| (cause.label(), self.sum(|stats| stats.session_faults(cause))));
        family(encoder, "tcp_faults", help, "cause", counts)?;
        let help = "Further backends that sessions tried, by the cause of the failure before";
        let counts = Cause::ALL.map(|cause| {
            (
                cause.label(),
                self.sum(|stats| stats.session_retries(cause)),
            )
        });
        family(encoder, "tcp_retries", help, "cause", counts)
    }
}

fn sum(upstream: &Upstream, counter: impl Fn(&SessionStats) -> &Counter) -> u64 {
    let workers = upstream.all_sessions().iter();
    workers.map(|stats| counter(stats).get()).sum()
}
