//! What the operator wants of the HTTP load balancer.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use http::uri::PathAndQuery;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{balance::Policy, health::HealthThresholds, route::Router};

/// One listener of the HTTP load balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which upstream takes a request; `Route::upstream` indexes [`crate::config::Config::upstreams`].
    pub router: Router,
    /// Proxies whose word about the client is believed. Default the loopback addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest request body, in bytes. Default 10 MiB. Bodies are streamed, so a higher limit
    /// costs no memory here.
    pub body_limit: u64,
}

/// A named group of backends with one policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// How it chooses. Default round robin.
    pub policy: Policy,
    /// Its backends; never empty.
    pub backends: Vec<WeightedBackend>,
    /// How they are checked; without it they count as healthy.
    pub health_check: Option<HealthCheck>,
    /// Time to connect to a backend. Default 5 s, bounds 100 ms to 10 min.
    pub connect_timeout: Duration,
    /// Time from the end of a request's forwarding to the head of the response. Default 60 s,
    /// bounds 100 ms to 24 h.
    pub response_timeout: Duration,
    /// Time that a body, either way, may stand still. Default 60 s, bounds 100 ms to 24 h.
    pub idle_timeout: Duration,
}

/// A backend and its share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WeightedBackend {
    /// Where it is.
    pub addr: BackendAddr,
    /// Its share of the requests. Default 1, bounds 1 to 1000.
    pub weight: NonZeroU16,
}

/// Host and port of a backend. A name is looked up at each new connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendAddr {
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for BackendAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Active health check, run against every backend of an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// Time between probes of one backend. Default 2 s, bounds 100 ms to 5 min. While results
    /// contradict the verdict it is a quarter of that. Lower finds failures sooner and costs
    /// `backends / interval` probes per second.
    pub interval: Duration,
    /// Time allowed for one probe, connect included. Default 1 s; at most `interval`.
    pub timeout: Duration,
    /// Results in a row that flip the verdict. Default `rise` 2, `fall` 3.
    pub thresholds: HealthThresholds,
    /// What one probe does.
    pub probe: Probe,
}

/// What one probe does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The TCP handshake completes.
    Tcp,
    /// `GET` of this path answers with a status from 200 to 399.
    Http(PathAndQuery),
}

impl Upstream {
    /// What the short form of the configuration stands for: round robin, `GET /health`, and the
    /// defaults.
    pub fn short_form(name: &str, backends: Vec<WeightedBackend>) -> Self {
        let health_check = HealthCheck {
            interval: INTERVAL,
            timeout: PROBE_TIMEOUT,
            thresholds: THRESHOLDS,
            probe: Probe::Http(PathAndQuery::from_static("/health")),
        };
        Self {
            name: name.to_owned(),
            policy: Policy::default(),
            backends,
            health_check: Some(health_check),
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: IDLE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// The default of a listener's `trusted_proxies`.
pub fn loopback() -> Vec<IpNet> {
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    vec![v4.into(), Ipv6Net::from(Ipv6Addr::LOCALHOST).into()]
}

/// The default of a listener's `body_limit`, in bytes.
pub const BODY_LIMIT: u64 = 10 << 20;
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The default thresholds.
pub(super) const THRESHOLDS: HealthThresholds = HealthThresholds {
    rise: NonZeroU32::new(2).expect("not zero"),
    fall: NonZeroU32::new(3).expect("not zero"),
};
