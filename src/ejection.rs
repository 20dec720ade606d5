//! When a backend whose answers fail is left alone for a while (passive health, outlier
//! detection).
//!
//! Pure: no clock, no I/O. Workers count failures in a row; `control::upstreams` asks here what
//! follows from them. Active checks find a dead process; this finds the one that passes its checks
//! and fails its requests, and finds it within a few requests instead of a few probes.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// When backends of one upstream are ejected, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EjectionPolicy {
    /// Failures in a row that eject a backend: no connection, no response, or a status of 502, 503
    /// or 504. Default 5, bounds 1 to 1000.
    pub consecutive_failures: NonZeroU32,
    /// Length of the first ejection. Each further one is longer by as much. Default 10 s, bounds
    /// 100 ms to 1 h.
    pub base_time: Duration,
    /// Longest ejection. Default 5 min, bounds `base_time` to 24 h.
    pub max_time: Duration,
    /// How many of an upstream's backends may be ejected at a time, in percent, rounded down. Default 50, bounds 0 to 100.
    pub max_percent: u32,
}

impl Default for EjectionPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: NonZeroU32::new(5).expect("not zero"),
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_percent: 50,
        }
    }
}

impl EjectionPolicy {
    /// Whether one more of an upstream's backends may be ejected. The last one never is.
    pub fn has_room(&self, backends: usize, ejected: usize) -> bool {
        let percent = usize::try_from(self.max_percent).unwrap_or(100);
        let limit = backends.saturating_mul(percent) / 100;
        ejected < limit.min(backends.saturating_sub(1))
    }
}

/// The ejections of one backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct EjectionTracker {
    /// How often in close succession; the next ejection is as many times as long, and once more.
    count: u32,
    /// When the latest one ends or ended.
    until: Option<Instant>,
}

impl EjectionTracker {
    /// Ejects it, and returns for how long. Each `time` that it went without one takes back one of
    /// the earlier ones.
    pub fn eject(&mut self, policy: &EjectionPolicy, now: Instant) -> Duration {
        let well_for = self
            .until
            .map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        let forgiven = well_for.as_nanos() / policy.base_time.as_nanos().max(1);
        self.count = self
            .count
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
            .saturating_add(1);
        let length = policy
            .base_time
            .saturating_mul(self.count)
            .min(policy.max_time);
        self.until = Some(now + length);
        length
    }

    /// Ends an ejection early: the active checks have newer evidence.
    pub fn end(&mut self, now: Instant) {
        self.until = self.until.map(|until| until.min(now));
    }

    /// When the current ejection ends; `None` if there is none.
    pub fn ends_at(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|&until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(percent_limit: u32) -> EjectionPolicy {
        EjectionPolicy {
            base_time: SECOND,
            max_time: SECOND * 3,
            max_percent: percent_limit,
            ..EjectionPolicy::default()
        }
    }

    #[test]
    fn ejections_in_close_succession_grow_up_to_the_limit() {
        let mut tracker = EjectionTracker::default();
        let mut now = epoch();
        for expected in [1, 2, 3, 3] {
            let length = tracker.eject(&policy(50), now);
            assert_eq!(length, SECOND * expected);
            assert_eq!(tracker.ends_at(now), Some(now + length));
            now += length;
            assert_eq!(tracker.ends_at(now), None);
        }
    }

    #[test]
    fn good_behaviour_takes_ejections_back() {
        let mut tracker = EjectionTracker::default();
        let start = epoch();
        tracker.eject(&policy(50), start);
        assert_eq!(tracker.eject(&policy(50), start + SECOND), SECOND * 2);
        // It was well for one second, which forgives one of the two.
        assert_eq!(tracker.eject(&policy(50), start + SECOND * 4), SECOND * 2);
        assert_eq!(tracker.eject(&policy(50), start + SECOND * 100), SECOND);
    }

    #[test]
    fn an_ended_ejection_is_over() {
        let mut tracker = EjectionTracker::default();
        let now = epoch();
        tracker.eject(&policy(50), now);
        tracker.end(now);
        assert_eq!(tracker.ends_at(now), None);
    }

    #[track_caller]
    fn check(percent_limit: u32, backends: usize, most: usize) {
        let policy = policy(percent_limit);
        let ejected = (0..=backends).find(|&ejected| !policy.has_room(backends, ejected));
        assert_eq!(ejected, Some(most), "{percent_limit} % of {backends}");
    }

    #[test]
    fn the_share_has_a_limit_and_the_last_one_stays() {
        check(50, 0, 0);
        check(50, 1, 0);
        check(50, 2, 1);
        check(50, 3, 1);
        check(50, 10, 5);
        check(10, 2, 0);
        check(10, 3, 0);
        check(10, 10, 1);
        check(100, 3, 2);
        check(0, 3, 0);
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn epoch() -> Instant {
        Instant::now()
    }
}
