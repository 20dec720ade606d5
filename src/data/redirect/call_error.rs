//! Why a call of the redirect service gets no address: the one table from the fault to its HTTP
//! status, its gRPC code and its reason in the metrics.

use std::time::Duration;

use tonic::Code;

use crate::{
    data::limited::Limited,
    message::HostFault,
    redirect::{RejectReason, Rejection},
};

/// Why a redirect call gets no address. The message goes to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::data) enum CallError {
    /// The video URL was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("message is longer than {bytes_max} bytes")]
    MessageTooLarge { bytes_max: usize },
    /// A unary call has one (gRPC over HTTP2, "Requests").
    #[error("more than one message in a unary call")]
    SecondMessage,
    #[error("call took longer than {timeout:?}")]
    DeadlineExceeded { timeout: Duration },
    /// Over HTTP.
    #[error("no whole body within {timeout:?}")]
    SlowBody { timeout: Duration },
    /// The client gave up before its message was whole; it never sees this.
    #[error("call was cancelled")]
    Cancelled,
    #[error("the redirect service is not configured")]
    NotConfigured,
    #[error("{0}")]
    BadRequest(&'static str),
    /// Another reader of the request may have found another end of it.
    #[error(transparent)]
    BadHost(#[from] HostFault),
    #[error(transparent)]
    RateLimited(#[from] Limited),
    #[error("request head is longer than {bytes_max} bytes")]
    HeadLimit { bytes_max: u64 },
    #[error("not found; the redirect service answers GET and POST /redirect, and gRPC")]
    NotFound,
    #[error("no such method; the service has Redirect")]
    UnknownMethod,
    #[error("method not allowed; use GET or POST")]
    MethodNotAllowed,
    /// A gRPC path without a gRPC request.
    #[error("gRPC needs HTTP/2 and the content-type application/grpc")]
    UnsupportedMediaType,
    /// A fault of ours.
    #[error("internal error")]
    Panic,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Row {
    pub(in crate::data) status: u16,
    pub(in crate::data) code: Code,
    pub(in crate::data) reason: RejectReason,
}

impl CallError {
    /// Its row of the table.
    pub(in crate::data) fn row(self) -> Row {
        use RejectReason as Reason;
        let (status, code, reason) = match self {
            Self::Rejected(rejection @ Rejection::HostNotAllowed) => {
                (403, Code::PermissionDenied, rejection.reason())
            }
            Self::Rejected(rejection) => (400, Code::InvalidArgument, rejection.reason()),
            Self::MessageTooLarge { .. } => (413, Code::ResourceExhausted, Reason::MessageTooLarge),
            Self::SecondMessage => (400, Code::Internal, Reason::MalformedMessage),
            Self::DeadlineExceeded { .. } => {
                (504, Code::DeadlineExceeded, Reason::DeadlineExceeded)
            }
            Self::SlowBody { .. } => (408, Code::DeadlineExceeded, Reason::DeadlineExceeded),
            Self::Cancelled => (408, Code::Cancelled, Reason::Cancelled),
            Self::NotConfigured => (503, Code::Unavailable, Reason::NotConfigured),
            Self::BadRequest(_) | Self::BadHost(_) => {
                (400, Code::InvalidArgument, Reason::BadRequest)
            }
            Self::RateLimited(_) => (429, Code::ResourceExhausted, Reason::RateLimited),
            Self::HeadLimit { .. } => (431, Code::ResourceExhausted, Reason::BadRequest),
            Self::NotFound => (404, Code::Unimplemented, Reason::UnknownMethod),
            Self::UnknownMethod => (404, Code::Unimplemented, Reason::UnknownMethod),
            Self::MethodNotAllowed => (405, Code::Unimplemented, Reason::UnknownMethod),
            Self::UnsupportedMediaType => (415, Code::Internal, Reason::BadRequest),
            Self::Panic => (500, Code::Internal, Reason::Panic),
        };
        Row {
            status,
            code,
            reason,
        }
    }
}

impl From<CallError> for tonic::Status {
    fn from(error: CallError) -> Self {
        if let CallError::RateLimited(limited) = error {
            return limited.to_status();
        }
        Self::new(error.row().code, error.to_string())
    }
}
