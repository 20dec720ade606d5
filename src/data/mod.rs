//! The data plane: one worker a core, and nothing that moves between threads on a call's way.
//!
//! A [`Worker`] is a thread with its own single-threaded runtime, its own listening sockets and
//! its own statistics. `app` starts the workers; they end when the drain does.

use std::{convert::Infallible, io, rc::Rc, sync::Arc};

use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task,
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
mod http;
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
    /// Its sockets; none where another worker accepts for it.
    pub listeners: Vec<Listener>,
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
            grpc_routes: self.grpc_routes,
            connections: self.connections,
            connection_limit: self.connection_limit,
            handover: handover_sender,
            shared: self.shared,
            phase: self.phase,
            _alive: all_done,
        });
        let accepting = task::spawn_local(accept::receive(Rc::clone(&context), handed_over));
        let sweeping = task::spawn_local(http::close_old_connections(Rc::downgrade(&context)));
        let mut loops = Vec::with_capacity(self.listeners.len());
        for Listener { face, socket } in self.listeners {
            let socket = TcpListener::from_std(socket)?;
            loops.push(task::spawn_local(accept::accept(
                Rc::clone(&context),
                face,
                socket,
            )));
        }
        drop(self.started);
        for accept_loop in loops {
            // A panic there is caught by the runtime, and its listener is gone with it.
            let _ended = accept_loop.await;
        }
        let mut phase = context.phase.clone();
        // Once the last connection drops its context, there is nothing left to wait for.
        drop(context);
        tokio::select! {
            _ = connections_done.recv() => {}
            _ = phase.wait_for(|&phase| phase == Phase::Cut) => {}
        }
        accepting.abort();
        sweeping.abort();
        Ok(())
    }
}

/// A socket to accept on, and what is served there.
#[derive(Debug)]
pub struct Listener {
    /// What is served.
    pub face: Face,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Face {
    /// The redirect service.
    Redirect,
    /// The HTTP load balancer's listener of this index.
    Http(usize),
}

/// What every connection of one worker uses. Never leaves the worker's thread.
#[derive(Debug)]
struct WorkerContext {
    index: usize,
    redirect: redirect::Engine,
    conn_pool: http::ConnPool,
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
}
