//! Builds the process from its configuration, runs both planes and waits for the end.

use std::{
    io,
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
        self, Face, Listener, Worker,
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
    /// For each face one socket a worker, or one in all where they cannot be shared.
    listeners: Vec<(Face, Vec<TcpListener>)>,
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
        let mut listeners = Vec::new();
        if let Some(redirect) = &config.redirect {
            let sockets = net::bind_for_workers("the redirect service", redirect.listen, workers)?;
            listeners.push((Face::Redirect, sockets));
        }
        for (index, http) in config.http.iter().enumerate() {
            let sockets = net::bind_for_workers("the HTTP load balancer", http.listen, workers)?;
            listeners.push((Face::Http(index), sockets));
        }
        let admin_listener = net::bind("the admin listener", config.admin.listen)?;
        Ok(Self {
            config,
            listeners,
            admin_listener,
            connection_limit,
            workers,
        })
    }

    /// Where the redirect service listens, with the port that the system chose for port 0.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.addr_of(Face::Redirect)
    }

    /// Where a listener of the HTTP load balancer is.
    pub fn http_addr(&self, index: usize) -> Option<SocketAddr> {
        self.addr_of(Face::Http(index))
    }

    fn addr_of(&self, wanted: Face) -> Option<SocketAddr> {
        let (_, sockets) = self.listeners.iter().find(|(face, _)| *face == wanted)?;
        sockets.first()?.local_addr().ok()
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
        let shared = Shared::new(Snapshot::new(&self.config), self.workers.get());
        shared.expect_first_probes(first_probes(&self.config));
        shared.expect_accept_loops(
            self.listeners
                .iter()
                .map(|(_, sockets)| sockets.len())
                .sum(),
        );
        let (phase, phase_receiver) = shutdown::phases();
        let (health, health_server) = runtime.block_on(health_service());
        let (worker_ended, worker_ends) = mpsc::channel(self.workers.get());
        let (started, mut all_started) = mpsc::channel(1);
        let addresses = self.addresses();
        let threads: io::Result<Vec<_>> = data::handovers(self.workers.get())
            .into_iter()
            .zip(sockets_by_worker(self.listeners, self.workers))
            .enumerate()
            .map(|(index, (handover, listeners))| {
                let engine = Engine::new(Arc::clone(&shared), index);
                let worker = Worker {
                    index,
                    listeners,
                    grpc_routes: GrpcRoutes::new(
                        engine,
                        health_server.clone(),
                        reflection(&self.config),
                    ),
                    connections: self.config.connections.clone(),
                    connection_limit: self.connection_limit,
                    handover,
                    shared: Arc::clone(&shared),
                    phase: phase_receiver.clone(),
                    started: started.clone(),
                };
                start(worker, worker_ended.clone())
            })
            .collect();
        let threads = threads.map_err(RunError::Start)?;
        drop(started);
        // Ends when the last worker has dropped its end, be it by failing.
        let _all_started = runtime.block_on(all_started.recv());
        tracing::info!(
            redirect = addresses.redirect,
            http = addresses.http,
            admin = addresses.admin,
            workers = self.workers.get(),
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

    fn addresses(&self) -> Addresses {
        let text = |addr: SocketAddr| addr.to_string();
        let http: Vec<String> = (0..)
            .map_while(|index| self.http_addr(index))
            .map(text)
            .collect();
        Addresses {
            redirect: self.redirect_addr().map(text),
            http: (!http.is_empty()).then(|| http.join(" ")),
            admin: self.admin_addr().map(text),
        }
    }
}

/// Where everything listens, for the log.
struct Addresses {
    redirect: Option<String>,
    http: Option<String>,
    admin: Option<String>,
}

/// Deals out the sockets of each face, one a worker as far as they go.
fn sockets_by_worker(
    faces: Vec<(Face, Vec<TcpListener>)>,
    workers: NonZeroUsize,
) -> Vec<Vec<Listener>> {
    let mut by_worker: Vec<Vec<Listener>> = (0..workers.get()).map(|_| Vec::new()).collect();
    for (face, sockets) in faces {
        for (listeners, socket) in by_worker.iter_mut().zip(sockets) {
            listeners.push(Listener { face, socket });
        }
    }
    by_worker
}

fn reflection(config: &Config) -> Reflection {
    config
        .redirect
        .as_ref()
        .map_or(Reflection::Off, |redirect| redirect.reflection)
}

/// How many backends readiness waits for.
fn first_probes(config: &Config) -> usize {
    let checked = config
        .upstreams
        .iter()
        .filter(|upstream| upstream.health_check.is_some());
    checked.map(|upstream| upstream.backends.len()).sum()
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
