//! What the metrics page tells of the load balancer's responses, by upstream.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::{
    control::metrics::{Shards, write_histogram},
    state::ResponseStats,
};

impl Shards {
    /// Counts by class of status, and durations. Requests that no upstream was chosen for have an
    /// empty label.
    pub(super) fn responses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot.load_full();
        let unrouted = self.shared.workers().iter();
        let unrouted: Vec<&ResponseStats> = unrouted.map(|worker| &worker.stats.unrouted).collect();
        let routed = snapshot.upstreams.iter();
        let routed =
            routed.map(|upstream| (upstream.name(), upstream.all_responses().iter().collect()));
        let groups: Vec<(&str, Vec<&ResponseStats>)> = routed.chain([("", unrouted)]).collect();
        let help = "Responses of the HTTP load balancer, by class of status";
        let mut metric =
            encoder.encode_descriptor("http_responses", help, None, MetricType::Counter)?;
        for (upstream, stats) in &groups {
            for (class, label) in (1..).zip(["1xx", "2xx", "3xx", "4xx", "5xx"]) {
                let count = stats
                    .iter()
                    .map(|stats| stats.of_class(class).get())
                    .sum::<u64>();
                let labels = [("upstream", *upstream), ("class", label)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let name = "http_request_duration_seconds";
        let help = "Time from a request's head to its response's";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (upstream, stats) in &groups {
            let labels = [("upstream", *upstream)];
            let durations = stats.iter().map(|stats| &stats.duration);
            write_histogram(metric.encode_family(&labels)?, durations)?;
        }
        Ok(())
    }
}
