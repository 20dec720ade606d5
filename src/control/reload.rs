//! Replaces the running configuration by one that was read.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    config::{Config, Connections},
    control::{
        access_logs::{self, AccessLogError, AccessLogs},
        admin::AdminSettings,
        listeners::{Bound, Listeners, listener_specs},
        loading::{LoadError, Why},
        upstreams::Upstreams,
    },
    limit::Client,
    net::BindError,
    state::{OpenFiles, Shared},
};

/// The running configuration, and what a reload changes.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) listeners: Listeners,
    pub(super) upstreams: Upstreams,
    pub(super) access_logs: AccessLogs,
    pub(super) admin_settings: Arc<AdminSettings>,
    /// What the database says of clients.
    pub(super) clients: Option<mpsc::Receiver<Vec<Client>>>,
}

/// Why a configuration is not taken, so that the old one goes on.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
}

impl Running {
    /// Takes a configuration that was read, or says why the old one goes on. Whatever stays the
    /// same keeps running as it is.
    pub(super) fn take(&mut self, why: Why, loaded: Result<Config, LoadError>) {
        let is_same = loaded.as_ref().is_ok_and(|loaded| *loaded == self.config);
        if is_same && why == Why::MayDiffer {
            return;
        }
        if let Err(error) = loaded
            .map_err(Refused::from)
            .and_then(|loaded| self.publish(loaded))
        {
            self.shared.reloads.refused(error.to_string());
            tracing::error!(%error, "reload refused; the old configuration keeps serving");
            return;
        }
        self.shared.reloads.succeeded();
        let upstreams = &self.config.upstreams;
        let backends = upstreams.iter().map(|upstream| upstream.backends.len());
        tracing::info!(
            listeners = self.config.http.len(),
            upstreams = upstreams.len(),
            backends = backends.sum::<usize>(),
            "configuration reloaded"
        );
    }

    /// Binds and opens what is new, then publishes everything at once, then accepts. What cannot
    /// change stays as it is, with a warning.
    fn publish(&mut self, mut loaded: Config) -> Result<(), Refused> {
        let workers = NonZeroUsize::new(self.shared.workers().len()).unwrap_or(NonZeroUsize::MIN);
        let specs = listener_specs(&loaded);
        let bound = Bound::new(&specs, &self.listeners.are_open(&specs), workers)?;
        let log = match loaded.access_log == self.config.access_log {
            true => None,
            false => Some(access_logs::open(loaded.access_log.as_ref())?),
        };
        let fixed = keep_fixed(&self.config, &mut loaded);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            tracing::warn!(
                keys,
                "these change at the next restart; the rest is reloaded"
            );
        }
        show_warnings(&loaded);
        warn_of_limit(&loaded.connections, &self.shared.open_files);
        let per_client_limit = loaded.connections.per_client_limit;
        self.shared.clients.limit_to(per_client_limit);
        begin(&loaded, &mut self.listeners, &mut self.upstreams, bound);
        if let Some(log) = log {
            self.access_logs.switch(log);
        }
        self.admin_settings.set(&loaded);
        self.config = loaded;
        Ok(())
    }
}

/// Publishes a configuration whose new listeners are bound.
pub(super) fn begin(
    config: &Config,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
    bound: Bound,
) {
    let specs = listener_specs(config);
    let settings = listeners.settings(&specs, &config.http);
    let configured = upstreams.configured(&config.upstreams, config.ttl_max);
    upstreams.publish_configured(config, settings, configured);
    listeners.open(bound, &specs);
}

/// Warns of a limit of connections that the limit of open files is too low for.
pub fn warn_of_limit(connections: &Connections, open_files: &OpenFiles) {
    let room = open_files.client_connections_max();
    let wanted = connections.limit.map_or(0, usize::from);
    if wanted > room {
        tracing::warn!(
            wanted,
            room,
            "connections.limit is lowered to what the limit of open files leaves"
        );
    }
}

/// Logs what a configuration may not mean as it is written.
pub fn show_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{}", warning.one_line());
    }
}

/// Keeps the values that are fixed for the life of the process, and names those that differ.
fn keep_fixed(running: &Config, loaded: &mut Config) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    if loaded.admin.listen != running.admin.listen {
        loaded.admin.listen = running.admin.listen;
        fixed.push("admin.listen");
    }
    if loaded.workers != running.workers {
        loaded.workers = running.workers;
        fixed.push("workers");
    }
    if loaded.rate_limits.clients_max != running.rate_limits.clients_max {
        loaded.rate_limits.clients_max = running.rate_limits.clients_max;
        fixed.push("rate_limit.max_clients");
    }
    if loaded.database != running.database {
        loaded.database = running.database.clone();
        fixed.push("database");
    }
    if loaded.log != running.log {
        loaded.log = running.log.clone();
        fixed.push("log");
    }
    fixed
}
