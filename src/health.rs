//! Health of one backend, decided from consecutive probe results.
//!
//! Pure state machine: no clock, no I/O. `control::prober` feeds it results and
//! tells the verdict. Thresholds stop flapping: one lost probe must not empty an upstream.

use std::num::NonZeroU32;

/// Turns a stream of probe results into a stable [`Health`].
#[derive(Clone, Debug)]
pub struct HealthTracker {
    thresholds: HealthThresholds,
    health: Health,
    /// Results in a row that contradict `health`; always below the threshold to flip.
    streak: u32,
    first: bool,
}

impl HealthTracker {
    /// Starts unhealthy, as nothing is known: the first result alone decides.
    pub fn new(thresholds: HealthThresholds) -> Self {
        Self {
            thresholds,
            health: Health::Unhealthy,
            streak: 0,
            first: true,
        }
    }

    /// Goes on from a verdict that earlier probes gave.
    pub fn resume(thresholds: HealthThresholds, health: Health) -> Self {
        Self {
            thresholds,
            health,
            streak: 0,
            first: false,
        }
    }

    /// Records one probe result; returns the new verdict if it flipped.
    pub fn record(&mut self, result: Health) -> Option<Health> {
        let first = std::mem::take(&mut self.first);
        if result == self.health {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        if !first && self.streak < self.streak_to_flip() {
            return None;
        }
        self.health = result;
        self.streak = 0;
        Some(result)
    }

    /// The current verdict.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether the latest results disagree with the current state, so that the next probe should come soon.
    pub fn is_in_doubt(&self) -> bool {
        self.streak > 0
    }

    fn streak_to_flip(&self) -> u32 {
        match self.health {
            Health::Healthy => self.thresholds.fall.get(),
            Health::Unhealthy => self.thresholds.rise.get(),
        }
    }
}

/// Whether a backend passes its checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// The last threshold crossed was `rise`.
    Healthy,
    /// The last threshold crossed was `fall`, or no probe came back yet.
    Unhealthy,
}

/// How many results in a row flip the verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HealthThresholds {
    /// Successes that bring an unhealthy backend back. Raising it delays recovery.
    pub rise: NonZeroU32,
    /// Failures that take a healthy backend out. Raising it sends more requests to a dead backend.
    pub fall: NonZeroU32,
}

#[cfg(test)]
mod tests {
    use super::Health::{Healthy as H, Unhealthy as U};
    use super::*;

    #[track_caller]
    fn check(results: &[Health], expected: Health) {
        let thresholds = HealthThresholds {
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(3).unwrap(),
        };
        let mut tracker = HealthTracker::new(thresholds);
        for &result in results {
            tracker.record(result);
        }
        assert_eq!(tracker.health(), expected);
    }

    #[test]
    fn the_first_result_alone_decides() {
        check(&[], U);
        check(&[H], H);
        check(&[U, H], U);
    }

    /// A prober asks sooner while it is.
    #[test]
    fn is_in_doubt_while_results_disagree_with_the_state() {
        let thresholds = HealthThresholds {
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(3).unwrap(),
        };
        let mut tracker = HealthTracker::resume(thresholds, H);
        assert!(!tracker.is_in_doubt());
        for (result, expected) in [
            (U, true),
            (U, true),
            (U, false),
            (H, true),
            (U, false),
            (H, true),
            (H, false),
        ] {
            tracker.record(result);
            assert_eq!(tracker.is_in_doubt(), expected);
        }
    }

    #[test]
    fn new_thresholds_do_not_forget_the_verdict() {
        let thresholds = HealthThresholds {
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(2).unwrap(),
        };
        let mut tracker = HealthTracker::resume(thresholds, H);
        assert_eq!(tracker.record(U), None);
        assert_eq!(tracker.record(U), Some(U));
    }

    #[test]
    fn stays_healthy_until_fall() {
        check(&[H, U, U], H);
        check(&[H, U, U, U], U);
        check(&[H, U, U, H, U, U], H);
    }

    #[test]
    fn recovers_at_rise() {
        check(&[U, H], U);
        check(&[U, H, H], H);
        check(&[H, U, U, U, H, U, H], U);
    }
}
