//! What the metrics page tells of limits of requests.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::time::Instant;

use crate::{
    control::metrics::{Shards, family, gauge},
    limit::Mode,
    state::Scope,
};

impl Shards {
    /// Requests above a limit, and the clients that have buckets.
    pub(super) fn rate_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests above a limit: refused, or admitted where its mode is shadow";
        let mut metric =
            encoder.encode_descriptor("rate_limited", help, None, MetricType::Counter)?;
        for scope in Scope::ALL {
            for (mode, label) in [(Mode::Enforce, "enforce"), (Mode::Shadow, "shadow")] {
                let count = self.sum(|stats| stats.rate_limited(scope, mode));
                let labels = [("limit", scope.label()), ("mode", label)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        let name = "rate_limit_overflows";
        let help = "Requests of clients that share a bucket, as the table of buckets has no room";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.sum(|stats| &stats.bucket_overflows)).encode(metric)?;
        let rate_limits = &self.shared.rate_limits;
        let unregistered = rate_limits
            .buckets()
            .count(rate_limits.tick(Instant::now()));
        let registered = self.shared.snapshot.load().limits.clients.len();
        let help = "Clients that are registered, and buckets of other clients that are not full";
        let name = "rate_limit_clients";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (kind, count) in [("registered", registered), ("unregistered", unregistered)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(metric.encode_family(&[("kind", kind)])?)?;
        }
        self.database(encoder)?;
        self.fleet(encoder)
    }

    /// How reading the clients goes. All zero where there is no database.
    fn database(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let database = &self.shared.database;
        let help = "1 if the database of clients gave its last answer";
        gauge(encoder, "database_up", help, i64::from(database.is_up()))?;
        let help = "Reads of all registered clients, by result";
        let counts = [("ok", database.reads()), ("failed", database.failures())];
        family(encoder, "database_reads", help, "result", counts)?;
        let help = "Rows of the database that make no sense and are left out";
        let bad = i64::try_from(database.bad_rows()).unwrap_or(i64::MAX);
        gauge(encoder, "database_bad_rows", help, bad)
    }

    /// How limits are shared with other processes. Nothing where they are not.
    fn fleet(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(fleet) = self.shared.rate_limits.fleet() else {
            return Ok(());
        };
        let help = "1 if the server that shares rate limits gave its last answer";
        gauge(encoder, "redis_up", help, i64::from(fleet.is_up()))?;
        let help = "Reports of tokens that were given out, by result";
        let counts = [("ok", fleet.reports()), ("failed", fleet.failures())];
        family(encoder, "redis_reports", help, "result", counts)?;
        let help = "Buckets in the reports that were answered";
        let metric = encoder.encode_descriptor("redis_buckets", help, None, MetricType::Counter)?;
        ConstCounter::new(fleet.buckets()).encode(metric)?;
        let help =
            "Requests that other processes do not learn of, as too many buckets wait for a report";
        let metric =
            encoder.encode_descriptor("redis_unshared", help, None, MetricType::Counter)?;
        ConstCounter::new(fleet.unshared()).encode(metric)
    }
}
