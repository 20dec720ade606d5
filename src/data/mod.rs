//! The data plane: one worker a core, and nothing that moves between threads on a call's way.
//!
//! A [`Worker`] is a thread with its own single-threaded runtime, its own listening sockets and
//! its own statistics. `app` starts the workers; they end when the drain does.

use std::{io, rc::Rc, sync::Arc};

use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use crate::{
    config::Connections,
    shutdown::{Phase, PhaseReceiver},
    state::{Shared, WorkerState},
};

mod accept;
mod connection;
mod error;
mod executor;
mod outbox;
mod placement;
pub mod redirect;
mod serve;
mod socket;

pub use placement::{Handover, handovers};

/// What a worker thread is started with.
#[derive(Debug)]
pub struct Worker {
    /// Which one it is, from 0.
    pub index: usize,
    /// Its socket for the redirect service; `None` where another worker accepts for it.
    pub redirect_listener: Option<std::net::TcpListener>,
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
    /// How far a stop has come.
    pub phase: PhaseReceiver,
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
        let listener = self
            .redirect_listener
            .map(TcpListener::from_std)
            .transpose()?;
        let (handover_sender, handed_over) = self.handover.split();
        let (all_done, mut connections_done) = mpsc::channel(1);
        let context = Rc::new(WorkerContext {
            index: self.index,
            redirect: redirect::Engine::new(Arc::clone(&self.shared), self.index),
            grpc_routes: self.grpc_routes,
            connections: self.connections,
            connection_limit: self.connection_limit,
            handover: handover_sender,
            shared: self.shared,
            phase: self.phase,
            _alive: all_done,
        });
        let accepting = tokio::task::spawn_local(accept::receive(Rc::clone(&context), handed_over));
        if let Some(listener) = listener {
            accept::accept(Rc::clone(&context), listener).await;
        }
        let mut phase = context.phase.clone();
        // Once the last connection drops its context, there is nothing left to wait for.
        drop(context);
        tokio::select! {
            _ = connections_done.recv() => {}
            _ = phase.wait_for(|&phase| phase == Phase::Cut) => {}
        }
        accepting.abort();
        Ok(())
    }
}

/// What every connection of one worker uses. Never leaves the worker's thread.
#[derive(Debug)]
struct WorkerContext {
    index: usize,
    redirect: redirect::Engine,
    grpc_routes: redirect::GrpcRoutes,
    connections: Connections,
    connection_limit: usize,
    handover: placement::HandoverSender,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    /// Its other end learns when the last holder of this context is gone.
    _alive: mpsc::Sender<std::convert::Infallible>,
}

impl WorkerContext {
    fn state(&self) -> &WorkerState {
        self.shared.worker(self.index)
    }
}
