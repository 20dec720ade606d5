//! The immutable settings that a request is answered by.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;

use crate::{
    config::{self, Config, Connections, Cors, Reflection},
    limit::{ClientTable, Mode, RouteRule},
    redirect::RedirectPolicy,
    state::{Limit, RateLimits, Scope, Upstream},
};

/// What a reload may change. Built whole, published whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The redirect service's part; `None` where the service is not configured.
    pub redirect: Option<RedirectSettings>,
    /// The HTTP load balancer's listeners.
    pub http: Arc<[HttpSettings]>,
    /// The TCP load balancer's listeners.
    pub tcp: Arc<[TcpSettings]>,
    /// Listeners that a reload took away, each with the last snapshot that had it: clients that are
    /// still connected are answered by that while they leave. The latest few.
    pub retired: Arc<[(usize, Arc<Self>)]>,
    /// The upstreams that routes lead to.
    pub upstreams: Arc<[Upstream]>,
    /// Limits and timeouts of client connections that are accepted from now on.
    pub connections: Arc<Connections>,
    /// How many requests a client may make, over all listeners.
    pub limits: Limits,
}

/// How many requests a client may make over all listeners.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The limit of each client that is not registered; `None` if there is none.
    pub default: Option<Limit>,
    /// What follows when a registered client makes more requests than it may.
    pub mode: Mode,
    /// The registered clients.
    pub clients: Arc<ClientTable>,
}

/// What one listener of the HTTP load balancer answers by.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Which listener it is among all that the process ever had. Stays over reloads.
    pub id: usize,
    /// What the operator wants of it; `Route::upstream` indexes [`Snapshot::upstreams`].
    pub settings: Arc<config::Http>,
    /// The limit of each client on this listener.
    pub limit: Option<Limit>,
    /// The limits of each client on its routes, in their order.
    pub route_limits: Arc<[Option<Limit>]>,
}

/// What one listener of the TCP load balancer goes by.
#[derive(Clone, Debug)]
pub struct TcpSettings {
    /// Which listener it is among all that the process ever had. Stays over reloads.
    pub id: usize,
    /// What the operator wants of it; `Tcp::upstream` indexes [`Snapshot::upstreams`].
    pub settings: Arc<config::Tcp>,
}

/// The listeners of a snapshot, by their service.
#[derive(Clone, Debug, Default)]
pub struct ListenerSettings {
    /// Of the HTTP load balancer.
    pub http: Vec<HttpSettings>,
    /// Of the TCP load balancer.
    pub tcp: Vec<TcpSettings>,
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
    /// Proxies allowed to say which client a call is of.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The limit of each client on this service.
    pub limit: Option<Limit>,
}

impl Snapshot {
    /// Builds the snapshot of a configuration. `upstreams` are in the order of the configuration's.
    pub fn new(
        config: &Config,
        rate_limits: &RateLimits,
        listeners: ListenerSettings,
        upstreams: Vec<Upstream>,
    ) -> Self {
        let redirect = config.redirect.as_ref().map(|redirect| RedirectSettings {
            policy: redirect.policy.clone(),
            call_timeout: redirect.call_timeout,
            reflection: redirect.reflection,
            cors: redirect.cors.clone(),
            trusted_proxies: redirect.trusted_proxies.clone().into(),
            limit: redirect
                .rate_limit
                .map(|rule| rate_limits.limit(Scope::Listener, "redirect", rule)),
        });
        let default = config.rate_limits.default;
        let default = default.map(|rule| rate_limits.limit(Scope::Default, "default", rule));
        Self {
            redirect,
            http: listeners.http.into(),
            tcp: listeners.tcp.into(),
            retired: Arc::default(),
            upstreams: upstreams.into(),
            connections: Arc::new(config.connections.clone()),
            limits: Limits {
                default,
                mode: config.rate_limits.mode,
                clients: Arc::default(),
            },
        }
    }

    /// The same snapshot, with the clients that `before` had, and with the listeners that it has not
    /// among the retired. `slots` is the number of limits that there ever were.
    #[must_use]
    pub fn after(mut self, before: &Self, slots: usize) -> Self {
        self.limits.clients = Arc::new(before.limits.clients.with_slots(slots));
        let is_gone = |id: &usize| !self.listener_ids().any(|listener| listener == *id);
        let last = Arc::new(Self {
            retired: Arc::default(),
            ..before.clone()
        });
        let gone = before.listener_ids().filter(is_gone);
        let gone = gone.map(|id| (id, Arc::clone(&last)));
        let retired = gone.chain(before.retired.iter().cloned()).take(RETIRED_MAX);
        Self {
            retired: retired.collect(),
            ..self
        }
    }

    /// The same snapshot with other clients.
    #[must_use]
    pub fn with_clients(&self, clients: ClientTable) -> Self {
        let limits = Limits {
            clients: Arc::new(clients),
            ..self.limits.clone()
        };
        Self {
            limits,
            ..self.clone()
        }
    }

    /// The last snapshot that had a listener that is gone now.
    pub fn last_with(&self, listener: usize) -> Option<&Arc<Self>> {
        let retired = self.retired.iter().find(|(id, _)| *id == listener);
        retired.map(|(_, snapshot)| snapshot)
    }

    fn listener_ids(&self) -> impl Iterator<Item = usize> {
        let http = self.http.iter().map(|http| http.id);
        http.chain(self.tcp.iter().map(|tcp| tcp.id))
    }

    /// The settings of a listener of the TCP load balancer; `None` once a reload took it away.
    pub fn tcp(&self, id: usize) -> Option<&TcpSettings> {
        self.tcp.iter().find(|tcp| tcp.id == id)
    }

    /// The settings of a listener of the HTTP load balancer; `None` once a reload took it away.
    pub fn http(&self, id: usize) -> Option<&HttpSettings> {
        self.http.iter().find(|http| http.id == id)
    }
}

impl HttpSettings {
    /// What a listener answers by.
    pub fn new(id: usize, http: &config::Http, rate_limits: &RateLimits) -> Self {
        let name = |rest: &str| format!("{} {rest}", http.listen);
        let limit = http.rate_limit;
        let limit = limit.map(|rule| rate_limits.limit(Scope::Listener, &name(""), rule));
        let routes = (0..).map_while(|index| http.router.get(index));
        let route_limits = routes.map(|route| {
            let RouteRule::Limited { own, .. } = route.rate_limit else {
                return None;
            };
            let host = route.host.as_deref().unwrap_or("*");
            let name = name(&format!("{host}{}", route.path));
            own.map(|rule| rate_limits.limit(Scope::Route, &name, rule))
        });
        Self {
            id,
            limit,
            route_limits: route_limits.collect(),
            settings: Arc::new(http.clone()),
        }
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
