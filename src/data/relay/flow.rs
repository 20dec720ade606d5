//! What moved in a relay and when, and which side broke.

use std::cell::Cell;

use tokio::time::{Duration, Instant};

/// What moved in a relay. Shared, as it is read when the relay is given up.
#[derive(Debug)]
pub(in crate::data) struct Flow {
    now: Cell<Instant>,
    client: SideFlow,
    backend: SideFlow,
    /// The first side that broke.
    broken: Cell<Option<Side>>,
}

#[derive(Debug)]
struct SideFlow {
    /// Bytes that came from it.
    bytes: Cell<u64>,
    /// When it last sent or took something.
    moved_at: Cell<Instant>,
}

impl SideFlow {
    fn new(bytes: u64, now: Instant) -> Self {
        Self {
            bytes: Cell::new(bytes),
            moved_at: Cell::new(now),
        }
    }
}

/// Whose end it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::data) enum Side {
    Client,
    Backend,
}

impl Flow {
    /// A flow of which some bytes came from the client before.
    pub(in crate::data) fn new(received: u64, now: Instant) -> Self {
        Self {
            now: Cell::new(now),
            client: SideFlow::new(received, now),
            backend: SideFlow::new(0, now),
            broken: Cell::new(None),
        }
    }

    /// Bytes that came from the client.
    pub(in crate::data) fn received(&self) -> u64 {
        self.client.bytes.get()
    }

    /// Bytes that came from the backend.
    pub(in crate::data) fn sent(&self) -> u64 {
        self.backend.bytes.get()
    }

    /// The first side that broke.
    pub(in crate::data) fn broken(&self) -> Option<Side> {
        self.broken.get()
    }

    pub(in crate::data) fn broke(&self, side: Side) {
        self.broken.set(self.broken.get().or(Some(side)));
    }

    /// Notes the time, for all that moves before it is noted again.
    pub(super) fn look_at_the_clock(&self, now: Instant) {
        self.now.set(now);
    }

    pub(super) fn read(&self, side: Side, bytes: usize) {
        let count = &self.side(side).bytes;
        count.set(count.get() + bytes as u64);
        self.moved(side);
    }

    pub(super) fn moved(&self, side: Side) {
        self.side(side).moved_at.set(self.now.get());
    }

    /// When one of the sides has stood still for its time.
    pub(super) fn due(&self, client: Duration, backend: Duration) -> Instant {
        let client = self.client.moved_at.get() + client;
        client.min(self.backend.moved_at.get() + backend)
    }

    pub(super) fn latest_move(&self) -> Instant {
        let client = self.client.moved_at.get();
        client.max(self.backend.moved_at.get())
    }

    fn side(&self, side: Side) -> &SideFlow {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }
}
