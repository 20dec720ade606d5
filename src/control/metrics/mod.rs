//! The metrics page: the workers' shards, summed when somebody asks.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};

use crate::{
    control::AccessLogs,
    redirect::{RejectReason, Target},
    state::{
        AcceptFault, Cause, CloseCause, Counter, DURATION_BOUNDS, DurationHistogram, Protocol,
        Shared, WorkerStats,
    },
};

mod format;
mod rate_limits;
mod responses;
mod sessions;
mod upstreams;

pub(super) use format::MetricsFormat;

/// Registers everything that Weir counts.
pub(super) fn registry(shared: Arc<Shared>, access_logs: AccessLogs) -> Registry {
    let mut registry = Registry::with_prefix("weir");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The running version", build);
    registry.register_collector(Box::new(Shards {
        shared,
        access_logs,
    }));
    registry
}

#[derive(Debug)]
struct Shards {
    shared: Arc<Shared>,
    access_logs: AccessLogs,
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.redirects(&mut encoder)?;
        self.rejected(&mut encoder)?;
        self.calls(&mut encoder)?;
        self.responses(&mut encoder)?;
        self.http(&mut encoder)?;
        self.sessions(&mut encoder)?;
        self.upstreams(&mut encoder)?;
        self.rate_limits(&mut encoder)?;
        self.connections(&mut encoder)?;
        self.accepting(&mut encoder)?;
        self.access_log(&mut encoder)?;
        self.reloads(&mut encoder)
    }
}

impl Shards {
    fn sum<'a>(&'a self, counter: impl Fn(&'a WorkerStats) -> &'a Counter) -> u64 {
        self.shared
            .workers()
            .iter()
            .map(|worker| counter(&worker.stats).get())
            .sum()
    }

    fn redirects(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = [("origin", Target::Origin), ("cdn", Target::Cdn)]
            .map(|(label, target)| (label, self.sum(|stats| stats.redirects(target))));
        family(
            encoder,
            "redirects",
            "Accepted redirect calls, by who the player was sent to",
            "target",
            counts,
        )
    }

    fn rejected(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = RejectReason::ALL
            .map(|reason| (reason.label(), self.sum(|stats| stats.rejected(reason))));
        family(
            encoder,
            "redirect_rejected",
            "Refused redirect calls, by reason",
            "reason",
            counts,
        )
    }

    fn calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let in_flight = i64::try_from(self.shared.calls_in_flight()).unwrap_or(i64::MAX);
        gauge(
            encoder,
            "calls_in_flight",
            "Calls that began and did not end yet",
            in_flight,
        )?;
        let help = "Time from a redirect call's head to its answer";
        self.durations(encoder, "call_duration_seconds", help, |stats| {
            &stats.call_duration
        })
    }

    fn durations<'a>(
        &'a self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        histogram: impl Fn(&'a WorkerStats) -> &'a DurationHistogram,
    ) -> fmt::Result {
        let histograms = self.shared.workers().iter();
        let histograms = histograms.map(|worker| histogram(&worker.stats));
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        write_histogram(metric, histograms)
    }

    fn http(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let faults = Cause::ALL.map(|cause| (cause.label(), self.sum(|stats| stats.faults(cause))));
        family(
            encoder,
            "http_faults",
            "Requests that went wrong, by cause",
            "cause",
            faults,
        )?;
        let retries =
            Cause::ALL.map(|cause| (cause.label(), self.sum(|stats| stats.retries(cause))));
        family(
            encoder,
            "http_retries",
            "Further attempts, by the cause that the one before failed by",
            "cause",
            retries,
        )?;
        let help = "Connections that switched to another protocol";
        let metric = encoder.encode_descriptor("http_upgrades", help, None, MetricType::Counter)?;
        ConstCounter::new(self.sum(|stats| &stats.upgrades)).encode(metric)
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Open client connections, by worker";
        let mut metric =
            encoder.encode_descriptor("connections_open", help, None, MetricType::Gauge)?;
        for (index, worker) in self.shared.workers().iter().enumerate() {
            let open = i64::try_from(worker.open_connections()).unwrap_or(i64::MAX);
            let labels = [("worker", index.to_string())];
            ConstGauge::new(open).encode(metric.encode_family(&labels)?)?;
        }
        let opened = Protocol::ALL.map(|protocol| {
            (
                protocol.label(),
                self.sum(|stats| stats.connections(protocol)),
            )
        });
        family(
            encoder,
            "connections",
            "Client connections, by protocol",
            "protocol",
            opened,
        )?;
        let closed =
            CloseCause::ALL.map(|cause| (cause.label(), self.sum(|stats| stats.closed(cause))));
        family(
            encoder,
            "connections_closed",
            "Ended client connections, by cause",
            "cause",
            closed,
        )
    }

    fn accepting(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let faults = AcceptFault::ALL
            .map(|fault| (fault.label(), self.sum(|stats| stats.accept_faults(fault))));
        family(
            encoder,
            "accept_faults",
            "Failed accepts, by fault",
            "fault",
            faults,
        )?;
        let help = "Accepted connections that another worker was given";
        let metric = encoder.encode_descriptor(
            "connections_handed_over",
            help,
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.sum(|stats| &stats.handed_over)).encode(metric)
    }

    fn access_log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(lines) = self.access_logs.lines() else {
            return Ok(());
        };
        let counts = [("written", lines.written), ("lost", lines.lost)];
        let help = "Lines of the access log, by what became of them";
        family(encoder, "access_log_lines", help, "result", counts)
    }

    fn reloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reloads = &self.shared.reloads;
        let counts = [
            ("ok", reloads.count_succeeded()),
            ("refused", reloads.count_refused()),
        ];
        family(
            encoder,
            "config_reloads",
            "Reloads, by result",
            "result",
            counts,
        )?;
        let last = i64::from(reloads.is_last_successful());
        gauge(
            encoder,
            "config_last_reload_successful",
            "1 if the running configuration is the newest",
            last,
        )
    }
}

/// Writes the sum of some histograms.
fn write_histogram<'a>(
    mut metric: MetricEncoder<'_>,
    histograms: impl Iterator<Item = &'a DurationHistogram>,
) -> fmt::Result {
    let mut counts = [0; DURATION_BOUNDS.len() + 1];
    let mut sum = 0.0;
    for histogram in histograms {
        sum += histogram.sum().as_secs_f64();
        for (total, count) in counts.iter_mut().zip(histogram.counts()) {
            *total += count;
        }
    }
    let bounds = DURATION_BOUNDS
        .iter()
        .map(Duration::as_secs_f64)
        .chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    metric.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

/// Writes a counter with one label.
fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    counts: [(&'static str, u64); N],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in counts {
        ConstCounter::new(count).encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}
