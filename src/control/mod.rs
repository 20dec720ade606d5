//! The control plane: everything that is not on a call's way. Its own single thread, so it
//! answers also when the workers are saturated.
//!
//! The only publisher of snapshots and the only mover of phases. `app` starts it.

use std::{fmt, sync::Arc};

use tokio::sync::mpsc;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    config::{Config, ConfigErrors},
    proto,
    shutdown::{Phase, PhaseSender},
    state::Shared,
};

mod admin;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the reload does not wait for it yet")
)]
mod config_watch;
mod drain;
mod health_checker;
mod metrics;
mod reload;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "backends are not resolved with it yet")
)]
mod resolver;
pub mod signals;

pub use drain::DrainReport;

use drain::Progress;

/// What an operator asks of the running process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Drain and end; at the second time, end at once.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// Reads the configuration again, from wherever it came.
pub type Loader = Box<dyn Fn() -> Result<Config, ConfigErrors> + Send>;

/// What the control plane is started with.
pub struct ControlPlane {
    /// The configuration that is running.
    pub config: Config,
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
    pub async fn run(mut self) -> Result<DrainReport, WorkerDied> {
        let admin = admin::serve(
            self.admin_listener,
            Arc::clone(&self.shared),
            self.phase.subscribe(),
        );
        let admin = tokio::spawn(admin);
        let checks = self
            .config
            .upstreams
            .iter()
            .map(|upstream| upstream.health_check.clone());
        let checker = health_checker::run(checks.collect(), Arc::clone(&self.shared));
        let checker = tokio::spawn(checker);
        loop {
            tokio::select! {
                Some(index) = self.worker_ends.recv() => return Err(WorkerDied { index }),
                command = self.commands.recv() => match command {
                    Some(Command::Reload) => reload::reload(&mut self.config, &self.loader, &self.shared),
                    // Nobody can ask for anything any more.
                    Some(Command::Stop) | None => break,
                }
            }
        }
        let progress = Progress::begin(&self.shared);
        let drain = async {
            turn_red(&self.health).await;
            drain::drain(&self.shared, &self.phase, &self.config.drain).await;
        };
        tokio::select! {
            () = drain => {}
            () = asked_again(&mut self.commands) => {}
        }
        let report = progress.end(&self.shared, &self.phase);
        checker.abort();
        admin.abort();
        Ok(report)
    }
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
        }
    }
    std::future::pending().await
}

/// Whether the process may get traffic.
fn is_ready(phase: Phase, shared: &Shared) -> bool {
    phase == Phase::Running && shared.is_probed()
}
