//! Builds the process from its configuration, runs both planes and waits for the end.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use tokio::{runtime, sync::mpsc};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use crate::{
    config::{Checked, Config, Effective},
    control::{
        self, AccessLogError, AccessLogs, Bound, Command, ControlPlane, DrainReport, Listeners,
        Loader, ServiceKind, WorkerDied, listener_specs,
    },
    data::{
        self, Worker,
        redirect::{Engine, GrpcRoutes, health_service},
    },
    listener::{self, ListenerReceiver},
    net::{self, BindError},
    shutdown::{self, PhaseReceiver},
    state::{Fleet, OpenFiles, RateLimits, Shared, Snapshot},
};

/// A process whose listeners are bound and whose threads are not yet started.
#[derive(Debug)]
pub struct App {
    config: Config,
    /// The keys of the configuration that have a value.
    settings: Vec<Effective>,
    listeners: Bound,
    access_logs: AccessLogs,
    admin_listener: TcpListener,
    open_files: OpenFiles,
    workers: NonZeroUsize,
}

impl App {
    /// Binds every listener and opens the access log.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound, or file that cannot be opened.
    pub fn build(checked: Checked) -> Result<Self, BuildError> {
        let Checked {
            config, settings, ..
        } = checked;
        let open_files = OpenFiles::within(net::raise_open_files_limit());
        control::warn_of_limit(&config.connections, &open_files);
        let workers = config.workers.unwrap_or_else(net::usable_cores);
        let listeners = Bound::new(&listener_specs(&config), &[], workers)?;
        let access_logs = AccessLogs::start(config.access_log.as_ref())?;
        let admin_listener = net::bind("the admin listener", config.admin.listen)?;
        Ok(Self {
            config,
            settings,
            listeners,
            access_logs,
            admin_listener,
            open_files,
            workers,
        })
    }

    /// The CDN that players are sent to.
    pub fn cdn_host(&self) -> Option<&str> {
        let redirect = self.config.redirect.as_ref();
        redirect.map(|redirect| redirect.policy.cdn.host())
    }

    /// Where the redirect service listens, with the port that the system chose for port 0.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.listeners.addrs(ServiceKind::Redirect).next()
    }

    /// Where a listener of the HTTP load balancer is.
    pub fn http_addr(&self, index: usize) -> Option<SocketAddr> {
        self.listeners.addrs(ServiceKind::Http).nth(index)
    }

    /// Where a listener of the TCP load balancer is.
    pub fn tcp_addr(&self, index: usize) -> Option<SocketAddr> {
        self.listeners.addrs(ServiceKind::Tcp).nth(index)
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
        let addresses = self.addresses();
        let workers = self.workers.get();
        let fleet = self.config.redis.as_ref();
        let fleet = fleet.map(|redis| Fleet::new(redis.on_failure, workers));
        let rate_limits = RateLimits::new(self.config.rate_limits.clients_max).shared_by(fleet);
        let nothing = Snapshot::new(&self.config, &rate_limits, Default::default(), Vec::new());
        let per_client_limit = self.config.connections.per_client_limit;
        let shared = Shared::new(
            nothing,
            rate_limits,
            workers,
            per_client_limit,
            self.open_files,
        );
        let (senders, receivers) = listener::listener_channels(workers);
        let mut listeners = Listeners::new(Arc::clone(&shared), senders);
        let in_runtime = runtime.enter();
        let upstreams = control::begin(&self.config, &shared, &mut listeners, self.listeners);
        drop(in_runtime);
        let (phase, phase_receiver) = shutdown::phases();
        let (health, health_server) = runtime.block_on(health_service());
        let (worker_ended, worker_ends) = mpsc::channel(workers);
        let (started, mut all_started) = mpsc::channel(1);
        let plan = WorkerPlan {
            access_logs: self.access_logs.clone(),
            shared: Arc::clone(&shared),
            phase: phase_receiver,
            health: health_server,
            ended: worker_ended,
        };
        let threads = plan.start(receivers, &started).map_err(RunError::Start)?;
        drop(started);
        // Ends when the last worker has dropped its end, be it by failing.
        let _all_started = runtime.block_on(all_started.recv());
        tracing::info!(
            redirect = addresses.redirect,
            http = addresses.http,
            tcp = addresses.tcp,
            admin = addresses.admin,
            workers,
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );

        let control = ControlPlane {
            config: self.config,
            settings: self.settings,
            shared: Arc::clone(&shared),
            admin_listener: self.admin_listener,
            health,
            phase,
            loader,
            commands,
            worker_ends,
            listeners,
            upstreams,
            access_logs: self.access_logs.clone(),
        };
        let report = runtime.block_on(control.run())?;
        for thread in threads {
            // How it ended was reported by the worker's own end message or is past caring.
            let _ended = thread.join();
        }
        self.access_logs.finish();
        // A look-up that hangs must not keep the process.
        runtime.shutdown_background();
        tracing::info!(calls = shared.calls_finished(), "stopped: {report}");
        Ok(report)
    }

    fn addresses(&self) -> Addresses {
        let text = |addr: SocketAddr| addr.to_string();
        let all = |addr: &dyn Fn(usize) -> Option<SocketAddr>| {
            let addrs: Vec<String> = (0..).map_while(addr).map(text).collect();
            (!addrs.is_empty()).then(|| addrs.join(" "))
        };
        Addresses {
            redirect: self.redirect_addr().map(text),
            http: all(&|index| self.http_addr(index)),
            tcp: all(&|index| self.tcp_addr(index)),
            admin: self.admin_addr().map(text),
        }
    }
}

/// What all workers are started with.
struct WorkerPlan {
    access_logs: AccessLogs,
    shared: Arc<Shared>,
    phase: PhaseReceiver,
    health: HealthServer<HealthService>,
    ended: mpsc::Sender<usize>,
}

impl WorkerPlan {
    /// Starts one worker for each receiver of listeners.
    fn start(
        &self,
        receivers: Vec<ListenerReceiver>,
        started: &mpsc::Sender<Infallible>,
    ) -> io::Result<Vec<thread::JoinHandle<()>>> {
        let workers = data::handovers(receivers.len()).into_iter().zip(receivers);
        let start = |(index, (handover, listeners))| {
            let engine = Engine::new(Arc::clone(&self.shared), index);
            let worker = Worker {
                index,
                listeners,
                grpc_routes: GrpcRoutes::new(engine, self.health.clone()),
                handover,
                access_log: self.access_logs.subscribe(),
                shared: Arc::clone(&self.shared),
                phase: self.phase.clone(),
                started: started.clone(),
            };
            start(worker, self.ended.clone())
        };
        workers.enumerate().map(start).collect()
    }
}

/// Where everything listens, for the log.
struct Addresses {
    redirect: Option<String>,
    http: Option<String>,
    tcp: Option<String>,
    admin: Option<String>,
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

/// Why a process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The access log's target.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
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
