//! How many requests of a client were refused lately.

#![expect(clippy::indexing_slicing, reason = "a remainder is below its divisor")]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limit::{Tick, tick::PER_SECOND};

/// Counts refused requests in parts of ten seconds, for as long as a minute. Written by all workers,
/// at refusals only.
#[derive(Debug, Default)]
pub struct RecentRefusals {
    /// Each the number of a part of time, counted from the start, above the refusals in it. A part
    /// that is over is overwritten six parts later. Relaxed: each stands for itself.
    parts: [AtomicU64; PARTS],
}

impl RecentRefusals {
    /// Counts a refused request.
    pub fn record(&self, now: Tick) {
        let part = part_of(now);
        let count = &self.parts[part as usize % PARTS];
        let _updated = count.try_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let count = if old >> COUNT_BITS == part {
                old & COUNT_MAX
            } else {
                0
            };
            Some(part << COUNT_BITS | (count + 1).min(COUNT_MAX))
        });
    }

    /// Requests that were refused in the last 50 to 60 seconds.
    pub fn last_minute(&self, now: Tick) -> u64 {
        let (part, oldest) = (part_of(now), part_of(now).saturating_sub(PARTS as u64 - 1));
        let parts = self.parts.iter().map(|count| count.load(Ordering::Relaxed));
        parts
            .filter(|count| (oldest..=part).contains(&(count >> COUNT_BITS)))
            .map(|count| count & COUNT_MAX)
            .sum()
    }
}

fn part_of(now: Tick) -> u64 {
    now.0 / (PER_SECOND * 10)
}

const PARTS: usize = 6;
const COUNT_BITS: u32 = 32;
const COUNT_MAX: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let refusals = RecentRefusals::default();
        let at = |seconds| Tick::after(Duration::from_secs(seconds));
        for second in 0..600 {
            refusals.record(at(second));
        }
        assert_eq!(refusals.last_minute(at(599)), 60);
        assert_eq!(refusals.last_minute(at(605)), 50);
        assert_eq!(refusals.last_minute(at(649)), 10);
        assert_eq!(refusals.last_minute(at(650)), 0);
        refusals.record(at(660));
        assert_eq!(refusals.last_minute(at(660)), 1);
    }
}
