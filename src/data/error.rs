//! The one table from a call's fault to its HTTP status, its gRPC code and its metrics label.

use std::time::Duration;

use http::StatusCode;
use tonic::Code;

use crate::redirect::{RejectReason, Rejection};

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
