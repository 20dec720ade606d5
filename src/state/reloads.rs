//! How reloads went.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Counts of reloads. Written and read by the control plane.
#[derive(Debug, Default)]
pub struct Reloads {
    succeeded: AtomicU64,
    refused: AtomicU64,
    last_refused: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Reloads {
    /// Counts a reload that was published.
    pub fn succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(false, Ordering::Relaxed);
        self.set_error(None);
    }

    /// Counts a reload that changed nothing.
    pub fn refused(&self, why: String) {
        self.set_error(Some(why));
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(true, Ordering::Relaxed);
    }

    /// Why the last reload changed nothing, if it did not.
    pub fn last_error(&self) -> Option<String> {
        let error = self.last_error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_error(&self, error: Option<String>) {
        let mut last_error = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last_error = error;
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
