//! How reading registered clients from the database goes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Written by the control plane's task that reads, read by metrics and readiness. Relaxed: each value
/// stands for itself.
#[derive(Debug, Default)]
pub struct DatabaseStatus {
    is_up: AtomicBool,
    is_tried: AtomicBool,
    reads: AtomicU64,
    failures: AtomicU64,
    bad_rows: AtomicUsize,
}

impl DatabaseStatus {
    /// Notes that all clients were read. Says whether the database was down before.
    pub fn read(&self, bad_rows: usize) -> bool {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bad_rows.store(bad_rows, Ordering::Relaxed);
        self.is_tried.store(true, Ordering::Relaxed);
        !self.is_up.swap(true, Ordering::Relaxed)
    }

    /// Notes that they could not be read. Says whether that is news.
    pub fn failed(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let is_first = !self.is_tried.swap(true, Ordering::Relaxed);
        self.is_up.swap(false, Ordering::Relaxed) || is_first
    }

    /// Notes that there is nothing to wait for.
    pub fn unused(&self) {
        self.is_tried.store(true, Ordering::Relaxed);
    }

    /// Whether the last attempt to read succeeded.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Whether readiness waits for nothing here: clients were read once, or could not be.
    pub fn is_tried(&self) -> bool {
        self.is_tried.load(Ordering::Relaxed)
    }

    /// Times that all clients were read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Times that they could not be.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Rows that the last read left out.
    pub fn bad_rows(&self) -> usize {
        self.bad_rows.load(Ordering::Relaxed)
    }
}
