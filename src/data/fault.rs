//! What can go wrong with a request, and what follows: the one table from a fault to its HTTP
//! status, its gRPC code, its cause in metrics and log, and to whom it is put down.

use std::{io, time::Duration};

use tonic::{Code, Status};

use crate::{
    data::limited::Limited,
    http1::{BodyFault, FIELDS_MAX, HeadFault},
    message::{FramingFault, HostFault},
    net::DialError,
    state::Cause,
};

/// Why a request of the load balancer was not answered by a backend, or not to its end. The
/// message goes to the client.
#[derive(Debug, thiserror::Error)]
pub(in crate::data) enum Fault {
    #[error("no route for this host and path")]
    NoRoute,
    #[error("upstream {upstream} has no available backend")]
    NoBackend { upstream: String },
    #[error("upstream {upstream} has no backend: none of its names has an address")]
    NoAddress { upstream: String },
    #[error("upstream {upstream} is busy and its queue of {length} is full")]
    QueueFull { upstream: String, length: usize },
    #[error("upstream {upstream} was busy for {timeout:?}")]
    QueueTimeout { upstream: String, timeout: Duration },
    #[error("connecting to upstream {upstream} failed: {source}")]
    Connect { upstream: String, source: DialError },
    #[error("connecting to upstream {upstream} took longer than {timeout:?}")]
    ConnectTimeout { upstream: String, timeout: Duration },
    /// This process has no file, port or buffer left for a connection to a backend.
    #[error("the load balancer is out of resources: {source}")]
    LocalResources { source: DialError },
    /// The backend closed a kept connection before it answered.
    #[error("the backend closed a kept connection, and the request may not be sent twice")]
    StaleConnection,
    #[error("the backend gave no response")]
    NoResponse,
    /// What the backend sent is no HTTP, has two ends, or is too long.
    #[error("the backend's response cannot be read")]
    BadResponse,
    #[error("the backend refused the request unprocessed")]
    RefusedStream,
    #[error("the backend switched protocols unasked")]
    UnaskedUpgrade,
    #[error("no response from the backend within {timeout:?}")]
    ResponseTimeout { timeout: Duration },
    /// The response's head came, and then nothing more for too long.
    #[error("the response stood still for {timeout:?}")]
    ResponseStalled { timeout: Duration },
    #[error("the response broke off")]
    ResponseBroken,
    #[error("no whole response within {timeout:?}")]
    TotalTimeout { timeout: Duration },
    #[error(transparent)]
    RateLimited(Limited),
    #[error("request body is longer than {bytes_max} bytes")]
    BodyLimit { bytes_max: u64 },
    #[error("path and query are longer than {bytes_max} bytes")]
    UriLimit { bytes_max: u64 },
    #[error("request head is longer than {bytes_max} bytes or has more than {FIELDS_MAX} fields")]
    HeadLimit { bytes_max: u64 },
    #[error("request head was not complete within {timeout:?}")]
    HeaderTimeout { timeout: Duration },
    /// The client sent nothing more of its body, or took nothing more of the response.
    #[error("request body stood still for too long")]
    ClientStalled,
    #[error("the client went away")]
    ClientClosed,
    #[error("the request passed through this load balancer {hops} times")]
    ForwardingLoop { hops: usize },
    #[error(transparent)]
    Host(#[from] HostFault),
    #[error(transparent)]
    Framing(#[from] FramingFault),
    #[error(transparent)]
    Head(HeadFault),
    #[error("{0}")]
    RequestBody(BodyFault),
    #[error("{0}")]
    BadRequest(&'static str),
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Row {
    pub(in crate::data) status: u16,
    pub(in crate::data) code: Code,
    pub(in crate::data) cause: Cause,
    pub(in crate::data) blame: Blame,
    /// Whether the client's connection carries no further request.
    pub(in crate::data) after: After,
}

/// To whom a fault is put down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::data) enum Blame {
    /// It counts towards an ejection of the backend.
    Backend,
    /// The backend did what it may.
    Neither,
    Client,
    /// This process, or its configuration.
    Local,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::data) enum After {
    Keep,
    /// What follows on it cannot be trusted, or a body is left unread on it.
    Close,
}

impl Fault {
    /// Its row of the table.
    #[rustfmt::skip]
    pub(in crate::data) fn row(&self) -> Row {
        use After::{Close, Keep};
        use Blame::{Backend, Client, Local, Neither};
        match self {
            Self::NoRoute                 => row(404, Code::Unimplemented,      Cause::NoRoute,         Client,  Keep),
            Self::NoBackend { .. }        => row(503, Code::Unavailable,        Cause::NoBackend,       Neither, Keep),
            Self::NoAddress { .. }        => row(503, Code::Unavailable,        Cause::NoBackend,       Neither, Keep),
            Self::QueueFull { .. }        => row(503, Code::Unavailable,        Cause::QueueFull,       Neither, Keep),
            Self::QueueTimeout { .. }     => row(503, Code::Unavailable,        Cause::QueueTimeout,    Neither, Keep),
            Self::Connect { source, .. }  => row(502, Code::Unavailable,        connect_cause(source),  Backend, Keep),
            Self::ConnectTimeout { .. }   => row(504, Code::Unavailable,        Cause::ConnectTimeout,  Backend, Keep),
            Self::LocalResources { .. }   => row(503, Code::Unavailable,        Cause::LocalResources,  Local,   Keep),
            Self::StaleConnection         => row(502, Code::Unavailable,        Cause::StaleConnection, Neither, Keep),
            Self::NoResponse              => row(502, Code::Unavailable,        Cause::NoResponse,      Backend, Keep),
            Self::BadResponse             => row(502, Code::Unavailable,        Cause::BadResponse,     Backend, Keep),
            Self::RefusedStream           => row(502, Code::Unavailable,        Cause::RefusedStream,   Neither, Keep),
            Self::UnaskedUpgrade          => row(502, Code::Unavailable,        Cause::BadResponse,     Backend, Keep),
            Self::ResponseTimeout { .. }  => row(504, Code::DeadlineExceeded,   Cause::UpstreamTimeout, Backend, Keep),
            Self::ResponseStalled { .. }  => row(504, Code::DeadlineExceeded,   Cause::UpstreamTimeout, Neither, Close),
            Self::ResponseBroken          => row(502, Code::Unavailable,        Cause::ResponseBroken,  Neither, Close),
            Self::TotalTimeout { .. }     => row(504, Code::DeadlineExceeded,   Cause::TotalTimeout,    Neither, Keep),
            Self::RateLimited(_)          => row(429, Code::ResourceExhausted,  Cause::RateLimited,     Client,  Keep),
            Self::BodyLimit { .. }        => row(413, Code::ResourceExhausted,  Cause::BodyLimit,       Client,  Close),
            Self::UriLimit { .. }         => row(414, Code::ResourceExhausted,  Cause::UriLimit,        Client,  Keep),
            Self::HeadLimit { .. }        => row(431, Code::ResourceExhausted,  Cause::HeadLimit,       Client,  Close),
            Self::HeaderTimeout { .. }    => row(408, Code::DeadlineExceeded,   Cause::ClientStalled,   Client,  Close),
            Self::ClientStalled           => row(408, Code::DeadlineExceeded,   Cause::ClientStalled,   Client,  Close),
            Self::ClientClosed            => row(400, Code::Cancelled,          Cause::ClientClosed,    Client,  Close),
            Self::ForwardingLoop { .. }   => row(508, Code::FailedPrecondition, Cause::ForwardingLoop,  Local,   Keep),
            Self::Host(_)
            | Self::Framing(_)
            | Self::Head(_)
            | Self::RequestBody(_)
            | Self::BadRequest(_)         => row(400, Code::Internal,           Cause::BadRequest,      Client,  Close),
        }
    }

    /// The limit that refused the request, if one did.
    pub(in crate::data) fn limited(&self) -> Option<&Limited> {
        if let Self::RateLimited(limited) = self {
            return Some(limited);
        }
        None
    }

    /// What a gRPC client gets.
    pub(in crate::data) fn to_status(&self) -> Status {
        let status = || Status::new(self.row().code, self.to_string());
        self.limited()
            .map_or_else(status, |limited| limited.to_status())
    }

    /// Its cause in metrics and log.
    pub(in crate::data) fn cause(&self) -> Cause {
        self.row().cause
    }
}

impl From<HeadFault> for Fault {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::TooManyFields => Self::HeadLimit { bytes_max: 0 },
            HeadFault::Malformed(_) | HeadFault::Target(_) => Self::Head(fault),
        }
    }
}

fn row(status: u16, code: Code, cause: Cause, blame: Blame, after: After) -> Row {
    Row {
        status,
        code,
        cause,
        blame,
        after,
    }
}

fn connect_cause(error: &DialError) -> Cause {
    match error {
        DialError::Tls(_) => Cause::TlsFailed,
        DialError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Cause::ConnectRefused
        }
        DialError::Connect(_) => Cause::ConnectFailed,
    }
}
