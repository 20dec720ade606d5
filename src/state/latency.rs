//! How long a backend takes, as all workers saw it.

#![expect(
    clippy::indexing_slicing,
    reason = "there is a bucket for each value of the index"
)]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Counts of durations in buckets, each at most a quarter wider than the one before. Written by every
/// worker, read by the control plane. Relaxed: each count stands for itself. The counts wrap; what is
/// read is their difference over a time.
#[derive(Debug)]
pub struct Latency([AtomicU32; BUCKETS]);

/// The counts of a [`Latency`] at one time.
#[derive(Clone, Debug)]
pub struct LatencyCounts(Box<[u32; BUCKETS]>);

impl Default for Latency {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }
}

impl Latency {
    /// Counts a duration. Costs one atomic instruction.
    pub fn record(&self, duration: Duration) {
        self.0[bucket(duration)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> LatencyCounts {
        let counts = self.0.each_ref();
        LatencyCounts(Box::new(counts.map(|count| count.load(Ordering::Relaxed))))
    }
}

impl LatencyCounts {
    /// What was counted since an earlier time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0.clone();
        for (count, before) in counts.iter_mut().zip(earlier.0.iter()) {
            *count = count.wrapping_sub(*before);
        }
        Self(counts)
    }

    /// The duration that a share of all, from 0 to 1, did not exceed: the upper bound of its bucket, so
    /// at most a quarter too long. `None` if nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().map(|&count| u64::from(count)).sum();
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let index = self.0.iter().position(|&count| {
            seen += u64::from(count);
            seen >= wanted
        });
        index.map(upper_bound)
    }
}

/// Four buckets for each doubling, from 4 µs on; the first for all that is shorter, the last for all
/// that is longer.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros < 4 {
        return micros as usize;
    }
    let doubling = micros.ilog2();
    // The two bits below the highest one.
    let quarter = (micros >> (doubling - 2)) & 3;
    let index = u64::from(doubling - 1) * 4 + quarter;
    (index as usize).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> Duration {
    if bucket < 4 {
        return Duration::from_micros(bucket as u64 + 1);
    }
    let (doubling, quarter) = (bucket / 4 + 1, bucket % 4);
    Duration::from_micros((5 + quarter as u64) << (doubling - 2))
}

/// Up to 134 s.
const BUCKETS: usize = 4 * 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_quarter_too_long() {
        for micros in [0, 1, 3, 4, 7, 8, 100, 999, 12_345, 1_000_000, 60_000_000] {
            let latency = Latency::default();
            latency.record(Duration::from_micros(micros));
            let quantile = latency.counts().quantile(0.99).unwrap().as_micros() as u64;
            assert!(quantile > micros, "{micros} {quantile}");
            assert!(quantile <= micros + micros / 4 + 1, "{micros} {quantile}");
        }
    }

    #[test]
    fn quantiles_of_what_came_since() {
        let latency = Latency::default();
        latency.record(Duration::from_secs(50));
        let before = latency.counts();
        assert!(latency.counts().since(&before).quantile(0.5).is_none());
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis));
        }
        let counts = latency.counts().since(&before);
        let quantile = |share| counts.quantile(share).unwrap().as_millis();
        assert!((50..=63).contains(&quantile(0.5)), "{}", quantile(0.5));
        assert!((99..=125).contains(&quantile(0.99)), "{}", quantile(0.99));
    }

    #[test]
    fn what_is_too_long_falls_into_the_last_bucket() {
        let latency = Latency::default();
        latency.record(Duration::MAX);
        assert!(latency.counts().quantile(1.0).unwrap() > Duration::from_secs(100));
    }
}
