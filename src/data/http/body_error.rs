//! Why a body came to no good end.

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
            BodyError::Broken => Self::DownstreamClosed,
        }
    }
}
