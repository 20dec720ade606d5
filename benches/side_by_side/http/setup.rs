//! What every load balancer is asked to do, and how each of them is told.

use std::net::SocketAddr;

use crate::http::{load::Load, peers::Peer, services};

/// The same task for every peer.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub protocol: Protocol,
    pub workers: u32,
    /// Idle connections to backends that a server may keep. nginx and Caddy have a setting for it.
    pub kept_connections: u32,
    pub routes: Routes,
    pub backends: &'a [SocketAddr],
    pub health_checks: HealthChecks,
    pub rate_limit: RateLimit,
    /// A server of Redis by which processes of Weir share the limit.
    pub shared_by: Option<SocketAddr>,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Which paths lead to the backends.
#[derive(Clone, Copy, Debug)]
pub enum Routes {
    Everything,
    /// This number of services, each with a route of its own. Other paths have no route.
    Services(u32),
}

/// Whether Weir probes the backends. The peers never do: their probes are off by default.
#[derive(Clone, Copy, Debug)]
pub enum HealthChecks {
    Off,
    /// At the longest interval that Weir allows, so that only the first probes fall into a run.
    Rare,
}

/// The limit of each client address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RateLimit {
    Off,
    /// Far above what the load asks for.
    High,
    /// [`LOW_RATE`] and [`LOW_BURST`].
    Low,
}

impl RateLimit {
    fn rate_and_burst(self) -> Option<(u32, u32)> {
        match self {
            Self::Off => None,
            Self::High => Some((1_000_000, 1_000_000)),
            Self::Low => Some((LOW_RATE, LOW_BURST)),
        }
    }
}

impl<'a> Setup<'a> {
    /// One worker that takes everything to the backends.
    pub fn new(protocol: Protocol, backends: &'a [SocketAddr]) -> Self {
        Self {
            protocol,
            workers: 1,
            kept_connections: KEPT_CONNECTIONS_MIN,
            routes: Routes::Everything,
            backends,
            health_checks: HealthChecks::Off,
            rate_limit: RateLimit::Off,
            shared_by: None,
        }
    }

    /// As above, with enough kept connections for all requests that the load has in flight.
    pub fn for_load(load: Load, backends: &'a [SocketAddr]) -> Self {
        Self {
            kept_connections: load.in_flight().max(KEPT_CONNECTIONS_MIN),
            ..Self::new(load.protocol(), backends)
        }
    }

    /// The values of the names in a peer's template.
    pub fn values(&self, peer: Peer, listen: SocketAddr) -> Vec<(&'static str, String)> {
        vec![
            ("listen", listen.to_string()),
            ("port", listen.port().to_string()),
            ("workers", self.workers.to_string()),
            ("kept", self.kept_connections.to_string()),
            ("http2", http2_option(peer, self.protocol).to_owned()),
            ("protocols", caddy_protocols(self.protocol).to_owned()),
            ("health_check", health_check(self.health_checks).to_owned()),
            ("limit_table", self.limit_table(peer)),
            ("limit", self.limit(peer)),
            ("routes", self.routes(peer)),
            ("backends", self.backends(peer)),
        ]
    }

    /// Where nginx keeps what its clients have used.
    fn limit_table(&self, peer: Peer) -> String {
        match (self.rate_limit.rate_and_burst(), peer) {
            (Some((rate, _)), Peer::Nginx) => {
                format!("limit_req_zone $binary_remote_addr zone=clients:10m rate={rate}r/s;")
            }
            _ => String::new(),
        }
    }

    /// The limit itself. The relay and Caddy have none.
    fn limit(&self, peer: Peer) -> String {
        let Some((rate, burst)) = self.rate_limit.rate_and_burst() else {
            return String::new();
        };
        match peer {
            Peer::Relay | Peer::Caddy | Peer::Stream | Peer::Sessions => String::new(),
            Peer::Nginx => {
                format!("limit_req zone=clients burst={burst} nodelay; limit_req_status 429;")
            }
            Peer::Haproxy => format!(
                "stick-table type ipv6 size 1m expire 10s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {rate} }}"
            ),
            Peer::Weir => {
                let redis = self
                    .shared_by
                    .map(|redis| format!("redis: {{ url: redis://{redis} }}\n"));
                let redis = redis.unwrap_or_default();
                format!("{redis}rate_limit: {{ capacity: {burst}, rate_per_sec: {rate} }}")
            }
        }
    }

    fn backends(&self, peer: Peer) -> String {
        let backends = self.backends.iter().enumerate();
        match peer {
            Peer::Nginx | Peer::Stream => joined("\n        ", backends, |(_, addr)| {
                format!("server {addr};")
            }),
            Peer::Relay | Peer::Haproxy => joined("\n    ", backends, |(index, addr)| {
                format!("server s{index} {addr}")
            }),
            Peer::Caddy => joined(" ", backends, |(_, addr)| addr.to_string()),
            Peer::Weir => joined(", ", backends, |(_, addr)| format!("\"http://{addr}\"")),
            Peer::Sessions => joined(", ", backends, |(_, addr)| format!("\"tcp://{addr}\"")),
        }
    }

    /// Empty for the relay and Caddy, whose templates take every path.
    fn routes(&self, peer: Peer) -> String {
        let prefixes = match self.routes {
            Routes::Everything => vec!["/".to_owned()],
            Routes::Services(count) => (0..count).map(services::prefix).collect(),
        };
        match peer {
            Peer::Nginx => joined("\n        ", prefixes, |prefix| {
                format!("location {prefix} {{ proxy_pass http://app; }}")
            }),
            Peer::Haproxy => joined("\n    ", prefixes, |prefix| match prefix.as_str() {
                "/" => "default_backend app".to_owned(),
                prefix => format!("use_backend app if {{ path_beg {prefix} }}"),
            }),
            Peer::Weir => joined(", ", prefixes, |prefix| {
                format!("{{ path: {prefix}, upstream: app }}")
            }),
            Peer::Relay | Peer::Caddy | Peer::Stream | Peer::Sessions => String::new(),
        }
    }
}

fn joined<T>(
    separator: &str,
    items: impl IntoIterator<Item = T>,
    text: impl Fn(T) -> String,
) -> String {
    let texts: Vec<String> = items.into_iter().map(text).collect();
    texts.join(separator)
}

/// What its listener needs for HTTP/2 without TLS. Caddy and Weir look at the first bytes.
fn http2_option(peer: Peer, protocol: Protocol) -> &'static str {
    match (peer, protocol) {
        (Peer::Nginx, Protocol::Http2) => " http2",
        (Peer::Haproxy, Protocol::Http2) => " proto h2",
        _ => "",
    }
}

fn caddy_protocols(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "h1",
        Protocol::Http2 => "h1 h2 h2c",
    }
}

fn health_check(checks: HealthChecks) -> &'static str {
    match checks {
        HealthChecks::Off => "",
        HealthChecks::Rare => "health_check: { tcp: true, interval: 5m }",
    }
}

/// Requests a second.
pub const LOW_RATE: u32 = 5_000;
pub const LOW_BURST: u32 = 500;
const KEPT_CONNECTIONS_MIN: u32 = 128;
