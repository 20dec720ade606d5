//! Replaces the running configuration by one that was read.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    config::{BackendOverrides, Checked, Config, Connections},
    control::{
        access_logs::{self, AccessLogError, AccessLogs},
        admin::AdminSettings,
        listeners::{Bound, Listeners, listener_specs},
        loading::{LoadError, Loaded, Why},
        operations::{ReloadFault, Reloaded, RunningOverrides},
        upstreams::Upstreams,
    },
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
    /// What operators want of backends beside the file.
    pub(super) overrides: RunningOverrides,
    /// Who waits for which reload.
    pub(super) waiting: Vec<(u64, oneshot::Sender<Result<Reloaded, ReloadFault>>)>,
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

impl Refused {
    /// The same for the clients that wait for the reload.
    fn into_fault(self) -> ReloadFault {
        let message = self.to_string();
        let diagnostics = match self {
            Self::Load(LoadError::Faulty(errors)) => errors.diagnostics().to_vec(),
            Self::Load(_) | Self::Bind(_) | Self::AccessLog(_) => Vec::new(),
        };
        ReloadFault {
            message,
            diagnostics,
        }
    }
}

impl Running {
    /// Takes a configuration that was read, or says why the old one goes on. Whatever stays the
    /// same keeps running as it is.
    pub(super) fn take(&mut self, loaded: Loaded) {
        let is_same = loaded
            .result
            .as_ref()
            .is_ok_and(|checked| checked.config == self.config);
        if is_same && loaded.why == Why::MayDiffer {
            return;
        }
        let result = loaded.result.map_err(Refused::from);
        let result = result.and_then(|checked| self.publish(checked));
        match &result {
            Ok(_) => self.note_success(),
            Err(error) => {
                self.shared.reloads.refused(error.to_string());
                tracing::error!(%error, "reload refused; the old configuration keeps serving");
            }
        }
        self.tell_reloaded(loaded.number, &result.map_err(|error| error.into_fault()));
    }

    fn note_success(&self) {
        self.shared.reloads.succeeded();
        let upstreams = &self.config.upstreams;
        let backends = upstreams.iter().map(|upstream| upstream.backends.len());
        tracing::info!(
            listeners = self.config.http.len() + self.config.tcp.len(),
            upstreams = upstreams.len(),
            backends = backends.sum::<usize>(),
            "configuration reloaded"
        );
    }

    /// Binds and opens what is new, then publishes everything at once, then accepts. What cannot
    /// change stays as it is, with a warning.
    fn publish(&mut self, checked: Checked) -> Result<Reloaded, Refused> {
        let Checked {
            config: mut loaded,
            settings,
            ..
        } = checked;
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
        self.config = loaded;
        self.give_way();
        let (listeners, upstreams) = (&mut self.listeners, &mut self.upstreams);
        begin(
            &self.config,
            &self.overrides.all,
            listeners,
            upstreams,
            bound,
        );
        if let Some(log) = log {
            self.access_logs.switch(log);
        }
        self.admin_settings.set(&self.config, settings);
        self.admin_settings.set_overrides(&self.overrides.all);
        Ok(Reloaded {
            warnings: self.config.warnings.clone(),
            need_restart: fixed,
        })
    }
}

/// Publishes a configuration whose new listeners are bound.
pub(super) fn begin(
    config: &Config,
    overrides: &BackendOverrides,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
    bound: Bound,
) {
    let specs = listener_specs(config);
    let settings = listeners.settings(&specs, config);
    let configured = upstreams.configured(&overrides.applied_to(&config.upstreams), config.ttl_max);
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
    if loaded.state_file != running.state_file {
        loaded.state_file.clone_from(&running.state_file);
        fixed.push("state_file");
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
    if loaded.redis != running.redis {
        loaded.redis = running.redis.clone();
        fixed.push("redis");
    }
    if loaded.log != running.log {
        loaded.log = running.log.clone();
        fixed.push("log");
    }
    fixed
}
