//! The data plane: one worker a core, and nothing that moves between threads on a call's way.
//!
//! A [`Worker`] is a thread with its own single-threaded runtime, its own listening sockets and
//! its own statistics. `app` starts the workers; they end when the drain does.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    rc::{Rc, Weak},
    sync::Arc,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task,
    time::{Duration, Instant, interval},
};

use crate::{
    config::Connections,
    listener::ListenerReceiver,
    shutdown::{Phase, PhaseReceiver},
    state::{Shared, Snapshot, WorkerState},
    telemetry::access_log::{AccessLog, Sink},
};

mod accept;
mod connection;
mod drive;
mod error;
mod executor;
mod http;
mod http_settings;
mod outbox;
mod placement;
pub mod redirect;
mod serve;
mod socket;
mod timer_pool;
mod tunnel_socket;

use timer_pool::TimerPool;

pub use placement::{Handover, handovers};

/// What a worker thread is started with.
#[derive(Debug)]
pub struct Worker {
    /// Which one it is, from 0.
    pub index: usize,
    /// Brings its sockets; none where another worker accepts for it.
    pub listeners: ListenerReceiver,
    /// The gRPC services beside the redirect method.
    pub grpc_routes: redirect::GrpcRoutes,
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
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        let (handover_sender, handed_over) = self.handover.split();
        let (all_done, mut connections_done) = mpsc::channel(1);
        let context = Rc::new(WorkerContext {
            index: self.index,
            redirect: redirect::Engine::new(Arc::clone(&self.shared), self.index),
            conn_pool: http::ConnPool::default(),
            retry_budgets: http::RetryBudgets::default(),
            unpolled_bodies: http::UnpolledBodies::default(),
            timers: Rc::default(),
            access_log: self.access_log.as_ref().map(AccessLog::sink),
            snapshot: RefCell::new(Rc::new(self.shared.snapshot.load_full())),
            grpc_routes: self.grpc_routes,
            connections: self.connections,
            connection_limit: self.connection_limit,
            handover: handover_sender,
            shared: self.shared,
            phase: self.phase,
            _alive: all_done,
        });
        let accepting = task::spawn_local(accept::receive(Rc::clone(&context), handed_over));
        let housekeeping = task::spawn_local(keep_house(Rc::downgrade(&context)));
        accept::run(&context, self.listeners, self.started).await;
        let mut phase = context.phase.clone();
        // Once the last connection drops its context, there is nothing left to wait for.
        drop(context);
        tokio::select! {
            _ = connections_done.recv() => {}
            _ = phase.wait_for(|&phase| phase == Phase::Cut) => {}
        }
        accepting.abort();
        housekeeping.abort();
        Ok(())
    }
}

/// Does each second, while the worker lives, what nobody else has a reason to do.
async fn keep_house(worker: Weak<WorkerContext>) {
    let mut ticks = interval(HOUSEKEEPING_EVERY);
    loop {
        ticks.tick().await;
        let Some(worker) = worker.upgrade() else {
            return;
        };
        // So that a quiet worker's lines come in time, too.
        if let Some(sink) = &worker.access_log {
            sink.flush();
        }
        http::close_old_connections(&worker);
        worker.unpolled_bodies.give_up_stalled(Instant::now());
    }
}

/// A snapshot as a worker's requests share it. Counted within the worker, so that requests of
/// different workers write no common count.
type LocalSnapshot = Rc<Arc<Snapshot>>;

/// What every connection of one worker uses. Never leaves the worker's thread.
#[derive(Debug)]
struct WorkerContext {
    index: usize,
    redirect: redirect::Engine,
    conn_pool: http::ConnPool,
    retry_budgets: http::RetryBudgets,
    unpolled_bodies: http::UnpolledBodies,
    timers: Rc<TimerPool>,
    access_log: Option<Sink>,
    /// The latest that this worker saw.
    snapshot: RefCell<LocalSnapshot>,
    grpc_routes: redirect::GrpcRoutes,
    connections: Connections,
    connection_limit: usize,
    handover: placement::HandoverSender,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    /// Its other end learns when the last holder of this context is gone.
    _alive: mpsc::Sender<Infallible>,
}

impl WorkerContext {
    fn state(&self) -> &WorkerState {
        self.shared.worker(self.index)
    }

    /// The current snapshot, for as long as a request lasts.
    fn snapshot(&self) -> LocalSnapshot {
        let current = self.shared.snapshot.load();
        let mut known = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(&current, &known) {
            *known = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&known)
    }
}

const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
