//! What all connections of one worker use, whatever service they are for.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use slab::Slab;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    config::Connections,
    data::{event_budget::EventBudget, stream::Scratch},
    shutdown::Phase,
    state::{Shared, Snapshot, Upstream, WorkerState},
};

/// A snapshot as a worker's requests share it. Counted within the worker, so that requests of
/// different workers write no common count.
pub(in crate::data) type LocalSnapshot = Rc<Arc<Snapshot>>;

/// The limits of client connections, counted within the worker as well.
pub(in crate::data) type LocalConnections = Rc<Arc<Connections>>;

/// An upstream of a snapshot, with the snapshot. Costs the worker's own count to clone.
#[derive(Clone, Debug)]
pub(in crate::data) struct UpstreamRef {
    snapshot: LocalSnapshot,
    index: usize,
}

impl UpstreamRef {
    /// The upstream at an index; `None` if there is none.
    pub(in crate::data) fn new(snapshot: &LocalSnapshot, index: usize) -> Option<Self> {
        snapshot.upstreams.get(index)?;
        Some(Self {
            snapshot: Rc::clone(snapshot),
            index,
        })
    }

    /// The upstream.
    #[expect(clippy::indexing_slicing, reason = "the constructor has looked")]
    pub(in crate::data) fn get(&self) -> &Upstream {
        &self.snapshot.upstreams[self.index]
    }

    /// The snapshot that it is of.
    pub(in crate::data) fn snapshot(&self) -> &LocalSnapshot {
        &self.snapshot
    }

    /// The same upstream in a later snapshot; itself if a reload took it away.
    pub(in crate::data) fn in_snapshot(&self, later: &LocalSnapshot) -> Self {
        let id = self.get().id;
        let index = later
            .upstreams
            .iter()
            .position(|upstream| upstream.id == id);
        index.map_or_else(
            || self.clone(),
            |index| Self {
                snapshot: Rc::clone(later),
                index,
            },
        )
    }
}

/// What every connection of one worker uses, whatever service it is for. Never leaves the worker's
/// thread.
pub(in crate::data) struct WorkerContext {
    pub(in crate::data) index: usize,
    pub(in crate::data) shared: Arc<Shared>,
    pub(in crate::data) phases: Phases,
    /// Borrowed by one poll of a connection at a time.
    pub(in crate::data) scratch: RefCell<Scratch>,
    /// Borrowed by one poll of a relay at a time.
    pub(in crate::data) relay_buffer: RefCell<Box<[u8]>>,
    /// The latest snapshot that this worker saw.
    snapshot: RefCell<LocalSnapshot>,
    connections: RefCell<LocalConnections>,
    /// Requests that a limit in shadow mode would have refused.
    pub(in crate::data) shadow_events: EventBudget,
    /// Its other end learns when the last holder of this context is gone.
    _alive: mpsc::Sender<Infallible>,
}

impl WorkerContext {
    /// The context of a worker. `alive` is dropped with it.
    pub(in crate::data) fn new(
        index: usize,
        shared: Arc<Shared>,
        phase: Phase,
        alive: mpsc::Sender<Infallible>,
    ) -> Self {
        Self {
            index,
            scratch: RefCell::default(),
            relay_buffer: RefCell::new(vec![0; RELAY_BYTES].into()),
            snapshot: RefCell::new(Rc::new(shared.snapshot.load_full())),
            connections: RefCell::new(Rc::new(Arc::clone(&shared.snapshot.load().connections))),
            shared,
            phases: Phases::new(phase),
            shadow_events: EventBudget::new(Instant::now()),
            _alive: alive,
        }
    }

    /// The counts that others see of this worker.
    pub(in crate::data) fn state(&self) -> &WorkerState {
        self.shared.worker(self.index)
    }

    /// The current snapshot, for as long as a request lasts.
    pub(in crate::data) fn snapshot(&self) -> LocalSnapshot {
        let current = self.shared.snapshot.load();
        let mut known = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(&current, &known) {
            *known = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&known)
    }

    /// The current limits of client connections. A connection keeps those that it began with.
    pub(in crate::data) fn connections(&self) -> LocalConnections {
        let current = &self.shared.snapshot.load().connections;
        let mut known = self.connections.borrow_mut();
        if !Arc::ptr_eq(current, &known) {
            *known = Rc::new(Arc::clone(current));
        }
        Rc::clone(&known)
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerContext")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// How far a stop has come, and the connections to tell. Asking costs a read, where a channel
/// would cost each connection a lock for each wait.
#[derive(Debug)]
pub(in crate::data) struct Phases {
    current: Cell<Phase>,
    wakers: RefCell<Slab<Waker>>,
}

impl Phases {
    fn new(phase: Phase) -> Self {
        Self {
            current: Cell::new(phase),
            wakers: RefCell::default(),
        }
    }

    /// The current phase.
    pub(in crate::data) fn current(&self) -> Phase {
        self.current.get()
    }

    /// Wakes a task at each change until [`Phases::leave`] is called with what this returns.
    pub(in crate::data) fn join(&self, waker: &Waker) -> usize {
        self.wakers.borrow_mut().insert(waker.clone())
    }

    /// Takes a task off the list.
    pub(in crate::data) fn leave(&self, key: usize) {
        let mut wakers = self.wakers.borrow_mut();
        wakers.try_remove(key);
        if wakers.is_empty() {
            *wakers = Slab::new();
        }
    }

    /// Notes a phase, and wakes the tasks that joined.
    pub(in crate::data) fn enter(&self, phase: Phase) {
        self.current.set(phase);
        let wakers: Vec<Waker> = self
            .wakers
            .borrow()
            .iter()
            .map(|(_, waker)| waker.clone())
            .collect();
        for waker in wakers {
            waker.wake();
        }
    }
}

/// What a relay reads at a time, and holds at the most for a side that takes nothing.
const RELAY_BYTES: usize = 64 * 1024;
