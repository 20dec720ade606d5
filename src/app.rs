//! Builds the process from its configuration, runs both planes and waits for the end.

use std::{
    io, iter,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use tokio::{runtime, sync::mpsc};

use crate::{
    config::{Config, Reflection},
    control::{Command, ControlPlane, DrainReport, Loader, WorkerDied},
    data::{
        self, Worker,
        redirect::{Engine, GrpcRoutes, health_service},
    },
    net::{self, BindError},
    shutdown,
    state::{Shared, Snapshot},
};

/// A process whose listeners are bound and whose threads are not yet started.
#[derive(Debug)]
pub struct App {
    config: Config,
    redirect_listeners: Vec<TcpListener>,
    admin_listener: TcpListener,
    connection_limit: usize,
    workers: NonZeroUsize,
}

impl App {
    /// Binds every listener.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub fn build(config: Config) -> Result<Self, BindError> {
        let room = net::connection_limit_for(net::raise_open_files_limit());
        let wanted = config.connections.limit.map_or(room, usize::from);
        if wanted > room {
            tracing::warn!(
                wanted,
                room,
                "connections.limit is lowered to what the limit of open files leaves"
            );
        }
        let connection_limit = wanted.min(room);
        let workers = config.workers.unwrap_or_else(net::usable_cores);
        let redirect_listeners = match &config.redirect {
            Some(redirect) => {
                net::bind_for_workers("the redirect service", redirect.listen, workers)?
            }
            None => Vec::new(),
        };
        let admin_listener = net::bind("the admin listener", config.admin.listen)?;
        Ok(Self {
            config,
            redirect_listeners,
            admin_listener,
            connection_limit,
            workers,
        })
    }

    /// Where the redirect service listens, with the port that the system chose for port 0.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect_listeners.first()?.local_addr().ok()
    }

    /// Where the admin listener is.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_listener.local_addr().ok()
    }

    /// Runs until a stop is complete. Blocks the calling thread, which is the control plane's.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, or a worker dies.
    pub fn run(
        self,
        commands: mpsc::Receiver<Command>,
        loader: Loader,
    ) -> Result<DrainReport, RunError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RunError::Start)?;
        let redirect_addr = self.redirect_addr().map(tracing::field::display);
        let admin_addr = self.admin_addr().map(tracing::field::display);
        let workers = self.workers.get();
        let shared = Shared::new(Snapshot::new(&self.config), workers);
        let (phase, phase_receiver) = shutdown::phases();
        let (health, health_server) = runtime.block_on(health_service());
        let reflection = self
            .config
            .redirect
            .as_ref()
            .map_or(Reflection::Off, |redirect| redirect.reflection);
        let (worker_ended, worker_ends) = mpsc::channel(workers);

        let listeners = self
            .redirect_listeners
            .into_iter()
            .map(Some)
            .chain(iter::repeat_with(|| None));
        let mut threads = Vec::with_capacity(workers);
        for ((index, handover), redirect_listener) in data::handovers(workers)
            .into_iter()
            .enumerate()
            .zip(listeners)
        {
            let engine = Engine::new(Arc::clone(&shared), index);
            let worker = Worker {
                index,
                redirect_listener,
                grpc_routes: GrpcRoutes::new(engine, health_server.clone(), reflection),
                connections: self.config.connections.clone(),
                connection_limit: self.connection_limit,
                handover,
                shared: Arc::clone(&shared),
                phase: phase_receiver.clone(),
            };
            threads.push(start(worker, worker_ended.clone()).map_err(RunError::Start)?);
        }
        tracing::info!(
            redirect = redirect_addr,
            admin = admin_addr,
            workers,
            "serving"
        );

        let control = ControlPlane {
            config: self.config,
            shared: Arc::clone(&shared),
            admin_listener: self.admin_listener,
            health,
            phase,
            loader,
            commands,
            worker_ends,
        };
        let report = runtime.block_on(control.run())?;
        for thread in threads {
            // How it ended was reported by the worker's own end message or is past caring.
            let _ended = thread.join();
        }
        tracing::info!(calls = shared.calls_finished(), "stopped: {report}");
        Ok(report)
    }
}

/// Starts a worker's thread, which reports its end whatever the reason.
fn start(worker: Worker, ended: mpsc::Sender<usize>) -> io::Result<thread::JoinHandle<()>> {
    let index = worker.index;
    let report = EndReport { index, ended };
    thread::Builder::new()
        .name(format!("weir-worker-{index}"))
        .spawn(move || {
            let _report = report;
            if let Err(error) = worker.run() {
                tracing::error!(worker = index, %error, "worker failed");
            }
        })
}

/// Sends the end of a worker, panics included.
struct EndReport {
    index: usize,
    ended: mpsc::Sender<usize>,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        // There is room for one end a worker, and after a stop nobody listens.
        let _nobody_listens = self.ended.try_send(self.index);
    }
}

/// Why a started process came to an end that nobody asked for.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A thread or its runtime could not be started.
    #[error("cannot start a thread: {0}")]
    Start(#[source] io::Error),
    /// A worker ended on its own.
    #[error(transparent)]
    WorkerDied(#[from] WorkerDied),
}
