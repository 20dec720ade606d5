//! How many second attempts an upstream may cause. Pure.
//!
//! When everything fails, retries multiply the load on what is left. Finagle's answer: a request
//! deposits a part of an attempt, a retry withdraws a whole one. Own code rather than
//! `tower::retry::budget`, which takes a lock and reads the clock for each request.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// The retries that one upstream may still cause, over all workers.
#[derive(Debug)]
#[repr(align(128))]
pub struct RetryBudget {
    /// In hundredths of an attempt. Written by every worker; relaxed, as it orders nothing else.
    balance: AtomicU32,
    /// Until when time has added to it; `None` before the first withdrawal. Locked by retries
    /// alone.
    added_at: Mutex<Option<Instant>>,
}

impl Default for RetryBudget {
    /// With a few attempts, so that the first requests of a process may be retried.
    fn default() -> Self {
        Self {
            balance: AtomicU32::new(BALANCE_START),
            added_at: Mutex::new(None),
        }
    }
}

impl RetryBudget {
    /// Counts a request that may be retried some day. Costs a read while the budget is full, and
    /// an atomic addition else.
    pub fn deposit(&self, percent: u32) {
        // Workers that add at the same time may exceed the limit by what each of them adds.
        if self.balance.load(Ordering::Relaxed) < BALANCE_MAX {
            self.balance.fetch_add(percent, Ordering::Relaxed);
        }
    }

    /// Takes one attempt, if there is one left. Each second adds one, so that an upstream with
    /// little traffic may retry, too.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut added_at = self.added_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = added_at.unwrap_or(now);
        let quiet = now.saturating_duration_since(since);
        let earned = quiet.as_nanos() / EARNING_TIME.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX).min(BALANCE_MAX);
        self.deposit(earned);
        // What is too short to earn anything counts the next time.
        *added_at = Some(match earned {
            BALANCE_MAX => now,
            earned => since + EARNING_TIME * earned,
        });
        let take = |balance: u32| balance.min(BALANCE_MAX).checked_sub(ATTEMPT);
        let taken = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }
}

const ATTEMPT: u32 = 100;
/// After which time adds a hundredth of an attempt.
const EARNING_TIME: Duration = Duration::from_millis(10);
const BALANCE_START: u32 = 50 * ATTEMPT;
/// What a burst of failures may take: a hundred attempts, after which the percentage holds. Enough
/// for the connections that one backend takes with it when it dies.
const BALANCE_MAX: u32 = 100 * ATTEMPT;

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &RetryBudget, now: Instant) -> usize {
        (0..1_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_percentage_holds() {
        let (budget, now) = (RetryBudget::default(), epoch());
        assert_eq!(spend(&budget, now), 50);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit(20);
            retries += u32::from(budget.withdraw(now));
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn no_percentage_means_no_retry_after_the_burst() {
        let (budget, now) = (RetryBudget::default(), epoch());
        spend(&budget, now);
        budget.deposit(0);
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn time_allows_one_a_second_and_saves_no_more_than_a_burst() {
        let (budget, now) = (RetryBudget::default(), epoch());
        spend(&budget, now);
        let (later, much_later) = (Duration::from_secs(3), Duration::from_secs(100_000));
        assert_eq!(spend(&budget, now + later), 3);
        assert_eq!(spend(&budget, now + much_later), 100);
        for _ in 0..10_000 {
            budget.deposit(100);
        }
        assert_eq!(spend(&budget, now + much_later), 100);
    }

    #[test]
    fn time_adds_up_however_often_it_is_asked() {
        let (budget, now) = (RetryBudget::default(), epoch());
        spend(&budget, now);
        let step = Duration::from_millis(5);
        let withdrawals = (1..=2_000).filter(|&count| {
            budget.deposit(0);
            budget.withdraw(now + step * count)
        });
        assert_eq!(withdrawals.count(), 10);
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn epoch() -> Instant {
        Instant::now()
    }
}
