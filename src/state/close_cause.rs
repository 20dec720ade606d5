//! Why a client connection ended: one closed list for metrics.

/// Why a client connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseCause {
    /// The client closed it, or an exchange ended it in good order.
    Done,
    /// It broke, or the client broke the protocol.
    ConnectionError,
    /// What came is no head of a request (HTTP/1.1).
    MalformedHead,
    /// A request's head was too long, or had too many headers (HTTP/1.1).
    HeadLimit,
    /// No first byte, or no whole HTTP/2 preface, in time.
    FirstByteTimeout,
    /// A request head took too long.
    HeaderTimeout,
    /// No call for too long.
    IdleTimeout,
    /// Calls were open, but none of them ended for too long.
    Stalled,
    /// Its age was reached.
    AgeLimit,
    /// The connection limit was reached; closed at accept.
    ConnectionLimit,
    /// The client's own connection limit was reached; closed at accept.
    ClientLimit,
    /// It had nothing to do when the process stopped.
    Drained,
    /// It was still busy at the end of the drain.
    Cut,
    /// A panic while it was served: a fault of ours.
    Panic,
}

impl CloseCause {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::ConnectionError,
        Self::MalformedHead,
        Self::HeadLimit,
        Self::FirstByteTimeout,
        Self::HeaderTimeout,
        Self::IdleTimeout,
        Self::Stalled,
        Self::AgeLimit,
        Self::ConnectionLimit,
        Self::ClientLimit,
        Self::Drained,
        Self::Cut,
        Self::Panic,
    ];

    /// The value of the metrics' `cause` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ConnectionError => "connection_error",
            Self::MalformedHead => "malformed_head",
            Self::HeadLimit => "head_limit",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Stalled => "stalled",
            Self::AgeLimit => "age_limit",
            Self::ConnectionLimit => "connection_limit",
            Self::ClientLimit => "client_limit",
            Self::Drained => "drained",
            Self::Cut => "cut",
            Self::Panic => "panic",
        }
    }
}
