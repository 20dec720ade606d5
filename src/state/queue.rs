//! Where requests wait for a backend that may take one more.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// The queue of one upstream, for all workers: retries first, then first come, first served.
/// Outlives snapshots.
#[derive(Debug, Default)]
pub struct Queue {
    /// Requests in the queue. Written by every worker. Sequentially consistent: see
    /// `BackendStats::in_flight`.
    waiting: AtomicUsize,
    /// Those of them that are retries. Written and read as above.
    retries_waiting: AtomicUsize,
    room: Notify,
    room_for_retries: Notify,
}

/// Where a request stands in a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueueRank {
    /// A first attempt.
    First,
    /// An attempt after one that failed: its client has waited longer than all others.
    Retry,
}

impl Queue {
    /// Takes a place, unless `length` are taken.
    pub fn enter(&self, rank: QueueRank, length: usize) -> Option<Place<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        if rank == QueueRank::Retry {
            self.retries_waiting.fetch_add(1, Ordering::SeqCst);
        }
        let place = Place { queue: self, rank };
        (before < length).then_some(place)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Lets the next one try. Costs a read when no request waits.
    pub fn let_one_in(&self) {
        if self.waiting() == 0 {
            return;
        }
        match self.retries_waiting.load(Ordering::SeqCst) {
            0 => self.room.notify_one(),
            _ => self.room_for_retries.notify_one(),
        }
    }

    /// Lets everyone try: other backends may be available now.
    pub fn let_all_in(&self) {
        self.room.notify_waiters();
        self.room_for_retries.notify_waiters();
    }
}

/// A place in a queue, given back when it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    queue: &'a Queue,
    rank: QueueRank,
}

impl Place<'_> {
    /// Ends when there may be room. To lose no wake-up, enable it before looking for room.
    pub fn room(&self) -> Notified<'_> {
        match self.rank {
            QueueRank::First => self.queue.room.notified(),
            QueueRank::Retry => self.queue.room_for_retries.notified(),
        }
    }

    /// Passes a wake-up on that was of no use: a retry may not go to every backend.
    pub fn pass_on(&self) {
        if self.rank == QueueRank::Retry {
            self.queue.room.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A wake-up that came for this one and was not used goes to the next by itself.
        self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
        if self.rank == QueueRank::Retry {
            self.queue.retries_waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
