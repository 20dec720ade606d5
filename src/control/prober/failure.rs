//! Why a probe fails.

use std::time::Duration;

use crate::net::DialError;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::control) enum ProbeFailure {
    #[error("cannot connect: {0}")]
    Connect(DialError),
    #[error("no valid answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("{asked} answered {answered}, expected {expected}")]
    Status {
        asked: String,
        answered: u16,
        expected: String,
    },
    #[error("grpc-status {0}")]
    GrpcStatus(String),
    #[error("gRPC health is {0}")]
    NotServing(&'static str),
    #[error("it is {0}")]
    Role(&'static str),
    #[error("it is {} behind the primary, {} at most are allowed", shown(*lag), shown(*most))]
    Lag { lag: Duration, most: Duration },
    #[error("no connection to the primary, from which the log comes")]
    CutOff,
    #[error("it did not send {0:?}")]
    Text(String),
    #[error("no valid answer: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("no valid answer: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("the server says: {0}")]
    Refused(String),
    #[error("no answer: {0}")]
    Broken(#[from] std::io::Error),
    #[error("malformed answer")]
    Malformed,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ProbeFailure {
    /// Whether this process lacked what a probe needs: files, ports, buffers.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_local(),
            Self::Http(_)
            | Self::Status { .. }
            | Self::GrpcStatus(_)
            | Self::NotServing(_)
            | Self::Role(_)
            | Self::Lag { .. }
            | Self::CutOff
            | Self::Text(_)
            | Self::Postgres(_)
            | Self::Redis(_)
            | Self::Refused(_)
            | Self::Broken(_)
            | Self::Malformed
            | Self::Timeout(_) => false,
        }
    }
}

/// Whole seconds say enough of a long time.
fn shown(time: Duration) -> humantime::FormattedDuration {
    let millis = match time {
        long if long > Duration::from_secs(10) => long.as_millis() / 1000 * 1000,
        short => short.as_millis(),
    };
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis))
}
