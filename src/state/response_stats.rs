//! Responses of the load balancer, as one worker gave them.

#![expect(clippy::indexing_slicing, reason = "there is a counter for each class")]

use std::time::Duration;

use crate::state::{Counter, DurationHistogram};

/// Counts that one worker writes and the control plane reads. On cache lines of its own, as each
/// upstream has one for each worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ResponseStats {
    /// By the first digit of the status.
    by_class: [Counter; 6],
    /// Bytes of request bodies that went to backends.
    pub received: Counter,
    /// Bytes of response bodies that came from backends.
    pub sent: Counter,
    /// Time from a request's head to its response's.
    pub duration: DurationHistogram,
}

impl ResponseStats {
    /// Counts a response and the time from its request's head on.
    pub fn record(&self, status: u16, duration: Duration) {
        self.of_class(status / 100).increment();
        self.duration.record(duration);
    }

    /// The counter of responses whose status has this first digit.
    pub fn of_class(&self, class: u16) -> &Counter {
        &self.by_class[usize::from(class.min(5))]
    }
}
