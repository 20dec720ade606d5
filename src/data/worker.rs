//! One worker: a thread with a runtime, listening sockets and statistics of its own.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt, io,
    rc::{Rc, Weak},
    sync::Arc,
    task::Waker,
};

use slab::Slab;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task,
    time::{Duration, interval},
};

use crate::{
    config::Connections,
    data::{
        listener::{self, Handover, HandoverSender},
        redirect::GrpcRoutes,
        service::Services,
        stream::Scratch,
    },
    listener::ListenerReceiver,
    shutdown::{Phase, PhaseReceiver},
    state::{Shared, Snapshot, Upstream, WorkerState},
    telemetry::access_log::AccessLog,
};

/// What a worker thread is started with.
#[derive(Debug)]
pub struct Worker {
    /// Which one it is, from 0.
    pub index: usize,
    /// Brings its sockets; none where another worker accepts for it.
    pub listeners: ListenerReceiver,
    /// The gRPC services beside the redirect method.
    pub grpc_routes: GrpcRoutes,
    /// Limits and timeouts of client connections.
    pub connections: Connections,
    /// Open connections allowed over all workers.
    pub connection_limit: usize,
    /// The channels to the other workers.
    pub handover: Handover,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Where requests of the load balancer are logged; nowhere if `None`.
    pub access_log: Option<AccessLog>,
    /// How far a stop has come.
    pub phase: PhaseReceiver,
    /// Dropped once its sockets are being accepted on.
    pub started: mpsc::Sender<Infallible>,
}

impl Worker {
    /// Serves until the drain is over. This is the worker thread's whole life.
    ///
    /// # Errors
    ///
    /// When the runtime or a listener cannot be set up.
    pub fn run(self) -> io::Result<()> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        runtime.block_on(self.serve());
        Ok(())
    }

    async fn serve(self) {
        let (handover_sender, handed_over) = self.handover.split();
        let (all_done, mut connections_done) = mpsc::channel(1);
        let mut phase = self.phase;
        let context = Rc::new(WorkerContext {
            index: self.index,
            scratch: RefCell::default(),
            snapshot: RefCell::new(Rc::new(self.shared.snapshot.load_full())),
            connections: self.connections,
            connection_limit: self.connection_limit,
            handover: handover_sender,
            shared: self.shared,
            phases: Phases::new(*phase.borrow()),
            _alive: all_done,
        });
        let services = Rc::new(Services::new(
            &context,
            self.grpc_routes,
            self.access_log.as_ref(),
        ));
        let tasks = [
            task::spawn_local(listener::receive(
                Rc::clone(&services),
                handed_over,
                phase.clone(),
            )),
            task::spawn_local(keep_house(Rc::downgrade(&services))),
            task::spawn_local(follow(Rc::downgrade(&context), phase.clone())),
        ];
        drop(context);
        listener::run(services, self.listeners, phase.clone(), self.started).await;
        // Once the last connection drops its context, there is nothing left to wait for.
        tokio::select! {
            _ = connections_done.recv() => {}
            _ = phase.wait_for(|&phase| phase == Phase::Cut) => {}
        }
        for task in tasks {
            task.abort();
        }
    }
}

/// Does what has to be done each second while the worker lives.
async fn keep_house(services: Weak<Services>) {
    let mut ticks = interval(HOUSEKEEPING_EVERY);
    loop {
        ticks.tick().await;
        let Some(services) = services.upgrade() else {
            return;
        };
        services.keep_house();
    }
}

/// Tells the worker's connections how far a stop has come.
async fn follow(context: Weak<WorkerContext>, mut phase: PhaseReceiver) {
    while phase.changed().await.is_ok() {
        let phase = *phase.borrow_and_update();
        match context.upgrade() {
            Some(context) => context.phases.enter(phase),
            None => return,
        }
    }
}

/// A snapshot as a worker's requests share it. Counted within the worker, so that requests of
/// different workers write no common count.
pub(in crate::data) type LocalSnapshot = Rc<Arc<Snapshot>>;

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
    pub(in crate::data) connections: Connections,
    pub(in crate::data) connection_limit: usize,
    pub(in crate::data) handover: HandoverSender,
    pub(in crate::data) phases: Phases,
    /// Borrowed by one poll of a connection at a time.
    pub(in crate::data) scratch: RefCell<Scratch>,
    /// The latest snapshot that this worker saw.
    snapshot: RefCell<LocalSnapshot>,
    /// Its other end learns when the last holder of this context is gone.
    _alive: mpsc::Sender<Infallible>,
}

impl WorkerContext {
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

    fn enter(&self, phase: Phase) {
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

const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
