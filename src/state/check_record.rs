//! What the latest check of a backend came to, and since when it is in its condition.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// Written and read by the control plane alone; never by workers.
#[derive(Debug, Default)]
pub struct CheckRecord(Mutex<Checked>);

/// What is known of a backend beside its counts.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Since when its condition is what it is; `None` before the first.
    pub since: Option<Instant>,
    /// The latest check; `None` before the first.
    pub latest: Option<Check>,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// When it ended.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// What it failed by; `None` if it passed.
    pub failure: Option<String>,
}

impl CheckRecord {
    /// What is known now.
    pub fn get(&self) -> Checked {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes a check.
    pub fn checked(&self, check: Check) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latest = Some(check);
    }

    /// Notes that the condition is another one from now on.
    pub fn changed(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since = Some(now);
    }
}
