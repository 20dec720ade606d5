//! How many second attempts an upstream may cause. Pure.
//!
//! When everything fails, retries multiply the load on what is left. Finagle's answer: a request
//! deposits a part of an attempt, a retry withdraws a whole one. Own code rather than
//! `tower::retry::budget`, which takes a lock and reads the clock for each request.

use std::cell::Cell;

/// The attempts that one worker may still make for one upstream.
#[derive(Debug)]
pub struct RetryBudget {
    /// In hundredths of an attempt.
    balance: Cell<u32>,
}

impl Default for RetryBudget {
    /// Full, so that the first requests of a process may be retried.
    fn default() -> Self {
        Self {
            balance: Cell::new(BALANCE_MAX),
        }
    }
}

impl RetryBudget {
    /// Counts a request that may be retried some day. Costs an addition.
    pub fn deposit(&self, percent: u32) {
        let balance = self.balance.get().saturating_add(percent);
        self.balance.set(balance.min(BALANCE_MAX));
    }

    /// Takes one attempt, if there is one left.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let left = self.balance.get().checked_sub(ATTEMPT);
        if let Some(left) = left {
            self.balance.set(left);
        }
        left.is_some()
    }
}

const ATTEMPT: u32 = 100;
/// What a burst of failures may take: a hundred attempts, after which the percentage holds. Enough
/// for the connections that one backend takes with it when it dies.
const BALANCE_MAX: u32 = 100 * ATTEMPT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_percentage_holds() {
        let budget = RetryBudget::default();
        let burst = (0..1_000).filter(|_| budget.withdraw()).count();
        assert_eq!(burst, 100);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit(20);
            retries += u32::from(budget.withdraw());
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn no_percentage_means_no_retry_after_the_burst() {
        let budget = RetryBudget::default();
        while budget.withdraw() {}
        budget.deposit(0);
        assert!(!budget.withdraw());
    }

    #[test]
    fn quiet_times_do_not_save_up_without_end() {
        let budget = RetryBudget::default();
        for _ in 0..10_000 {
            budget.deposit(100);
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 100);
    }
}
