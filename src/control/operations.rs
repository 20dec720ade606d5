//! What the admin API asks of the running process, and what the database says of backends: changes
//! of upstreams without a reload, and reloads whose result a client waits for.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, sleep},
};

use crate::{
    config::{BackendKey, BackendOverride, BackendOverrides, Diagnostic},
    control::{clients::Followed, loading::Loading, loading::Why, reload::Running},
    store::{Store, audit::Actor, clients::Change},
};

/// What the admin API asks for.
#[derive(Debug)]
pub(super) enum Operation {
    /// To change a backend, or to give the file's values back.
    Override {
        key: BackendKey,
        wanted: Option<BackendOverride>,
        /// Whether the database has it, so that it survives a restart.
        is_stored: bool,
        done: oneshot::Sender<()>,
    },
    /// To read the configuration again.
    Reload(oneshot::Sender<Result<Reloaded, ReloadFault>>),
}

/// Takes operations to the control plane's loop.
pub(super) type Operations = mpsc::Sender<Operation>;

/// What came of a reload.
#[derive(Clone, Debug, Default)]
pub(super) struct Reloaded {
    /// What may not be meant as it is written.
    pub(super) warnings: Vec<Diagnostic>,
    /// Keys whose new values hold from the next start on.
    pub(super) need_restart: Vec<&'static str>,
}

/// Why the old configuration goes on.
#[derive(Clone, Debug)]
pub(super) struct ReloadFault {
    pub(super) message: String,
    /// The faults of the file, where those are the reason.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// BackendOverrides as they run.
#[derive(Debug, Default)]
pub(super) struct RunningOverrides {
    pub(super) all: BackendOverrides,
    /// Those that the database does not have.
    unstored: BTreeSet<BackendKey>,
    /// Where they are kept.
    store: Option<Store>,
}

impl Running {
    /// Does what the admin API asks for.
    pub(super) fn operate(&mut self, operation: Operation, loading: &mut Loading) {
        match operation {
            Operation::Override {
                key,
                wanted,
                is_stored,
                done,
            } => {
                match is_stored || wanted.is_none() {
                    true => self.overrides.unstored.remove(&key),
                    false => self.overrides.unstored.insert(key.clone()),
                };
                self.overrides.all.set(key, wanted);
                self.publish_overrides();
                // The client may have gone.
                let _gone = done.send(());
            }
            Operation::Reload(done) => {
                let number = loading.begin(Why::Asked);
                self.access_logs.reopen();
                self.waiting.push((number, done));
            }
        }
    }

    /// Takes what the database says.
    pub(super) fn take_followed(&mut self, followed: Followed) {
        self.upstreams.publish_clients(followed.clients);
        let mut overrides = followed.overrides;
        for key in &self.overrides.unstored {
            overrides.set(key.clone(), self.overrides.all.get(key).cloned());
        }
        self.overrides.all = overrides;
        self.give_way();
        self.publish_overrides();
    }

    /// Lets the file win where it has changed since an override was set.
    pub(super) fn give_way(&mut self) {
        let gone = self.overrides.all.give_way_to(&self.config.upstreams);
        for (key, _) in &gone {
            let (upstream, backend) = (&key.upstream, &key.backend);
            tracing::warn!(
                upstream,
                backend,
                "the file has changed this backend; the override ends"
            );
        }
        self.overrides.forget(gone, "reload", "override.superseded");
    }

    /// Gives the file's values back where the time of an override is over.
    pub(super) fn expire_overrides(&mut self) {
        let gone = self.overrides.all.expire(now_ms());
        if gone.is_empty() {
            return;
        }
        for (key, _) in &gone {
            let (upstream, backend) = (&key.upstream, &key.backend);
            tracing::info!(upstream, backend, "the time of an override is over");
        }
        self.overrides.forget(gone, "ttl", "override.expired");
        self.publish_overrides();
    }

    fn publish_overrides(&mut self) {
        self.admin_settings.set_overrides(&self.overrides.all);
        let upstreams = self.overrides.all.applied_to(&self.config.upstreams);
        self.upstreams
            .publish_upstreams(&upstreams, self.config.ttl_max);
    }

    /// Answers the clients that wait for a reload with this number or an earlier one.
    pub(super) fn tell_reloaded(&mut self, number: u64, result: &Result<Reloaded, ReloadFault>) {
        for (_, done) in self.waiting.extract_if(.., |(wanted, _)| *wanted <= number) {
            // The client may have gone.
            let _gone = done.send(result.clone());
        }
    }
}

impl RunningOverrides {
    /// None yet, to be kept in a database if there is one.
    pub(super) fn kept_in(store: Option<Store>) -> Self {
        Self {
            store,
            ..Self::default()
        }
    }

    /// Waits until the time of one is over; for ever, if none has one.
    pub(super) fn next_end(&self) -> impl Future<Output = ()> + use<> {
        let end = self.all.next_end_ms();
        async move {
            match end {
                Some(end) => {
                    let millis = u64::try_from(end.saturating_sub(now_ms())).unwrap_or(0);
                    sleep(Duration::from_millis(millis)).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Takes those that are gone out of the database, and records why.
    fn forget(
        &mut self,
        gone: Vec<(BackendKey, BackendOverride)>,
        actor: &str,
        action: &'static str,
    ) {
        for (key, _) in &gone {
            self.unstored.remove(key);
        }
        let Some(store) = self.store.clone().filter(|_| !gone.is_empty()) else {
            return;
        };
        let actor = Actor {
            name: actor.to_owned(),
            address: String::new(),
        };
        tokio::spawn(async move {
            for (key, _) in gone {
                let change = Change {
                    actor: &actor,
                    now_ms: now_ms(),
                };
                if let Err(error) = store.put_override(&key, None, action, change).await {
                    let (upstream, backend) = (key.upstream, key.backend);
                    tracing::warn!(%error, upstream, backend, "the end of an override is not recorded");
                }
            }
        });
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
