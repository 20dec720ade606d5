//! `health_check` of an upstream in the making.

use std::time::Duration;

/// A check.
#[derive(Clone, Debug)]
pub(in crate::import) struct Check {
    pub(in crate::import) probe: Probe,
    pub(in crate::import) interval: Duration,
    pub(in crate::import) timeout: Duration,
    pub(in crate::import) rise: u32,
    pub(in crate::import) fall: u32,
}

/// What one probe does.
#[derive(Clone, Debug)]
pub(in crate::import) enum Probe {
    Http(HttpProbe),
    Tcp {
        send: Option<String>,
        expect: Option<String>,
    },
    Postgres,
    Redis {
        /// Whether only a primary is healthy.
        is_primary: bool,
    },
    Mysql,
}

/// A request, and the statuses that are healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::import) struct HttpProbe {
    pub(in crate::import) method: String,
    pub(in crate::import) path: String,
    pub(in crate::import) host: Option<String>,
    pub(in crate::import) headers: Vec<(String, String)>,
    /// As the key takes it.
    pub(in crate::import) status: Option<String>,
}

/// What is wrong with a probe that this version of Weir cannot do: it only connects instead.
pub(in crate::import) fn describe_unavailable(probe: &Probe) -> Option<&'static str> {
    let is_connect = match probe {
        Probe::Http(_) | Probe::Postgres => return None,
        Probe::Tcp { send, expect } => send.is_none() && expect.is_none(),
        Probe::Redis { .. } | Probe::Mysql => false,
    };
    (!is_connect && !SPEAKS_BEYOND_CONNECT).then_some("a TCP connect is checked")
}

/// Whether `health_check` takes `send` and `expect`, `redis` and `mysql`. Without them such a check is a
/// TCP connect, with a remark.
pub(in crate::import) const SPEAKS_BEYOND_CONNECT: bool = false;
