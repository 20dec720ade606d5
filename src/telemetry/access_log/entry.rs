//! What one line tells. Borrows everything: it lives only for the call that writes it.

use std::{
    fmt::{self, Display},
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use http::Version;

/// One request and what became of it.
pub struct Entry<'a> {
    /// When the request's head had arrived.
    pub time: SystemTime,
    /// Who asked, as the trusted proxies say.
    pub client: IpAddr,
    /// The first line of the request; `None` if what came could not be read as one.
    pub request: Option<RequestLine<'a>>,
    /// The host as the client sent it; empty if there was none.
    pub host: &'a [u8],
    /// The status the client got.
    pub status: u16,
    /// Bytes of the response's body that were sent.
    pub body_bytes_sent: u64,
    /// Bytes of the request's body that were read.
    pub body_bytes_received: u64,
    /// The `Referer` header.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
    /// The request's id; empty if there is none.
    pub request_id: &'a [u8],
    /// The upstream that the route names.
    pub upstream: Option<&'a str>,
    /// The backends that were tried, in their order. The last one answered, or nobody did.
    pub attempts: &'a [Attempt<'a>],
    /// Why the request failed, in one word; `ok` if it did not.
    pub cause: &'static str,
    /// From the request's head to the head of the backend's response.
    pub first_byte: Option<Duration>,
    /// From the request's head to the end of the response.
    pub total: Duration,
}

/// One session of the TCP load balancer and what became of it.
pub struct SessionEntry<'a> {
    /// When it was accepted.
    pub time: SystemTime,
    /// Who connected, as the trusted proxies say.
    pub client: SocketAddr,
    /// The listener.
    pub listener: SocketAddr,
    /// The listener's upstream.
    pub upstream: &'a str,
    /// The backends that were tried, in their order. The last one took it, or none did.
    pub attempts: &'a [Attempt<'a>],
    /// From the accept to the connection to a backend.
    pub connect: Option<Duration>,
    /// From the accept to the end.
    pub total: Duration,
    /// Bytes that came from the client.
    pub bytes_received: u64,
    /// Bytes that came from the backend.
    pub bytes_sent: u64,
    /// Why it ended, in one word; `ok` if both sides ended it.
    pub cause: &'static str,
}

impl fmt::Debug for SessionEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEntry")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A backend that was tried.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Which one.
    pub backend: &'a dyn Display,
    /// Why it gave no answer, in one word; `None` if it did.
    pub failed: Option<&'static str>,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// The first line of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query as the client sent them.
    pub target: &'a str,
    /// The client's version of HTTP.
    pub version: Version,
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("request", &self.request)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
