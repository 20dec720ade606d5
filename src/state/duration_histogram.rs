//! How long calls took, in buckets.

#![expect(
    clippy::indexing_slicing,
    reason = "there is a bucket for each bound and one more"
)]

use std::time::Duration;

use crate::state::Counter;

/// How long calls took, in buckets.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// One count for each of [`DURATION_BOUNDS`], and the last for what is longer.
    buckets: [Counter; DURATION_BOUNDS.len() + 1],
    sum_nanos: Counter,
}

impl DurationHistogram {
    /// Counts one duration. Costs a comparison for each bound below it.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS
            .iter()
            .take_while(|bound| nanos > bound.as_nanos() as u64)
            .count();
        self.buckets[bucket].increment();
        self.sum_nanos.add(nanos);
    }

    /// The count of each bucket, not cumulated.
    pub fn counts(&self) -> [u64; DURATION_BOUNDS.len() + 1] {
        self.buckets.each_ref().map(Counter::get)
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.get())
    }
}

/// The upper bounds of the buckets, themselves included.
pub const DURATION_BOUNDS: [Duration; 14] = [
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_includes_them() {
        let histogram = DurationHistogram::default();
        for (nanos, bucket) in [
            (0, 0),
            (5_000, 0),
            (5_001, 1),
            (10_000_000_000, 13),
            (10_000_000_001, 14),
        ] {
            let before = histogram.counts()[bucket];
            histogram.record(Duration::from_nanos(nanos));
            assert_eq!(histogram.counts()[bucket], before + 1, "{nanos} ns");
        }
        assert_eq!(histogram.sum(), Duration::from_nanos(20_000_010_002));
    }
}
