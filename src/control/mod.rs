//! The control plane: everything that is not on a call's way. Its own single thread, so it
//! answers also when the workers are saturated.
//!
//! The only publisher of snapshots and the only mover of phases. `app` starts it.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, timeout},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    config::{BackendOverrides, Config, Effective},
    proto,
    shutdown::{Phase, PhaseSender},
    state::Shared,
    store::Store,
};

mod access_logs;
mod admin;
mod clients;
mod config_watch;
mod drain;
mod fleet;
mod listeners;
mod loading;
mod metrics;
mod names;
mod operations;
mod prober;
mod reload;
mod resolver;
pub mod signals;
mod stats;
mod upstreams;

pub use access_logs::{AccessLogError, AccessLogs};
pub use drain::DrainReport;
pub use listeners::{Bound, Listeners, ServiceKind, listener_specs};
pub use loading::Loader;
pub use reload::{show_warnings, warn_of_limit};
pub use upstreams::Upstreams;

use admin::{Admin, AdminChanges, AdminSettings};
use clients::{ClientSync, Followed};
use config_watch::ConfigWatch;
use drain::Progress;
use fleet::FleetSync;
use loading::{Loading, Why};
use operations::{Operation, RunningOverrides};
use reload::Running;
use stats::Recorder;

/// What an operator asks of the running process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Drain and end; at the second time, end at once.
    Stop,
    /// Read the configuration again, and open the access log's file again.
    Reload,
    /// Open the access log's file again.
    ReopenLogs,
}

/// What the control plane is started with.
pub struct ControlPlane {
    /// The configuration that is running.
    pub config: Config,
    /// Its keys that have a value.
    pub settings: Vec<Effective>,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// The admin listener's socket.
    pub admin_listener: std::net::TcpListener,
    /// Turns the gRPC health service red.
    pub health: HealthReporter,
    /// Moves the phases of a stop.
    pub phase: PhaseSender,
    /// Reads the configuration for a reload.
    pub loader: Loader,
    /// The operator's wishes.
    pub commands: mpsc::Receiver<Command>,
    /// Tells that a worker ended.
    pub worker_ends: mpsc::Receiver<usize>,
    /// The load balancer's listeners.
    pub listeners: Listeners,
    /// Who may take requests.
    pub upstreams: Upstreams,
    /// The load balancer's access log.
    pub access_logs: AccessLogs,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A worker ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("worker {index} ended unexpectedly")]
pub struct WorkerDied {
    /// Which one.
    pub index: usize,
}

impl ControlPlane {
    /// Runs until a stop is complete.
    ///
    /// # Errors
    ///
    /// When a worker dies: a fault of ours, after which the process should be replaced.
    pub async fn run(self) -> Result<DrainReport, WorkerDied> {
        let admin_settings = Arc::new(AdminSettings::new(&self.config, self.settings));
        let store = open_database(&self.config, &self.shared);
        let clients_changed = Arc::new(Notify::new());
        let followed = store.clone().map(|store| {
            let clients_changed = Arc::clone(&clients_changed);
            let (sync, followed) =
                ClientSync::new(store, Arc::clone(&self.shared), clients_changed);
            (tokio::spawn(sync.run()), followed)
        });
        let (sync, followed) = followed.unzip();
        let fleet = self.config.redis.clone();
        let fleet = fleet.map(|redis| FleetSync::new(redis, Arc::clone(&self.shared)));
        let fleet = fleet.map(|fleet| tokio::spawn(fleet.run()));
        let (operations, asked) = mpsc::channel(OPERATIONS_MAX);
        let phases = self.phase.subscribe();
        let (recorder, looks, recorded) = Recorder::new(Arc::clone(&self.shared), phases);
        let recorder = tokio::spawn(recorder.run(looks));
        let admin = Admin::new(
            Arc::clone(&admin_settings),
            Arc::clone(&self.shared),
            self.phase.subscribe(),
            self.access_logs.clone(),
            AdminChanges {
                store: store.clone(),
                clients_changed,
                operations,
            },
            recorded,
        );
        let admin = tokio::spawn(admin::serve(self.admin_listener, admin));
        let mut running = Running {
            config: self.config,
            shared: self.shared,
            listeners: self.listeners,
            upstreams: self.upstreams,
            access_logs: self.access_logs,
            admin_settings,
            overrides: RunningOverrides::kept_in(store.clone()),
            waiting: Vec::new(),
        };
        let mut asking = Asking {
            commands: self.commands,
            worker_ends: self.worker_ends,
            operations: asked,
            followed,
        };
        follow(&mut running, self.loader, &mut asking).await?;
        let report = stop(&mut running, asking, &self.health, &self.phase).await;
        recorder.abort();
        admin.abort();
        fleet.inspect(|fleet| fleet.abort());
        if let (Some(sync), Some(store)) = (sync, store) {
            sync.abort();
            // So that an SQLite file is whole by itself.
            let _closed_or_elapsed = timeout(CLOSE_TIME_MAX, store.close()).await;
        }
        Ok(report)
    }
}

/// Drains, until that is done or an operator has no more patience.
async fn stop(
    running: &mut Running,
    asking: Asking,
    health: &HealthReporter,
    phase: &PhaseSender,
) -> DrainReport {
    let mut commands = asking.commands;
    // Nothing is changed any more.
    drop(asking.operations);
    let progress = Progress::begin(&running.shared);
    let drain = async {
        turn_red(health).await;
        drain::drain(&running.shared, phase, &running.config.drain).await;
    };
    // Backends may still die while their last requests are under way.
    let keep_up = async {
        loop {
            running.upstreams.change().await;
        }
    };
    tokio::select! {
        () = drain => {}
        () = asked_again(&mut commands) => {}
        () = keep_up => {}
    }
    progress.end(&running.shared, phase)
}

/// Where wishes and news come from.
struct Asking {
    commands: mpsc::Receiver<Command>,
    worker_ends: mpsc::Receiver<usize>,
    /// Of the admin API.
    operations: mpsc::Receiver<Operation>,
    /// What the database says, if there is one.
    followed: Option<mpsc::Receiver<Followed>>,
}

/// Does what the operator asks for until that is a stop.
async fn follow(
    running: &mut Running,
    loader: Loader,
    asking: &mut Asking,
) -> Result<(), WorkerDied> {
    let file = loader.file.clone().filter(|_| loader.is_repeatable());
    let mut loading = Loading::new(loader);
    let mut file_changes = None;
    loop {
        let wanted = file.as_ref().filter(|_| running.config.watch);
        match (wanted, &file_changes) {
            (Some(file), None) => {
                file_changes = Some(watch(file.clone()));
                // A change before the watch began has given no sign.
                let _number = loading.begin(Why::MayDiffer);
            }
            (None, Some(_)) => file_changes = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
        tokio::select! {
            Some(index) = asking.worker_ends.recv() => return Err(WorkerDied { index }),
            () = running.upstreams.change() => {}
            followed = next_followed(&mut asking.followed) => running.take_followed(followed),
            Some(operation) = asking.operations.recv() => running.operate(operation, &mut loading),
            () = running.overrides.next_end() => running.expire_overrides(),
            () = changed(&mut file_changes) => {
                let _number = loading.begin(Why::Asked);
            }
            loaded = loading.loaded() => running.take(loaded),
            command = asking.commands.recv() => match command {
                Some(Command::Reload) => {
                    let _number = loading.begin(Why::Asked);
                    running.access_logs.reopen();
                }
                Some(Command::ReopenLogs) => running.access_logs.reopen(),
                // No other command can come.
                Some(Command::Stop) | None => return Ok(()),
            },
        }
    }
}

/// Watches the configuration file, by a task of its own: it needs a while without a change, which
/// whatever else happens here must not break.
fn watch(file: PathBuf) -> mpsc::Receiver<()> {
    let (sender, changes) = mpsc::channel(1);
    let mut watch = ConfigWatch::new(file);
    tokio::spawn(async move {
        loop {
            watch.changed().await;
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    changes
}

/// Waits for a change of the configuration file; for ever, if none is watched.
async fn changed(file_changes: &mut Option<mpsc::Receiver<()>>) {
    let changed = match file_changes {
        Some(changes) => changes.recv().await,
        None => None,
    };
    if changed.is_none() {
        std::future::pending().await
    }
}

/// The database of clients, if there is one.
fn open_database(config: &Config, shared: &Shared) -> Option<Store> {
    let Some(database) = &config.database else {
        shared.database.unused();
        return None;
    };
    let opened = Store::new(database).inspect_err(|error| {
        shared.database.failed();
        tracing::error!(%database, %error, "the database cannot be used; each client has the default limit");
    });
    opened.ok()
}

/// Waits for news of the database; for ever, if none is followed.
async fn next_followed(followed: &mut Option<mpsc::Receiver<Followed>>) -> Followed {
    let next = match followed {
        Some(followed) => followed.recv().await,
        None => None,
    };
    match next {
        Some(followed) => followed,
        None => std::future::pending().await,
    }
}

/// Publishes the first snapshot and hands out the first listeners, so that workers find both when
/// they start. Needs the control plane's runtime.
pub fn begin(
    config: &Config,
    shared: &Arc<Shared>,
    listeners: &mut Listeners,
    bound: Bound,
) -> Upstreams {
    let mut upstreams = Upstreams::new(Arc::clone(shared), config.state_file.as_deref());
    let overrides = BackendOverrides::default();
    reload::begin(config, &overrides, listeners, &mut upstreams, bound);
    upstreams
}

/// Makes the gRPC health service say `NOT_SERVING`.
async fn turn_red(health: &HealthReporter) {
    for service in ["", proto::SERVICE] {
        health
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
}

/// Waits for the second stop.
async fn asked_again(commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Stop => return,
            Command::Reload => tracing::warn!("not reloading: the process is stopping"),
            Command::ReopenLogs => {}
        }
    }
    std::future::pending().await
}

/// A fifth more or less, so that many processes do not ask at the same moment.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(fastrand::f64().mul_add(0.4, 0.8))
}

/// Whether the process may get traffic.
fn is_ready(phase: Phase, shared: &Shared) -> bool {
    phase == Phase::Running && shared.is_probed() && shared.database.is_tried()
}

/// Operations that wait for the loop.
const OPERATIONS_MAX: usize = 16;
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
