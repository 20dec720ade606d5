//! The process-wide count of accepted redirect calls.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out turns: 1, 2, 3 and so on, each once, to whatever thread asks. Never reset, so a
/// reload keeps the rhythm. 64 bits last 58,000 years at ten million calls a second.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Turns {
    /// Written by every worker, once for each accepted call; read by the scrape. Relaxed: each
    /// number must come out once, and orders nothing else.
    taken: AtomicU64,
}

impl Turns {
    /// Takes the next turn. Costs one atomic addition.
    pub fn take(&self) -> u64 {
        self.taken.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The turn that comes next, without taking it.
    pub fn next(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).wrapping_add(1)
    }
}
