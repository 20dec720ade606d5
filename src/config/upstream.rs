//! What the operator wants of an upstream: its backends, their checks, and how long and how often
//! they are asked.

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use rustls::pki_types::CertificateDer;

use crate::{
    balance::{HashKey, Policy},
    config::{OnMarkedDown, Probe, ProxyProtocol},
    ejection::EjectionPolicy,
    health::HealthThresholds,
};

/// A named group of backends with one policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: String,
    /// How it chooses. Default round robin.
    pub policy: Policy,
    /// What consistent hashing hashes. Default the client's address.
    pub hash_by: HashKey,
    /// Its backends; never empty.
    pub backends: Vec<WeightedBackend>,
    /// How they are checked; without it they count as healthy.
    pub health_check: Option<HealthCheck>,
    /// When a backend whose answers fail is left alone for a while; `None` never.
    pub ejection: Option<EjectionPolicy>,
    /// Time in which a backend that comes back reaches its whole share, in ten steps. Default 0:
    /// at once. Bounds 0 to 1 h.
    pub slow_start: Duration,
    /// What happens when no backend is available.
    pub when_all_down: WhenAllDown,
    /// Time to connect to a backend. Default 5 s, bounds 100 ms to 10 min.
    pub connect_timeout: Duration,
    /// Time from the end of a request's forwarding to the head of the response. Default 60 s,
    /// bounds 100 ms to 24 h.
    pub response_timeout: Duration,
    /// Time that a body, either way, may stand still. Default 60 s, bounds 100 ms to 24 h.
    pub idle_timeout: Duration,
    /// Time for a whole exchange, from the request's head to the end of the response. Default
    /// unlimited, as streams may last; bounds 100 ms to 24 h.
    pub total_timeout: Option<Duration>,
    /// Requests or sessions in flight at one backend, over all workers (`max_requests`,
    /// `max_connections`). Default unlimited, bounds 1 to 1,000,000. One more waits in the queue.
    pub max_requests: Option<NonZeroU32>,
    /// Where requests wait when every available backend has its limit in flight.
    pub queue: Queue,
    /// Second attempts allowed for each hundred requests. Default 20, bounds 0 to 100. Some are
    /// always allowed, so that a quiet upstream may retry, too.
    pub retry_percent: u32,
    /// How `https://` backends are verified.
    pub tls: Tls,
    /// The header of the PROXY protocol that `tcp://` backends get, which says who the client is.
    /// Default `None`.
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// What becomes of the sessions of a `tcp://` backend that is marked down. Default `Keep`.
    pub on_marked_down: OnMarkedDown,
}

/// A backend and its share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WeightedBackend {
    /// Where it is.
    pub addr: BackendAddr,
    /// Its share of the requests. Default 1, bounds 1 to 1000.
    pub weight: NonZeroU16,
    /// What the operator wants of it.
    pub admin_state: AdminState,
    /// Whether it is there only for the time when none of the others is available. Default false.
    pub is_backup: bool,
}

impl WeightedBackend {
    /// An enabled backend of weight 1.
    pub fn new(addr: BackendAddr) -> Self {
        Self {
            addr,
            weight: NonZeroU16::MIN,
            admin_state: AdminState::default(),
            is_backup: false,
        }
    }
}

/// Scheme, host and port of a backend.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BackendAddr {
    /// What it speaks.
    pub scheme: Scheme,
    /// A name or an IP address, the latter without brackets. A name stands for all addresses that
    /// DNS gives for it, and is looked up again when its answer is out of date.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl BackendAddr {
    /// The address, if it is not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as a `Host` header has them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for BackendAddr {
    /// `host:port` for `http://`, and the whole URL for the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Http => {}
            Scheme::H2c => f.write_str("h2c://")?,
            Scheme::Https => f.write_str("https://")?,
            Scheme::Tcp => f.write_str("tcp://")?,
        }
        f.write_str(&self.authority())
    }
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    Http,
    /// HTTP/2 in clear text, known beforehand.
    H2c,
    /// TLS, and in it HTTP/2 or HTTP/1.1, whichever the backend prefers (ALPN).
    Https,
    /// Whatever its clients do: sessions are not looked into.
    Tcp,
}

/// What the operator wants of a backend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AdminState {
    /// It takes requests while it is healthy.
    #[default]
    Enabled,
    /// It finishes what it has, gets nothing new, and is still checked.
    Draining,
    /// As draining, and neither checked nor kept connected.
    Disabled,
}

impl AdminState {
    /// Each with its word in the file and in the API.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("enabled", Self::Enabled),
        ("draining", Self::Draining),
        ("disabled", Self::Disabled),
    ];

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words.find_map(|&(known, state)| (known == word).then_some(state))
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }
}

/// What happens to a request when no backend is available.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenAllDown {
    /// It is refused with 503.
    #[default]
    Refuse,
    /// Any enabled backend is tried, whatever its health: checks may be wrong where they fail all
    /// at once.
    Any,
}

/// Where requests wait for a backend that may take one more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queue {
    /// Requests that may wait at a time. Default 1024, bounds 0 to 1,000,000. One more is refused
    /// with 503 at once.
    pub length: usize,
    /// Longest time that one waits. Default 5 s, bounds 1 ms to 10 min. Then it is refused with 503.
    pub timeout: Duration,
}

/// How `https://` backends are verified. Verification cannot be switched off.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// The authorities that are trusted. Default Mozilla's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The name that certificates must carry. Default the backend's host.
    pub server_name: Option<String>,
}

/// Active health check, run against every backend of an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// Time between probes of one backend. Default 2 s, bounds 100 ms to 5 min. While results
    /// disagree with the current state it is a quarter of that. Lower finds failures sooner and costs
    /// `backends / interval` probes per second.
    pub interval: Duration,
    /// Time allowed for one probe, connect included. Default 1 s; at most `interval`.
    pub timeout: Duration,
    /// Results in a row that flip the verdict. Default `rise` 2, `fall` 3.
    pub thresholds: HealthThresholds,
    /// What one probe does.
    pub probe: Probe,
    /// The port that is probed, at the backend's address. Default `None`: the backend's.
    pub port: Option<u16>,
}

impl Default for HealthCheck {
    /// A TCP connect.
    fn default() -> Self {
        Self::new(Probe::default())
    }
}
