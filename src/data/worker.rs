//! One worker: a thread with a runtime, listening sockets and statistics of its own.

use std::{
    convert::Infallible,
    io,
    rc::{Rc, Weak},
    sync::Arc,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, watch},
    task,
    time::{Duration, interval},
};

use crate::{
    data::{
        context::WorkerContext,
        listener::{self, Acceptor, Handover},
        redirect::GrpcRoutes,
        service::Services,
    },
    listener::ListenerReceiver,
    shutdown::{Phase, PhaseReceiver},
    state::Shared,
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
    /// The channels to the other workers.
    pub handover: Handover,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Where requests of the load balancer are logged; nowhere if `None`. A reload changes it.
    pub access_log: watch::Receiver<Option<AccessLog>>,
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
        let (handover, handed_over) = self.handover.split();
        let (all_done, mut connections_done) = mpsc::channel(1);
        let mut phase = self.phase;
        let context = Rc::new(WorkerContext::new(
            self.index,
            self.shared,
            *phase.borrow(),
            all_done,
        ));
        let services = Rc::new(Services::new(&context, self.grpc_routes));
        let mut access_log = self.access_log;
        services.log_to(access_log.borrow_and_update().as_ref());
        let logging = follow_access_log(Rc::downgrade(&services), access_log);
        let housekeeping = keep_house(Rc::downgrade(&services));
        let acceptor = Rc::new(Acceptor::new(services, handover));
        let tasks = [
            task::spawn_local(listener::receive(
                Rc::clone(&acceptor),
                handed_over,
                phase.clone(),
            )),
            task::spawn_local(housekeeping),
            task::spawn_local(logging),
            task::spawn_local(follow(Rc::downgrade(&context), phase.clone())),
        ];
        let left = Rc::downgrade(&context);
        drop(context);
        listener::run(acceptor, self.listeners, phase.clone(), self.started).await;
        // Once the last connection drops its context, there is nothing left to wait for.
        tokio::select! {
            _ = connections_done.recv() => {}
            _ = phase.wait_for(|&phase| phase == Phase::Cut) => {}
        }
        // What is cut now must know why, also where `follow` had no turn yet.
        if let Some(context) = left.upgrade() {
            context.phases.enter(*phase.borrow());
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

/// Logs requests to whatever access log a reload starts.
async fn follow_access_log(
    services: Weak<Services>,
    mut access_log: watch::Receiver<Option<AccessLog>>,
) {
    while access_log.changed().await.is_ok() {
        match services.upgrade() {
            Some(services) => services.log_to(access_log.borrow_and_update().as_ref()),
            None => return,
        }
    }
}

const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
