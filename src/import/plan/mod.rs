//! What both dialects are read into: the parts of a Weir file, each with the line that it comes from.

use std::{net::SocketAddr, time::Duration};

mod check;
mod header_rules;
mod names;
mod settle;
mod values;

pub(super) use check::{Check, HttpProbe, Probe};
pub(super) use header_rules::HeaderRules;
pub(super) use names::Names;
pub(super) use settle::settle;
pub(super) use values::{backend_url, duration_text, host_name, route_path};

/// A Weir file in the making.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tcp: Vec<TcpListener>,
    pub(super) http: Vec<HttpListener>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) connections: Connections,
    pub(super) admin: Option<Admin>,
    pub(super) access_log: Option<AccessLog>,
    /// `resolve.max_ttl`
    pub(super) max_ttl: Option<Duration>,
}

/// One of `tcp`.
#[derive(Clone, Debug)]
pub(super) struct TcpListener {
    pub(super) line: usize,
    pub(super) listen: SocketAddr,
    pub(super) upstream: String,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) half_open_timeout: Option<Duration>,
    pub(super) proxy_protocol_from: Vec<String>,
}

/// One of `http`.
#[derive(Clone, Debug)]
pub(super) struct HttpListener {
    pub(super) line: usize,
    pub(super) listen: SocketAddr,
    pub(super) routes: Vec<Route>,
    pub(super) body_limit: BodyLimit,
    /// Whether no protocol may be switched to.
    pub(super) refuses_upgrades: bool,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) rate_limit: Option<RateLimit>,
}

/// `body_limit`
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum BodyLimit {
    Bytes(u64),
    Unlimited,
}

/// One of a listener's `routes`.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) line: usize,
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) upstream: String,
    pub(super) strip_prefix: bool,
    pub(super) request: HeaderRules,
    pub(super) response: HeaderRules,
    pub(super) rate_limit: Option<RateLimit>,
}

/// `rate_limit`, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RateLimit {
    pub(super) line: usize,
    /// Limits with the same number share their buckets in the source.
    pub(super) zone: usize,
    pub(super) capacity: u32,
    pub(super) rate_per_sec: f64,
    pub(super) is_shadow: bool,
}

/// One of `upstreams`.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) scheme: Scheme,
    pub(super) balance: Balance,
    pub(super) backends: Vec<Backend>,
    /// `off` without one.
    pub(super) check: Option<Check>,
    /// `off` without one.
    pub(super) ejection: Option<Ejection>,
    pub(super) slow_start: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) response_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    /// `max_requests` or `max_connections`
    pub(super) max_sessions: Option<u32>,
    pub(super) queue_length: Option<u32>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) send_proxy_protocol: Option<&'static str>,
    pub(super) closes_sessions: bool,
    pub(super) ca_file: Option<String>,
    pub(super) server_name: Option<String>,
}

impl Plan {
    /// Whether there is room for a listener with so many routes. A text of a megabyte can ask for
    /// more than fits a file that Weir reads.
    pub(super) fn has_room(&self, routes: usize) -> bool {
        let held: usize = self.http.iter().map(|http| http.routes.len()).sum();
        let listeners = self.http.len() + self.tcp.len();
        listeners < LISTENERS_MAX && held + routes <= ROUTES_MAX
    }
}

impl Upstream {
    /// An upstream without backends, checks or ejection.
    pub(super) fn new(line: usize, name: String, scheme: Scheme) -> Self {
        Self {
            line,
            name,
            scheme,
            balance: Balance::RoundRobin,
            backends: Vec::new(),
            check: None,
            ejection: None,
            slow_start: None,
            connect_timeout: None,
            response_timeout: None,
            idle_timeout: None,
            max_sessions: None,
            queue_length: None,
            queue_timeout: None,
            send_proxy_protocol: None,
            closes_sessions: false,
            ca_file: None,
            server_name: None,
        }
    }
}

/// What an upstream's backends speak.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Scheme {
    Http,
    Https,
    H2c,
    Tcp,
}

impl Scheme {
    /// As a URL has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Tcp => "tcp",
        }
    }
}

/// `balance`, with what goes with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Balance {
    RoundRobin,
    LeastConnections,
    RandomTwo,
    ConsistentHash {
        /// `hash_by`
        by: String,
        /// `load_bound`; no bound if `None`.
        bound_percent: Option<u32>,
    },
}

/// One of an upstream's `backends`.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) line: usize,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) scheme: Scheme,
    pub(super) weight: u32,
    pub(super) state: State,
    pub(super) is_backup: bool,
}

/// `state`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Enabled,
    Draining,
    Disabled,
}

/// `ejection`
#[derive(Clone, Copy, Debug)]
pub(super) struct Ejection {
    pub(super) consecutive_failures: u32,
    pub(super) base_time: Duration,
}

/// `connections`
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    pub(super) limit: Option<u32>,
    pub(super) per_client_limit: Option<u32>,
    pub(super) header_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_header_size: Option<u64>,
}

/// `admin`
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin {
    pub(super) line: usize,
    pub(super) listen: SocketAddr,
}

/// `access_log`
#[derive(Clone, Debug)]
pub(super) struct AccessLog {
    pub(super) line: usize,
    pub(super) file: Option<String>,
}

const LISTENERS_MAX: usize = 1_000;
const ROUTES_MAX: usize = 10_000;
