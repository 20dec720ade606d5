//! Why a request went wrong: one closed list for metrics and the access log.

/// Why a request was not answered by a backend in good order, or was tried again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cause {
    /// No route matches host and path.
    NoRoute,
    /// No backend is available.
    NoBackend,
    /// Every backend had its limit in flight, and the queue was full.
    QueueFull,
    /// The same, and no place came free in time.
    QueueTimeout,
    /// The backend's system refused the connection.
    ConnectRefused,
    /// No connection for another reason.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// The backend cannot be verified, or speaks no TLS.
    TlsFailed,
    /// A kept connection was closed before anything came back.
    StaleConnection,
    /// The backend closed a new connection without an answer.
    NoResponse,
    /// The backend answered with what cannot be read: no HTTP, a head too long, a switch unasked.
    BadResponse,
    /// The backend did not process the request, and said so (HTTP/2).
    RefusedStream,
    /// No response head in time.
    UpstreamTimeout,
    /// The exchange as a whole took too long.
    TotalTimeout,
    /// The response broke off in its body.
    ResponseBroken,
    /// The request's body is too long.
    BodyLimit,
    /// The request's target is too long.
    UriLimit,
    /// The request's head is too long, or has too many headers.
    HeadLimit,
    /// The client stopped in the middle of its head or body.
    ClientStalled,
    /// The client went away.
    ClientClosed,
    /// The balancer ended the connection: it stopped, or the connection was too old.
    Cut,
    /// The request cannot be read, or not be forwarded as it is.
    BadRequest,
    /// This process had no file, port or buffer left for a connection to a backend.
    LocalResources,
    /// The request passed through this load balancer too often.
    ForwardingLoop,
    /// The client makes more requests than it may.
    RateLimited,
    /// Nothing moved in a TCP session for too long.
    IdleTimeout,
    /// The backend of a TCP session was marked down.
    MarkedDown,
    /// A trusted peer sent no header of the PROXY protocol.
    ProxyHeader,
}

impl Cause {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 28] = [
        Self::NoRoute,
        Self::NoBackend,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::ConnectRefused,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::TlsFailed,
        Self::StaleConnection,
        Self::NoResponse,
        Self::BadResponse,
        Self::RefusedStream,
        Self::UpstreamTimeout,
        Self::TotalTimeout,
        Self::ResponseBroken,
        Self::BodyLimit,
        Self::UriLimit,
        Self::HeadLimit,
        Self::ClientStalled,
        Self::ClientClosed,
        Self::Cut,
        Self::BadRequest,
        Self::LocalResources,
        Self::ForwardingLoop,
        Self::RateLimited,
        Self::IdleTimeout,
        Self::MarkedDown,
        Self::ProxyHeader,
    ];

    /// The value of the metrics' `cause` label and of the access log's field.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::StaleConnection => "stale_connection",
            Self::NoResponse => "no_response",
            Self::BadResponse => "bad_response",
            Self::RefusedStream => "refused_stream",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::ResponseBroken => "response_broken",
            Self::BodyLimit => "body_limit",
            Self::UriLimit => "uri_limit",
            Self::HeadLimit => "head_limit",
            Self::ClientStalled => "client_stalled",
            Self::ClientClosed => "client_closed",
            Self::Cut => "cut",
            Self::BadRequest => "bad_request",
            Self::LocalResources => "local_resources",
            Self::ForwardingLoop => "forwarding_loop",
            Self::RateLimited => "rate_limited",
            Self::IdleTimeout => "idle_timeout",
            Self::MarkedDown => "marked_down",
            Self::ProxyHeader => "proxy_header",
        }
    }
}
