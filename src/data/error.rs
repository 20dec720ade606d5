//! The one table from a fault to its HTTP status, its gRPC code and its metrics label.

use std::{io, time::Duration};

use http::StatusCode;
use tonic::Code;

use crate::{
    net::DialError,
    redirect::{RejectReason, Rejection},
    state::Cause,
};

/// Why a redirect call gets no address. The message goes to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum CallError {
    /// The video URL was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The gRPC message is longer than it may be.
    #[error("message is longer than {bytes_max} bytes")]
    MessageTooLarge { bytes_max: usize },
    /// The message did not arrive in time.
    #[error("call took longer than {timeout:?}")]
    DeadlineExceeded { timeout: Duration },
    /// The client gave up before its message was whole; it never sees this.
    #[error("call was cancelled")]
    Cancelled,
    /// The service is not part of the current configuration.
    #[error("the redirect service is not configured")]
    NotConfigured,
    /// The HTTP request is not one that the service understands.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The `Host` header is missing, repeated or malformed: who knows where the request ends.
    #[error("{0}")]
    BadHost(&'static str),
    /// There is nothing under that path.
    #[error("not found; the redirect service answers GET /redirect?video=URL and gRPC")]
    NotFound,
    /// The path takes no such method.
    #[error("method not allowed; use GET")]
    MethodNotAllowed,
    /// A gRPC path without a gRPC request.
    #[error("gRPC needs HTTP/2 and the content-type application/grpc")]
    UnsupportedMediaType,
    /// A fault of ours.
    #[error("internal error")]
    Panic,
}

impl CallError {
    pub(super) fn http_status(self) -> StatusCode {
        match self {
            Self::Rejected(Rejection::HostNotAllowed) => StatusCode::FORBIDDEN,
            Self::Rejected(_) | Self::BadRequest(_) | Self::BadHost(_) => StatusCode::BAD_REQUEST,
            Self::MessageTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Cancelled => StatusCode::REQUEST_TIMEOUT,
            Self::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn grpc_code(self) -> Code {
        match self {
            Self::Rejected(Rejection::HostNotAllowed) => Code::PermissionDenied,
            Self::Rejected(_) | Self::BadRequest(_) | Self::BadHost(_) => Code::InvalidArgument,
            Self::MessageTooLarge { .. } => Code::ResourceExhausted,
            Self::DeadlineExceeded { .. } => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::NotConfigured => Code::Unavailable,
            Self::NotFound | Self::MethodNotAllowed => Code::Unimplemented,
            Self::UnsupportedMediaType | Self::Panic => Code::Internal,
        }
    }

    pub(super) fn reason(self) -> RejectReason {
        match self {
            Self::Rejected(rejection) => rejection.reason(),
            Self::MessageTooLarge { .. } => RejectReason::MessageTooLarge,
            Self::DeadlineExceeded { .. } => RejectReason::DeadlineExceeded,
            Self::Cancelled => RejectReason::Cancelled,
            Self::NotFound | Self::MethodNotAllowed => RejectReason::UnknownMethod,
            Self::NotConfigured => RejectReason::NotConfigured,
            Self::BadRequest(_) | Self::BadHost(_) | Self::UnsupportedMediaType => {
                RejectReason::BadRequest
            }
            Self::Panic => RejectReason::Panic,
        }
    }
}

impl From<CallError> for tonic::Status {
    fn from(error: CallError) -> Self {
        Self::new(error.grpc_code(), error.to_string())
    }
}

/// Why a request was not answered by a backend. The message goes to the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    /// No route of the listener matches.
    #[error("no route for this host and path")]
    NoRoute,
    /// No backend may take requests now.
    #[error("upstream {upstream} has no available backend")]
    NoBackend { upstream: String },
    /// Every backend is busy, and as many wait as may.
    #[error("upstream {upstream} is busy and its queue of {length} is full")]
    QueueFull { upstream: String, length: usize },
    /// Every backend stayed busy.
    #[error("upstream {upstream} was busy for {timeout:?}")]
    QueueTimeout { upstream: String, timeout: Duration },
    /// Nobody answers there, or nobody who can be trusted.
    #[error("connecting to upstream {upstream} failed: {source}")]
    Connect { upstream: String, source: DialError },
    /// Nobody answers there in time.
    #[error("connecting to upstream {upstream} took longer than {timeout:?}")]
    ConnectTimeout { upstream: String, timeout: Duration },
    /// The backend closed a connection that was kept for longer than it wanted.
    #[error("the backend closed a kept connection, and the request may not be sent twice")]
    StaleConnection,
    /// The backend closed the connection without a response.
    #[error("the backend gave no response")]
    NoResponse,
    /// The backend sent what is no HTTP, or a head that is too long.
    #[error("the backend's response cannot be read")]
    BadResponse,
    /// The backend did not even look at the request.
    #[error("the backend refused the request unprocessed")]
    RefusedStream,
    /// The backend is silent.
    #[error("no response from the backend within {timeout:?}")]
    ResponseTimeout { timeout: Duration },
    /// All in all it took too long.
    #[error("no whole response within {timeout:?}")]
    TotalTimeout { timeout: Duration },
    /// The backend changed the protocol unasked.
    #[error("the backend switched protocols unasked")]
    UnaskedUpgrade,
    /// The body announces too much.
    #[error("request body is longer than {bytes_max} bytes")]
    BodyLimit { bytes_max: u64 },
    /// The body became too long on its way.
    #[error("request body is too long")]
    BodyTooLong,
    /// The path and query are too long.
    #[error("path and query are longer than {bytes_max} bytes")]
    UriLimit { bytes_max: u64 },
    /// The client stopped in the middle of its body.
    #[error("request body stood still for too long")]
    RequestStalled,
    /// The client went away.
    #[error("request body broke off")]
    DownstreamClosed,
    /// The request cannot be forwarded as it is.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Who knows for whom the request is.
    #[error("{0}")]
    BadHost(&'static str),
}

impl ForwardError {
    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoBackend { .. } | Self::QueueFull { .. } | Self::QueueTimeout { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Connect { .. }
            | Self::StaleConnection
            | Self::NoResponse
            | Self::BadResponse
            | Self::RefusedStream
            | Self::UnaskedUpgrade => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout { .. }
            | Self::ResponseTimeout { .. }
            | Self::TotalTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyLimit { .. } | Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriLimit { .. } => StatusCode::URI_TOO_LONG,
            Self::RequestStalled => StatusCode::REQUEST_TIMEOUT,
            Self::DownstreamClosed | Self::BadRequest(_) | Self::BadHost(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// The same for a gRPC client, which reads no HTTP status.
    pub(super) fn grpc_code(&self) -> Code {
        match self {
            Self::NoRoute => Code::Unimplemented,
            Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::StaleConnection
            | Self::NoResponse
            | Self::BadResponse
            | Self::RefusedStream
            | Self::UnaskedUpgrade => Code::Unavailable,
            Self::ResponseTimeout { .. } | Self::TotalTimeout { .. } | Self::RequestStalled => {
                Code::DeadlineExceeded
            }
            Self::BodyLimit { .. } | Self::BodyTooLong | Self::UriLimit { .. } => {
                Code::ResourceExhausted
            }
            Self::DownstreamClosed => Code::Cancelled,
            Self::BadRequest(_) | Self::BadHost(_) => Code::Internal,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::NoRoute => Cause::NoRoute,
            Self::NoBackend { .. } => Cause::NoBackend,
            Self::QueueFull { .. } => Cause::QueueFull,
            Self::QueueTimeout { .. } => Cause::QueueTimeout,
            Self::Connect { source, .. } => match source {
                DialError::Tls(_) => Cause::TlsFailed,
                DialError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Cause::ConnectRefused
                }
                DialError::Connect(_) => Cause::ConnectFailed,
            },
            Self::ConnectTimeout { .. } => Cause::ConnectTimeout,
            Self::StaleConnection => Cause::StaleConnection,
            Self::NoResponse => Cause::NoResponse,
            Self::BadResponse | Self::UnaskedUpgrade => Cause::BadResponse,
            Self::RefusedStream => Cause::RefusedStream,
            Self::ResponseTimeout { .. } => Cause::UpstreamTimeout,
            Self::TotalTimeout { .. } => Cause::TotalTimeout,
            Self::BodyLimit { .. } | Self::BodyTooLong => Cause::BodyLimit,
            Self::UriLimit { .. } => Cause::UriLimit,
            Self::RequestStalled => Cause::ClientStalled,
            Self::DownstreamClosed => Cause::ClientClosed,
            Self::BadRequest(_) | Self::BadHost(_) => Cause::BadRequest,
        }
    }

    /// Whether it speaks against the backend, so that it counts towards an ejection.
    pub(super) fn blames_backend(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::NoResponse
            | Self::BadResponse
            | Self::ResponseTimeout { .. }
            | Self::UnaskedUpgrade => true,
            // A backend may close what it kept long enough, and say that it is full or leaving.
            Self::StaleConnection
            | Self::RefusedStream
            | Self::NoRoute
            | Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::TotalTimeout { .. }
            | Self::BodyLimit { .. }
            | Self::BodyTooLong
            | Self::UriLimit { .. }
            | Self::RequestStalled
            | Self::DownstreamClosed
            | Self::BadRequest(_)
            | Self::BadHost(_) => false,
        }
    }

    /// Whether what follows on the connection cannot be trusted, or a body is left unread on it.
    pub(super) fn closes(&self) -> bool {
        match self {
            Self::BodyLimit { .. }
            | Self::BodyTooLong
            | Self::RequestStalled
            | Self::DownstreamClosed
            | Self::BadRequest(_)
            | Self::BadHost(_) => true,
            Self::NoRoute
            | Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::StaleConnection
            | Self::NoResponse
            | Self::BadResponse
            | Self::RefusedStream
            | Self::ResponseTimeout { .. }
            | Self::TotalTimeout { .. }
            | Self::UriLimit { .. }
            | Self::UnaskedUpgrade => false,
        }
    }
}
