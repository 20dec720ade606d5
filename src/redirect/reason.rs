//! The closed list of reasons for which a redirect call is refused.

/// Why a call got no address: the value of the metrics' `reason` label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "`Rejection` and `data::error` say what each means"
)]
pub enum RejectReason {
    Empty,
    TooLong,
    ControlCharacter,
    Space,
    Backslash,
    NonAscii,
    Scheme,
    UserInfo,
    IpLiteral,
    Port,
    MissingPath,
    MalformedHost,
    HostNotAllowed,
    DotSegment,
    MessageTooLarge,
    MalformedMessage,
    DeadlineExceeded,
    Cancelled,
    UnknownMethod,
    BadRequest,
    NotConfigured,
    Panic,
    RateLimited,
}

impl RejectReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 23] = [
        Self::Empty,
        Self::TooLong,
        Self::ControlCharacter,
        Self::Space,
        Self::Backslash,
        Self::NonAscii,
        Self::Scheme,
        Self::UserInfo,
        Self::IpLiteral,
        Self::Port,
        Self::MissingPath,
        Self::MalformedHost,
        Self::HostNotAllowed,
        Self::DotSegment,
        Self::MessageTooLarge,
        Self::MalformedMessage,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::UnknownMethod,
        Self::BadRequest,
        Self::NotConfigured,
        Self::Panic,
        Self::RateLimited,
    ];

    /// The label's text.
    pub fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::ControlCharacter => "control_character",
            Self::Space => "space",
            Self::Backslash => "backslash",
            Self::NonAscii => "non_ascii",
            Self::Scheme => "scheme",
            Self::UserInfo => "user_info",
            Self::IpLiteral => "ip_literal",
            Self::Port => "port",
            Self::MissingPath => "missing_path",
            Self::MalformedHost => "malformed_host",
            Self::HostNotAllowed => "host_not_allowed",
            Self::DotSegment => "dot_segment",
            Self::MessageTooLarge => "message_too_large",
            Self::MalformedMessage => "malformed_message",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::UnknownMethod => "unknown_method",
            Self::BadRequest => "bad_request",
            Self::NotConfigured => "not_configured",
            Self::Panic => "panic",
            Self::RateLimited => "rate_limited",
        }
    }
}
