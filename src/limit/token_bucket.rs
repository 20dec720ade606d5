//! A token bucket in one number: the moment at which it will be full (GCRA, ITU-T I.371).

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::{num::NonZeroU32, time::Duration};

use crate::limit::{Quota, Tick, tick};

/// How much of a [`Quota`] is used. Begins full. Any thread may take, without waiting: of R tokens
/// a second and a capacity of B, at most R·T + B are given in any time T, whatever the threads.
///
/// The quota is an argument, so that a changed one holds from the next request on: the time to
/// the full bucket stays, unless it is longer than the new quota's debt can be.
#[derive(Debug, Default)]
pub struct TokenBucket {
    /// The tick at which the bucket is full if nothing more is taken. Written by all workers.
    /// Relaxed: it stands for itself, and each change is one compare-and-swap.
    full_at: AtomicU64,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// When it would be admitted, if no other request comes before it. More than zero.
    pub retry_after: Duration,
    /// Whole tokens that are left: fewer than the request costs.
    pub remaining: u32,
}

impl TokenBucket {
    /// Takes tokens. Costs a read and a compare-and-swap, which is repeated where another thread
    /// was faster. A refusal takes nothing.
    ///
    /// # Errors
    ///
    /// When there are too few.
    pub fn take(&self, quota: &Quota, cost: NonZeroU32, now: Tick) -> Result<(), Refusal> {
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let (next, verdict) = step(full_at, quota, cost, now);
            if next == full_at {
                return verdict;
            }
            let swapped = self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return verdict,
                Err(current) => full_at = current,
            }
        }
    }

    /// Gives tokens back that were taken for a request which another limit refused.
    pub fn refund(&self, quota: &Quota, cost: NonZeroU32) {
        let ticks = quota.ticks_of(cost);
        self.full_at.fetch_sub(ticks, Ordering::Relaxed);
    }

    /// Time until it is full if nothing more is taken.
    pub fn missing(&self, now: Tick) -> Duration {
        missing(self.full_at.load(Ordering::Relaxed), now)
    }

    /// Sets the time until it is full, in place of what was taken here. What other threads take at
    /// the same moment may be lost.
    pub fn set_missing(&self, missing: Duration, now: Tick) {
        self.full_at.store(now.plus(missing).0, Ordering::Relaxed);
    }

    /// Whole tokens that are left.
    pub fn tokens(&self, quota: &Quota, now: Tick) -> u32 {
        tokens(self.full_at.load(Ordering::Relaxed), quota, now)
    }
}

/// When a bucket that is full at a time is full once tokens were taken, and whether they were.
pub(super) fn step(
    full_at: u64,
    quota: &Quota,
    cost: NonZeroU32,
    now: Tick,
) -> (u64, Result<(), Refusal>) {
    let empty = now.0.saturating_add(quota.ticks_to_fill());
    // Further away than requests can bring it: the quota was lowered, or the clock went back.
    let is_beyond = full_at > empty.saturating_add(quota.ticks_of_debt());
    let full_at = if is_beyond { empty } else { full_at };
    let next = full_at.max(now.0).saturating_add(quota.ticks_of(cost));
    if next <= empty {
        return (next, Ok(()));
    }
    let refusal = Refusal {
        retry_after: tick::duration(next - empty),
        remaining: tokens(full_at, quota, now),
    };
    (full_at, Err(refusal))
}

pub(super) fn missing(full_at: u64, now: Tick) -> Duration {
    tick::duration(full_at.saturating_sub(now.0))
}

pub(super) fn tokens(full_at: u64, quota: &Quota, now: Tick) -> u32 {
    let missing = full_at.saturating_sub(now.0);
    quota.tokens_in(quota.ticks_to_fill().saturating_sub(missing))
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Instant,
    };

    use governor::{
        clock::FakeRelativeClock,
        middleware::NoOpMiddleware,
        nanos::Nanos,
        state::{InMemoryState, NotKeyed},
    };
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn quota(capacity: u32, rate: f64) -> Quota {
        let rate = crate::limit::Rate::per_second(rate).unwrap();
        Quota::new(NonZeroU32::new(capacity).unwrap(), rate).unwrap()
    }

    fn at(millis: u64) -> Tick {
        Tick::after(Duration::from_millis(millis))
    }

    fn admitted(bucket: &TokenBucket, quota: &Quota, requests: usize, now: Tick) -> usize {
        (0..requests)
            .filter(|_| bucket.take(quota, NonZeroU32::MIN, now).is_ok())
            .count()
    }

    #[test]
    fn a_burst_of_the_capacity_and_then_the_rate() {
        let (bucket, quota) = (TokenBucket::default(), quota(100, 10.0));
        assert_eq!(admitted(&bucket, &quota, 1000, at(0)), 100);
        assert_eq!(admitted(&bucket, &quota, 1000, at(99)), 0);
        assert_eq!(admitted(&bucket, &quota, 1000, at(100)), 1);
        assert_eq!(admitted(&bucket, &quota, 1000, at(1100)), 10);
        assert_eq!(admitted(&bucket, &quota, 1000, at(3_600_000)), 100);
    }

    #[test]
    fn a_client_that_waits_as_long_as_it_is_told_is_admitted() {
        let (bucket, quota) = (TokenBucket::default(), quota(3, 7.0));
        assert_eq!(admitted(&bucket, &quota, 10, at(0)), 3);
        let refusal = bucket.take(&quota, NonZeroU32::MIN, at(50)).unwrap_err();
        assert_eq!(refusal.remaining, 0);
        let now = Duration::from_millis(50) + refusal.retry_after;
        let early = Tick::after(now - Duration::from_nanos(1));
        assert!(bucket.take(&quota, NonZeroU32::MIN, early).is_err());
        assert!(
            bucket
                .take(&quota, NonZeroU32::MIN, Tick::after(now))
                .is_ok()
        );
    }

    #[test]
    fn requests_may_cost_more_and_none_is_impossible() {
        let (bucket, quota) = (TokenBucket::default(), quota(10, 1.0));
        let cost = |tokens| NonZeroU32::new(tokens).unwrap();
        assert!(bucket.take(&quota, cost(7), at(0)).is_ok());
        assert_eq!(bucket.tokens(&quota, at(0)), 3);
        assert_eq!(
            bucket.take(&quota, cost(4), at(0)).unwrap_err().remaining,
            3
        );
        assert!(bucket.take(&quota, cost(3), at(0)).is_ok());
        assert!(bucket.take(&quota, cost(50), at(9_000)).is_err());
        assert!(bucket.take(&quota, cost(50), at(10_000)).is_ok());
        assert_eq!(bucket.tokens(&quota, at(10_000)), 0);
    }

    #[test]
    fn a_refund_undoes_a_take() {
        let (bucket, quota) = (TokenBucket::default(), quota(2, 1.0));
        assert_eq!(admitted(&bucket, &quota, 2, at(0)), 2);
        bucket.refund(&quota, NonZeroU32::MIN);
        assert_eq!(admitted(&bucket, &quota, 2, at(0)), 1);
    }

    #[test]
    fn a_clock_that_jumps_neither_floods_nor_starves() {
        let (bucket, quota) = (TokenBucket::default(), quota(5, 1.0));
        let hour = 3_600_000;
        assert_eq!(admitted(&bucket, &quota, 9, at(hour)), 5);
        // Back: the bucket counts as empty, and fills at its rate.
        assert_eq!(admitted(&bucket, &quota, 9, at(0)), 0);
        assert_eq!(admitted(&bucket, &quota, 9, at(2_000)), 2);
        // Ahead: no more than it holds.
        assert_eq!(admitted(&bucket, &quota, 9, at(24 * hour)), 5);
    }

    /// As other processes of a fleet may have given out.
    #[test]
    fn a_debt_is_paid_before_the_next_token_comes() {
        let (bucket, quota) = (TokenBucket::default(), quota(1, 1.0));
        bucket.set_missing(Duration::from_secs(10), at(0));
        assert_eq!(bucket.missing(at(4_000)), Duration::from_secs(6));
        let refusal = bucket.take(&quota, NonZeroU32::MIN, at(0)).unwrap_err();
        assert_eq!(refusal.retry_after, Duration::from_secs(10));
        assert_eq!(admitted(&bucket, &quota, 9, at(9_999)), 0);
        assert_eq!(admitted(&bucket, &quota, 9, at(10_000)), 1);
    }

    #[test]
    fn a_lowered_quota_holds_at_once_and_a_raised_one_too() {
        let (bucket, slow, fast) = (TokenBucket::default(), quota(100, 1.0), quota(10, 10.0));
        assert_eq!(admitted(&bucket, &slow, 200, at(0)), 100);
        assert_eq!(admitted(&bucket, &fast, 200, at(0)), 0);
        assert_eq!(admitted(&bucket, &fast, 200, at(500)), 5);
        assert_eq!(admitted(&bucket, &slow, 200, at(500)), 99);
    }

    #[test]
    fn threads_together_get_what_one_would() {
        let (bucket, quota) = (Arc::new(TokenBucket::default()), quota(1_000, 50_000.0));
        let admitted = Arc::new(AtomicUsize::new(0));
        #[expect(clippy::disallowed_methods, reason = "real threads need a real clock")]
        let start = Instant::now();
        let threads = (0..16).map(|_| {
            let (bucket, admitted) = (Arc::clone(&bucket), Arc::clone(&admitted));
            thread::spawn(move || {
                for _ in 0..20_000 {
                    let now = Tick::after(start.elapsed());
                    if bucket.take(&quota, NonZeroU32::MIN, now).is_ok() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let most = 1_000.0 + 50_000.0 * start.elapsed().as_secs_f64();
        let admitted = admitted.load(Ordering::Relaxed);
        assert!(
            admitted >= 1_000 && (admitted as f64) <= most,
            "{admitted} of {most}"
        );
    }

    type Oracle =
        governor::RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>;

    proptest! {
        /// The same requests get the same verdicts from `governor`, where its times are exact:
        /// it counts in nanoseconds.
        #[test]
        fn agrees_with_governor(
            capacity in 1_u32..50,
            nanos_per_token in 1_u64..100_000,
            requests in vec((0_u64..200_000, 1_u32..5), 1..200),
        ) {
            let nanos_per_token = nanos_per_token * 1_000;
            let clock = FakeRelativeClock::default();
            let theirs = governor::Quota::with_period(Duration::from_nanos(nanos_per_token));
            let theirs = theirs.unwrap().allow_burst(NonZeroU32::new(capacity).unwrap());
            let oracle = Oracle::direct_with_clock(theirs, clock.clone());
            let ours = quota(capacity, 1.0).at_exactly(nanos_per_token * 64);
            let (bucket, mut now) = (TokenBucket::default(), 0);
            for (pause, cost) in requests {
                now += pause;
                clock.advance(Duration::from_nanos(pause));
                let cost = NonZeroU32::new(cost.min(capacity)).unwrap();
                let expected = matches!(oracle.check_n(cost), Ok(Ok(())));
                let tick = Tick::after(Duration::from_nanos(now));
                prop_assert_eq!(bucket.take(&ours, cost, tick).is_ok(), expected);
            }
        }

        /// At most R·T + B in any time, whatever the requests.
        #[test]
        fn never_more_than_rate_and_burst(
            capacity in 1_u32..1_000,
            rate in 1_u32..100_000,
            pauses in vec(0_u64..50_000_000, 1..300),
        ) {
            let quota = quota(capacity, f64::from(rate));
            let (bucket, mut now, mut taken) = (TokenBucket::default(), 0_u64, Vec::new());
            for pause in pauses {
                now += pause;
                let got = admitted(&bucket, &quota, 20, Tick::after(Duration::from_nanos(now)));
                taken.push((now, got));
            }
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (to, got) in &taken[first..] {
                    sum += got;
                    let seconds = (to - from) as f64 / 1e9;
                    let most = f64::from(rate) * seconds + f64::from(capacity);
                    prop_assert!(sum as f64 <= most + 1e-6, "{sum} of {most}");
                }
            }
        }
    }
}
