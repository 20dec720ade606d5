//! How many events of one kind a worker may log: ten a second. The rest is counted, and told with
//! the next event or once no more happen.

use std::cell::Cell;

use tokio::time::{Duration, Instant};

/// What is left for events of one kind.
#[derive(Debug)]
pub(in crate::data) struct EventBudget {
    second: Cell<Instant>,
    logged: Cell<u32>,
    unlogged: Cell<u64>,
}

impl EventBudget {
    pub(in crate::data) fn new(now: Instant) -> Self {
        Self {
            second: Cell::new(now),
            logged: Cell::default(),
            unlogged: Cell::default(),
        }
    }

    /// Allows one event, and tells how many were left out since the last; `None` if the second has
    /// had enough.
    pub(in crate::data) fn admit(&self, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            self.second.set(now);
            self.logged.set(0);
        }
        if self.logged.get() >= EVENTS_PER_SECOND {
            self.unlogged.set(self.unlogged.get() + 1);
            return None;
        }
        self.logged.set(self.logged.get() + 1);
        Some(self.unlogged.take())
    }

    /// How many events were left out, once there are no more; 0 if none were.
    pub(in crate::data) fn left_out(&self, now: Instant) -> u64 {
        match self.is_over(now) {
            true => self.unlogged.take(),
            false => 0,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.second.get()) >= SECOND
    }
}

const EVENTS_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_events_a_second_and_the_rest_is_counted() {
        let start = Instant::now();
        let budget = EventBudget::new(start);
        let admitted: Vec<u64> = (0..25).filter_map(|_| budget.admit(start)).collect();
        assert_eq!(admitted, [0; 10]);
        assert_eq!(budget.left_out(start), 0);
        assert_eq!(budget.admit(start + SECOND), Some(15));
        assert_eq!(budget.admit(start + SECOND), Some(0));
        assert_eq!(budget.left_out(start + SECOND * 2), 0);
    }
}
