//! The one table from a fault to its HTTP status, its gRPC code and its metrics label.

use std::{io, sync::Arc, time::Duration};

use http::StatusCode;
use tonic::Code;

use crate::{
    redirect::{RejectReason, Rejection},
    state::ForwardFault,
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
    NoBackend { upstream: Arc<str> },
    /// Nobody answers there.
    #[error("connect to {addr} failed: {source}")]
    Connect { addr: String, source: io::Error },
    /// Nobody answers there in time.
    #[error("connect to {addr} timed out after {timeout:?}")]
    ConnectTimeout { addr: String, timeout: Duration },
    /// The backend closed the connection, or sent what is no HTTP.
    #[error("the backend gave no valid response")]
    NoResponse,
    /// The backend is silent.
    #[error("no response from the backend within {timeout:?}")]
    ResponseTimeout { timeout: Duration },
    /// The backend changed the protocol unasked.
    #[error("the backend switched protocols unasked")]
    UnaskedUpgrade,
    /// The body announces too much.
    #[error("request body is longer than {bytes_max} bytes")]
    BodyLimit { bytes_max: u64 },
    /// The body became too long on its way.
    #[error("request body is too long")]
    BodyTooLong,
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
            Self::NoBackend { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect { .. } | Self::NoResponse | Self::UnaskedUpgrade => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout { .. } | Self::ResponseTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::BodyLimit { .. } | Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestStalled => StatusCode::REQUEST_TIMEOUT,
            Self::DownstreamClosed | Self::BadRequest(_) | Self::BadHost(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    pub(super) fn fault(&self) -> ForwardFault {
        match self {
            Self::NoRoute => ForwardFault::NoRoute,
            Self::NoBackend { .. } => ForwardFault::NoBackend,
            Self::Connect { .. } => ForwardFault::ConnectFailed,
            Self::ConnectTimeout { .. } => ForwardFault::ConnectTimeout,
            Self::NoResponse | Self::UnaskedUpgrade => ForwardFault::NoResponse,
            Self::ResponseTimeout { .. } => ForwardFault::UpstreamTimeout,
            Self::BodyLimit { .. } | Self::BodyTooLong => ForwardFault::BodyLimit,
            Self::RequestStalled | Self::DownstreamClosed => ForwardFault::ClientClosed,
            Self::BadRequest(_) | Self::BadHost(_) => ForwardFault::BadRequest,
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
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::NoResponse
            | Self::ResponseTimeout { .. }
            | Self::UnaskedUpgrade => false,
        }
    }
}
