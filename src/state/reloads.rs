//! How reloads went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of reloads. Written and read by the control plane.
#[derive(Debug, Default)]
pub struct Reloads {
    succeeded: AtomicU64,
    refused: AtomicU64,
    last_refused: AtomicBool,
}

impl Reloads {
    /// Counts a reload that was published.
    pub fn succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(false, Ordering::Relaxed);
    }

    /// Counts a reload that changed nothing.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(true, Ordering::Relaxed);
    }

    /// Reloads that were published.
    pub fn count_succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Reloads that changed nothing.
    pub fn count_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether what runs is what was read last. True before the first reload.
    pub fn is_last_successful(&self) -> bool {
        !self.last_refused.load(Ordering::Relaxed)
    }
}
