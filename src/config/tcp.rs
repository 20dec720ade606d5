//! What the operator wants of the TCP load balancer's listeners.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

/// One listener of the TCP load balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tcp {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which upstream takes its sessions: indexes [`crate::config::Config::upstreams`].
    pub upstream: usize,
    /// Time in which nothing may come from the client or go to it. Default 60 s, bounds 100 ms to
    /// 24 h. HAProxy's `timeout client`.
    pub idle_timeout: Duration,
    /// The same for a session of which one side ended. Default 30 s, bounds 100 ms to 24 h. HAProxy's
    /// `timeout client-fin` and `timeout server-fin`.
    pub half_open_timeout: Duration,
    /// Peers whose connections begin with a header of the PROXY protocol, version 1 or 2. Default
    /// none.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What becomes of the sessions of a backend that is marked down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnMarkedDown {
    /// They go on for as long as the backend lets them.
    Keep,
    /// They are closed, so that clients connect anew.
    CloseSessions,
}
