//! What `weir top` reads of `/api/v1/stats`.

use serde::Deserialize;

/// A running process.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) at_ms: i64,
    pub(super) process: Process,
    pub(super) redirect: Option<Redirect>,
    pub(super) listeners: Vec<Listener>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) faults: Vec<CauseCount>,
    pub(super) rate_limits: RateLimits,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Process {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) uptime_seconds: i64,
    pub(super) state: String,
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory_bytes: Option<f64>,
    pub(super) connections: u64,
    pub(super) in_flight: u64,
    pub(super) workers: Vec<Worker>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Worker {
    pub(super) cpu_percent: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Redirect {
    pub(super) calls: u64,
    pub(super) calls_per_second: f64,
    pub(super) origin_share: Option<f64>,
    pub(super) rejected: Vec<CauseCount>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listener {
    pub(super) service: String,
    pub(super) address: String,
    pub(super) connections: u64,
    pub(super) accepted_per_second: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) available: usize,
    pub(super) in_flight: u64,
    pub(super) queue: u64,
    pub(super) requests_per_second: f64,
    pub(super) errors_per_second: f64,
    pub(super) received_per_second: f64,
    pub(super) sent_per_second: f64,
    pub(super) backends: Vec<Backend>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Backend {
    pub(super) id: String,
    pub(super) condition: String,
    pub(super) since_ms: Option<i64>,
    pub(super) weight: u16,
    pub(super) is_backup: bool,
    pub(super) in_flight: u64,
    pub(super) responses_per_second: f64,
    pub(super) share: Option<f64>,
    pub(super) failures: u64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) check: Option<Check>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Check {
    pub(super) failure: Option<String>,
    pub(super) took_ms: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct CauseCount {
    pub(super) cause: String,
    pub(super) count: u64,
    pub(super) per_second: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RateLimits {
    pub(super) refused: u64,
    pub(super) refused_per_second: f64,
}
