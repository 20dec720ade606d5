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
    /// The port that is checked, if it is another one.
    pub(in crate::import) port: Option<u16>,
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
    Mysql {
        user: Option<String>,
    },
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
