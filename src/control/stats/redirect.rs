//! Statistics of the redirect service.

use crate::{
    control::stats::{CauseCount, Metered, Recorder, RedirectStats},
    redirect::{RejectReason, Target},
    state::{DURATION_BOUNDS, DurationHistogram},
};

/// The times of calls at the two latest turns.
#[derive(Debug, Default)]
pub(super) struct Latency([Counts; 2]);

/// One count for each of [`DURATION_BOUNDS`], and the last for what is longer.
type Counts = [u64; DURATION_BOUNDS.len() + 1];

impl Recorder {
    /// The redirect service; `None` where it is not configured.
    pub(super) fn redirect(&mut self) -> Option<RedirectStats> {
        self.shared.snapshot.load().redirect.as_ref()?;
        let to_origin = self.sum(|stats| stats.redirects(Target::Origin));
        let calls = to_origin + self.sum(|stats| stats.redirects(Target::Cdn));
        let mut rejected = Vec::new();
        for reason in RejectReason::ALL {
            let count = self.sum(|stats| stats.rejected(reason));
            let key = Metered::Rejected(reason as usize);
            let per_second = self.meter.per_second(key, count);
            if count > 0 {
                rejected.push(CauseCount {
                    cause: reason.label(),
                    count,
                    per_second,
                });
            }
        }
        let [before, _] = self.redirect_latency.0;
        let mut recent = self.call_durations();
        for (count, before) in recent.iter_mut().zip(before) {
            *count -= before;
        }
        Some(RedirectStats {
            calls,
            to_origin,
            calls_per_second: self.meter.per_second(Metered::Calls, calls),
            origin_share: (calls > 0).then(|| to_origin as f64 / calls as f64),
            rejected,
            p50_ms: quantile_ms(&recent, 0.5),
            p99_ms: quantile_ms(&recent, 0.99),
        })
    }

    /// Forgets the times of calls before the latest turn but one.
    pub(super) fn turn_redirect_latency(&mut self) {
        let [_, latest] = self.redirect_latency.0;
        self.redirect_latency = Latency([latest, self.call_durations()]);
    }

    fn call_durations(&self) -> Counts {
        let mut sums = Counts::default();
        for worker in self.shared.workers() {
            let histogram: &DurationHistogram = &worker.stats.call_duration;
            for (sum, count) in sums.iter_mut().zip(histogram.counts()) {
                *sum += count;
            }
        }
        sums
    }
}

/// The bound of the bucket that a share of all does not exceed. `None` if there are none.
fn quantile_ms(counts: &Counts, share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    let longest = DURATION_BOUNDS.last();
    let bound = bucket
        .and_then(|bucket| DURATION_BOUNDS.get(bucket))
        .or(longest);
    bound.map(|bound| bound.as_secs_f64() * 1000.0)
}
