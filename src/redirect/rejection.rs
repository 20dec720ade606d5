//! Why a video URL is refused.
//!
//! The messages go to the caller as they are; `data::error` maps each to its status.

use crate::redirect::{RejectReason, VIDEO_URL_BYTES_MAX};

/// The fault of a refused video URL, with its place where it has one. Offsets count bytes from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No URL at all.
    #[error("video URL is empty")]
    Empty,
    /// Longer than [`VIDEO_URL_BYTES_MAX`].
    #[error("video URL has {bytes} bytes, {VIDEO_URL_BYTES_MAX} at most are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A byte below 0x20, or 0x7f. A WHATWG parser drops some of these silently.
    #[error("video URL has a control character at byte {at}")]
    ControlCharacter {
        /// Where.
        at: usize,
    },
    /// A raw space.
    #[error("video URL has a space at byte {at}; write it as %20")]
    Space {
        /// Where.
        at: usize,
    },
    /// A backslash, which browsers read as a slash.
    #[error("video URL has a backslash at byte {at}")]
    Backslash {
        /// Where.
        at: usize,
    },
    /// A byte above 0x7f.
    #[error("video URL has a non-ASCII character at byte {at}; percent-encode it")]
    NonAscii {
        /// Where.
        at: usize,
    },
    /// Neither `http://` nor `https://`.
    #[error("video URL must begin with http:// or https://")]
    Scheme,
    /// An `@` before the path: what stands before it would hide the real host.
    #[error("video URL has user information (an @ before the path)")]
    UserInfo,
    /// An IP address in any spelling that a browser understands.
    #[error("video URL has an IP address for a host")]
    IpLiteral,
    /// The part after the colon is not a port.
    #[error("video URL has a port that is not between 1 and 65535")]
    Port,
    /// The authority is not followed by `/`.
    #[error("video URL has no path: a / must follow the host")]
    MissingPath,
    /// The host is no host name.
    #[error(
        "video URL has a malformed host: labels of 1 to 63 letters, digits and hyphens are allowed, in the first also _"
    )]
    MalformedHost,
    /// A well-formed host that is no server of an origin cluster.
    #[error("host of the video URL must be SERVER.CLUSTER with CLUSTER from `origin_clusters`")]
    HostNotAllowed,
    /// A `.` or `..` segment in the path, percent-encoded or not. A CDN would resolve it and leave the
    /// server's directory.
    #[error("video URL has a dot segment (. or ..) in its path at byte {at}")]
    DotSegment {
        /// Where the segment begins.
        at: usize,
    },
}

impl Rejection {
    /// The reason it is counted under.
    pub fn reason(self) -> RejectReason {
        match self {
            Self::Empty => RejectReason::Empty,
            Self::TooLong { .. } => RejectReason::TooLong,
            Self::ControlCharacter { .. } => RejectReason::ControlCharacter,
            Self::Space { .. } => RejectReason::Space,
            Self::Backslash { .. } => RejectReason::Backslash,
            Self::NonAscii { .. } => RejectReason::NonAscii,
            Self::Scheme => RejectReason::Scheme,
            Self::UserInfo => RejectReason::UserInfo,
            Self::IpLiteral => RejectReason::IpLiteral,
            Self::Port => RejectReason::Port,
            Self::MissingPath => RejectReason::MissingPath,
            Self::MalformedHost => RejectReason::MalformedHost,
            Self::HostNotAllowed => RejectReason::HostNotAllowed,
            Self::DotSegment { .. } => RejectReason::DotSegment,
        }
    }
}
