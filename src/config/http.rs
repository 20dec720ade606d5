//! What the operator wants of the HTTP load balancer's listeners.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{limit::Rule, route::Router};

/// One listener of the HTTP load balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which upstream takes a request; `Route::upstream` indexes [`crate::config::Config::upstreams`].
    pub router: Router,
    /// Proxies allowed to set forwarding headers. Default the loopback addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest request body, in bytes. Default 10 MiB; `None` for no limit. Bodies are streamed,
    /// so a higher limit costs no memory here. Of a gRPC call it limits each message, not all of
    /// them together.
    pub body_limit: Option<u64>,
    /// The longest path and query, in bytes; one more is a 414. Default 16 KiB.
    pub uri_limit: u64,
    /// Protocols that a client may upgrade to, in lower case. Default `websocket`.
    pub upgrades: Vec<String>,
    /// A bucket of each client for this listener. Default `None`.
    pub rate_limit: Option<Rule>,
}

/// The default of a listener's `trusted_proxies`.
pub fn loopback() -> Vec<IpNet> {
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    vec![v4.into(), Ipv6Net::from(Ipv6Addr::LOCALHOST).into()]
}

/// The default of a listener's `upgrades`.
pub(super) const WEBSOCKET: &str = "websocket";
