//! The listeners that are open, and how many connections they have.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// The listeners that are open. Written by the control plane when that changes, and read by its pages.
#[derive(Debug, Default)]
pub struct OpenListeners(Mutex<Vec<ListenerState>>);

/// A listener that is open.
#[derive(Clone, Debug)]
pub struct ListenerState {
    /// The number by which settings know it.
    pub id: usize,
    /// What answers: `redirect`, `http` or `tcp`.
    pub service: &'static str,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its connections.
    pub stats: Arc<ListenerStats>,
}

/// Connections of one listener. Written by every worker, read by the control plane. Relaxed: each
/// number stands for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerStats {
    accepted: AtomicU64,
    open: AtomicUsize,
}

impl OpenListeners {
    /// Says which are open now.
    pub fn publish(&self, listeners: Vec<ListenerState>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    /// Those that are open now.
    pub fn list(&self) -> Vec<ListenerState> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A connection that is counted at its listener; no more when it is dropped.
#[derive(Debug)]
pub struct ListenerPlace(Arc<ListenerStats>);

impl ListenerPlace {
    /// Counts a connection. Costs two atomic instructions, and one at its end.
    pub fn taken(listener: &Arc<ListenerStats>) -> Self {
        listener.accepted.fetch_add(1, Ordering::Relaxed);
        listener.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(listener))
    }
}

impl Drop for ListenerPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ListenerStats {
    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
