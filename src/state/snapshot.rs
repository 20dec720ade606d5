//! The immutable settings that a request is answered by.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use crate::{config::Config, redirect::RedirectPolicy, route::Router, state::Upstream};

/// What a reload may change. Built whole, published whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The redirect service's part; `None` where the service is not configured.
    pub redirect: Option<RedirectSettings>,
    /// The HTTP load balancer's listeners.
    pub http: Arc<[HttpSettings]>,
    /// The upstreams that routes lead to.
    pub upstreams: Arc<[Upstream]>,
    /// The longest that any upstream lets a request stand still.
    pub longest_wait: Duration,
}

/// What one listener of the HTTP load balancer answers by.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Which upstream takes a request; `Route::upstream` indexes [`Snapshot::upstreams`].
    pub router: Router,
    /// Proxies whose word about the client is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The longest request body, in bytes.
    pub body_limit: u64,
}

/// What the redirect service answers by.
#[derive(Clone, Debug)]
pub struct RedirectSettings {
    /// The rule.
    pub policy: RedirectPolicy,
    /// Time allowed from a call's head to the end of its message.
    pub call_timeout: Duration,
}

impl Snapshot {
    /// Builds the snapshot of a configuration.
    pub fn new(config: &Config) -> Self {
        let redirect = config.redirect.as_ref().map(|redirect| RedirectSettings {
            policy: redirect.policy.clone(),
            call_timeout: redirect.call_timeout,
        });
        let http = config.http.iter().map(|http| HttpSettings {
            router: http.router.clone(),
            trusted_proxies: http.trusted_proxies.as_slice().into(),
            body_limit: http.body_limit,
        });
        let mut first_id = 0;
        let upstreams = config.upstreams.iter().map(|upstream| {
            let built = Upstream::new(upstream, first_id);
            first_id += built.backends.len();
            built
        });
        let waits = config.upstreams.iter().map(|upstream| {
            let connecting = upstream.connect_timeout.saturating_mul(3);
            connecting.saturating_add(upstream.response_timeout.max(upstream.idle_timeout))
        });
        Self {
            redirect,
            longest_wait: waits.max().unwrap_or_default(),
            http: http.collect(),
            upstreams: upstreams.collect(),
        }
    }
}

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
