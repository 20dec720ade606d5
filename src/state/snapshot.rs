//! The immutable settings that a request is answered by.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};

use crate::{
    config::{self, Config, Connections, Cors, Reflection},
    redirect::RedirectPolicy,
    state::Upstream,
};

/// What a reload may change. Built whole, published whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The redirect service's part; `None` where the service is not configured.
    pub redirect: Option<RedirectSettings>,
    /// The HTTP load balancer's listeners.
    pub http: Arc<[HttpSettings]>,
    /// Listeners that a reload took away, each with the last snapshot that had it: clients that are
    /// still connected are answered by that while they leave. The latest few.
    pub retired: Arc<[(usize, Arc<Self>)]>,
    /// The upstreams that routes lead to.
    pub upstreams: Arc<[Upstream]>,
    /// Limits and timeouts of client connections that are accepted from now on.
    pub connections: Arc<Connections>,
}

/// What one listener of the HTTP load balancer answers by.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Which listener it is among all that the process ever had. Stays over reloads.
    pub id: usize,
    /// What the operator wants of it; `Route::upstream` indexes [`Snapshot::upstreams`].
    pub settings: Arc<config::Http>,
}

/// What the redirect service answers by.
#[derive(Clone, Debug)]
pub struct RedirectSettings {
    /// The rule.
    pub policy: RedirectPolicy,
    /// Time allowed from a call's head to the end of its message.
    pub call_timeout: Duration,
    /// Whether gRPC reflection answers.
    pub reflection: Reflection,
    /// Which web pages may read answers over HTTP.
    pub cors: Cors,
}

impl Snapshot {
    /// Builds the snapshot of a configuration. `upstreams` are in the order of the configuration's.
    pub fn new(config: &Config, http: Vec<HttpSettings>, upstreams: Vec<Upstream>) -> Self {
        let redirect = config.redirect.as_ref().map(|redirect| RedirectSettings {
            policy: redirect.policy.clone(),
            call_timeout: redirect.call_timeout,
            reflection: redirect.reflection,
            cors: redirect.cors.clone(),
        });
        Self {
            redirect,
            http: http.into(),
            retired: Arc::default(),
            upstreams: upstreams.into(),
            connections: Arc::new(config.connections.clone()),
        }
    }

    /// The same snapshot, with what `before` had and it has not among the retired.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let is_gone = |id: usize| self.http(id).is_none();
        let last = Arc::new(Self {
            retired: Arc::default(),
            ..before.clone()
        });
        let gone = before.http.iter().filter(|http| is_gone(http.id));
        let gone = gone.map(|http| (http.id, Arc::clone(&last)));
        let retired = gone.chain(before.retired.iter().cloned()).take(RETIRED_MAX);
        Self {
            retired: retired.collect(),
            ..self
        }
    }

    /// The last snapshot that had a listener that is gone now.
    pub fn last_with(&self, listener: usize) -> Option<&Arc<Self>> {
        let retired = self.retired.iter().find(|(id, _)| *id == listener);
        retired.map(|(_, snapshot)| snapshot)
    }

    /// The settings of a listener of the load balancer; `None` once a reload took it away.
    pub fn http(&self, id: usize) -> Option<&HttpSettings> {
        self.http.iter().find(|http| http.id == id)
    }
}

/// Listeners that are remembered after they were closed.
const RETIRED_MAX: usize = 16;

/// Where the snapshot is published and loaded. Written by the control plane only.
#[derive(Debug)]
pub struct SnapshotHandle(ArcSwap<Snapshot>);

impl SnapshotHandle {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// Replaces the snapshot; requests that loaded the old one finish with it.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The current snapshot, for longer than a moment.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// The current snapshot. Lock-free, some nanoseconds.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
