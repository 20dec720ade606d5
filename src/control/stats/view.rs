//! What is shown of a running process: one value, from which the page, its events, the CSV and the JSON
//! are made.

use serde::Serialize;
use utoipa::ToSchema;

/// A running process. Rates are over the last second or so.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct Stats {
    /// When it was looked at, in milliseconds since 1970.
    pub(in crate::control) at_ms: i64,
    pub(in crate::control) process: ProcessStats,
    /// The redirect service; `null` where it is not configured.
    pub(in crate::control) redirect: Option<RedirectStats>,
    pub(in crate::control) listeners: Vec<ListenerView>,
    pub(in crate::control) upstreams: Vec<UpstreamStats>,
    /// Requests and sessions that went wrong, by cause. Causes that never came are left out.
    pub(in crate::control) faults: Vec<CauseCount>,
    /// Further attempts, by the cause of the failure before. Causes that never came are left out.
    pub(in crate::control) retries: Vec<CauseCount>,
    pub(in crate::control) rate_limits: RateLimitStats,
}

/// The process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct ProcessStats {
    pub(in crate::control) version: &'static str,
    pub(in crate::control) pid: u32,
    pub(in crate::control) uptime_seconds: u64,
    /// `running`, `starting` while backends are probed, or `stopping`.
    pub(in crate::control) state: &'static str,
    /// CPU time, in percent of one core; `null` where the kernel does not tell.
    pub(in crate::control) cpu_percent: Option<f64>,
    /// Resident memory; `null` where the kernel does not tell.
    pub(in crate::control) memory_bytes: Option<u64>,
    /// Open client connections.
    pub(in crate::control) connections: usize,
    /// Requests and calls in flight.
    pub(in crate::control) in_flight: u64,
    pub(in crate::control) workers: Vec<WorkerStats>,
}

/// A thread that serves connections.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WorkerLoad)]
pub(in crate::control) struct WorkerStats {
    pub(in crate::control) index: usize,
    /// CPU time, in percent of one core; `null` where the kernel does not tell.
    pub(in crate::control) cpu_percent: Option<f64>,
    pub(in crate::control) connections: usize,
}

/// The redirect service.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct RedirectStats {
    /// Accepted calls, and those of them that were sent to the origin.
    pub(in crate::control) calls: u64,
    pub(in crate::control) to_origin: u64,
    pub(in crate::control) calls_per_second: f64,
    /// The share of all accepted calls that was sent to the origin, from 0 to 1; `null` before the first.
    pub(in crate::control) origin_share: Option<f64>,
    /// Refused calls, by reason. Reasons that never came are left out.
    pub(in crate::control) rejected: Vec<CauseCount>,
    /// Half of all calls were answered within this time.
    pub(in crate::control) p50_ms: Option<f64>,
    /// 99 of 100 calls were answered within this time.
    pub(in crate::control) p99_ms: Option<f64>,
}

/// A listener.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct ListenerView {
    /// `redirect`, `http` or `tcp`.
    pub(in crate::control) service: &'static str,
    pub(in crate::control) address: String,
    /// The upstreams that it leads to.
    pub(in crate::control) upstreams: Vec<String>,
    /// Open connections.
    pub(in crate::control) connections: usize,
    /// Connections that were accepted.
    pub(in crate::control) accepted: u64,
    pub(in crate::control) accepted_per_second: f64,
}

/// A group of backends.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct UpstreamStats {
    pub(in crate::control) name: String,
    /// `http` or `tcp`.
    pub(in crate::control) kind: &'static str,
    pub(in crate::control) balance: &'static str,
    /// Backends that take requests now.
    pub(in crate::control) available: usize,
    pub(in crate::control) in_flight: usize,
    /// Requests or sessions that wait for a backend.
    pub(in crate::control) queue: usize,
    /// The most that may wait.
    pub(in crate::control) queue_max: usize,
    /// Responses to clients, or sessions that got a backend.
    pub(in crate::control) requests: u64,
    pub(in crate::control) requests_per_second: f64,
    /// Responses by the first digit of their status, from 1xx to 5xx; empty for sessions.
    pub(in crate::control) by_class: Vec<u64>,
    /// Responses with a 5xx status a second.
    pub(in crate::control) errors_per_second: f64,
    /// Bytes of bodies, or of sessions, that came from clients.
    pub(in crate::control) bytes_received: u64,
    pub(in crate::control) received_per_second: f64,
    /// Bytes of bodies, or of sessions, that came from backends.
    pub(in crate::control) bytes_sent: u64,
    pub(in crate::control) sent_per_second: f64,
    pub(in crate::control) backends: Vec<BackendView>,
}

/// A backend.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BackendStats)]
pub(in crate::control) struct BackendView {
    /// How the file names it, for paths of this API.
    pub(in crate::control) id: String,
    pub(in crate::control) address: String,
    /// The number by which this process knows it.
    pub(in crate::control) number: usize,
    /// Why it takes requests or not, such as `available`.
    pub(in crate::control) condition: &'static str,
    /// Since when, in milliseconds since 1970.
    pub(in crate::control) since_ms: Option<i64>,
    /// What is wanted of it: `enabled`, `draining` or `disabled`.
    pub(in crate::control) state: &'static str,
    pub(in crate::control) weight: u16,
    pub(in crate::control) is_backup: bool,
    pub(in crate::control) in_flight: usize,
    /// The most that may be in flight; `null` without a limit.
    pub(in crate::control) in_flight_max: Option<u32>,
    /// Responses, or sessions.
    pub(in crate::control) responses: u64,
    pub(in crate::control) responses_per_second: f64,
    /// Its share of the responses of its upstream over the last second, from 0 to 1.
    pub(in crate::control) share: Option<f64>,
    /// Responses with a 5xx status.
    pub(in crate::control) server_errors: u64,
    /// Attempts without a response.
    pub(in crate::control) failures: u64,
    pub(in crate::control) failures_per_second: f64,
    pub(in crate::control) ejections: u64,
    /// Times that its checks found it unhealthy.
    pub(in crate::control) falls: u64,
    /// Half of its responses of the last 30 to 60 seconds began within this time; of sessions, the time to connect.
    pub(in crate::control) p50_ms: Option<f64>,
    /// 99 of 100 did.
    pub(in crate::control) p99_ms: Option<f64>,
    /// The latest check; `null` before the first, and without checks.
    pub(in crate::control) check: Option<CheckView>,
}

/// A check of a backend.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct CheckView {
    /// What it failed by; `null` if it passed.
    pub(in crate::control) failure: Option<String>,
    pub(in crate::control) took_ms: f64,
    /// When it ended, in milliseconds since 1970.
    pub(in crate::control) at_ms: i64,
}

/// How often something happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct CauseCount {
    pub(in crate::control) cause: &'static str,
    pub(in crate::control) count: u64,
    pub(in crate::control) per_second: f64,
}

/// Limits of requests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct RateLimitStats {
    /// Requests that were refused.
    pub(in crate::control) refused: u64,
    pub(in crate::control) refused_per_second: f64,
    /// Requests that a limit in shadow mode would have refused.
    pub(in crate::control) shadow: u64,
    /// The registered clients with the most refused requests, ten at most.
    pub(in crate::control) clients: Vec<RefusedClient>,
}

/// A registered client that makes more requests than it may.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::control) struct RefusedClient {
    pub(in crate::control) id: String,
    pub(in crate::control) refused_last_minute: u64,
}
