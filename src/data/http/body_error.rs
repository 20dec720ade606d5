//! Why a body came to no good end.

use std::{error::Error as _, io};

use http_body::Body as _;
use hyper::body::Incoming;

use crate::data::error::ForwardError;

/// Why a body came to no good end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::data) enum BodyError {
    /// Longer than it may be.
    #[error("body is too long")]
    TooLong,
    /// Nothing came for too long.
    #[error("body stood still for too long")]
    Stalled,
    /// The exchange as a whole took too long.
    #[error("body took too long")]
    TotalTimeout,
    /// Its chunks cannot be read.
    #[error("body is malformed")]
    Malformed,
    /// The other side broke.
    #[error("body broke off")]
    Broken,
}

impl From<BodyError> for ForwardError {
    /// What a request's body that came to no good end means for the request.
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong => Self::BodyTooLong,
            BodyError::Stalled | BodyError::TotalTimeout => Self::RequestStalled,
            BodyError::Malformed => Self::BadRequest("the chunks of the body are malformed"),
            BodyError::Broken => Self::DownstreamClosed,
        }
    }
}

impl From<&hyper::Error> for BodyError {
    /// Why a body that the other side sends cannot be read on.
    fn from(error: &hyper::Error) -> Self {
        let source = error.source().and_then(|source| source.downcast_ref());
        let is_malformed = source.is_some_and(|error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            )
        });
        match is_malformed {
            true => Self::Malformed,
            false => Self::Broken,
        }
    }
}

/// Whether nothing but an empty end or trailers can follow: hyper's HTTP/1.1 looks no further
/// once as much came as was announced, and HTTP/2 may send its end in a frame of its own.
pub(super) fn is_complete(body: &Incoming) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
