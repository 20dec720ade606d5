//! What the operator wants of the access log.

use std::{fmt, path::PathBuf};

/// The access log of the HTTP load balancer: one line for each request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessLog {
    /// How a line is written.
    pub format: LogFormat,
    /// Where lines go. Default standard output.
    pub target: LogTarget,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object a line, always with all keys: `timestamp` (RFC 3339, UTC, microseconds),
    /// `client`, `method`, `target`, `protocol`, `host`, `status`, `body_bytes_sent`,
    /// `body_bytes_received`, `referer`, `user_agent`, `request_id`, `upstream`, `backend`,
    /// `attempts`, `cause`, `first_byte_seconds`, `total_seconds`. What is missing is `null`.
    /// Bytes that are not UTF-8 become U+FFFD.
    Json,
    /// The combined format of Apache and nginx, so that their tools read it, and then eight
    /// fields of ours:
    ///
    /// ```text
    /// client - - [time] "method target protocol" status body_bytes_sent "referer" "user_agent"
    ///   "host" upstream backend attempts cause first_byte_seconds total_seconds "request_id"
    /// ```
    ///
    /// In one line, of course. What is missing is `-`. All that is not printable ASCII, quotes
    /// and backslashes are written `\xHH`, as nginx does.
    Combined,
}

/// Where lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogTarget {
    /// Standard output, between the lines of the event log.
    Stdout,
    /// A file that is appended to, and created if need be. Its directory must exist.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("on standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
