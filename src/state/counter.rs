//! Numbers that one thread writes and another reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with a single writing thread: no locked instruction is needed to add to it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only ever called by the thread that owns the shard.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`. Only ever called by the thread that owns the shard.
    pub fn add(&self, amount: u64) {
        // Release, so that a reader who sees a call finished also sees that it started.
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(sum, Ordering::Release);
    }

    /// The current count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
