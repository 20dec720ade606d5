//! Where requests wait for a backend that may take one more.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// The queue of one upstream, for all workers; first come, first served. Outlives snapshots.
#[derive(Debug, Default)]
pub struct Queue {
    /// Written by every worker. Sequentially consistent: see `BackendStats::in_flight`.
    waiting: AtomicUsize,
    room: Notify,
}

impl Queue {
    /// Takes a place, unless `length` are taken.
    pub fn enter(&self, length: usize) -> Option<Place<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let place = Place(self);
        (before < length).then_some(place)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Lets the next one try. Costs a read when nobody waits.
    pub fn let_one_in(&self) {
        if self.waiting() > 0 {
            self.room.notify_one();
        }
    }

    /// Lets everyone try: other backends may be available now.
    pub fn let_all_in(&self) {
        self.room.notify_waiters();
    }
}

/// A place in a queue, given back when it is dropped.
#[derive(Debug)]
pub struct Place<'a>(&'a Queue);

impl Place<'_> {
    /// Ends when there may be room. To lose no sign, enable it before looking for room.
    pub fn room(&self) -> Notified<'_> {
        self.0.room.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A sign that came for this one and was not used goes to the next by itself.
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
