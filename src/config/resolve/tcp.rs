//! `tcp`: listeners of the TCP load balancer.

use std::time::Duration;

use ipnet::IpNet;

use crate::config::{
    Tcp, Upstream,
    key::{self, Address, Key, List, Span, Table, Text},
    resolve::{
        DAY, MILLIS_100,
        addresses::Addresses,
        http::network,
        names::{NAME, Names, Speaks, UpstreamName},
        upstream::UPSTREAMS,
    },
    section::Section,
};

const LISTEN: Key<Address> = Key::required("listen", Address, "Where the listener is");
const UPSTREAM: UpstreamName = Key::required(
    "upstream",
    NAME,
    "The upstream that gets the sessions. Its backends are `tcp://HOST:PORT`",
);
const IDLE_TIMEOUT: Key<Span> = Key::new(
    "idle_timeout",
    Span(MILLIS_100..=DAY),
    "60s",
    "Time in which nothing comes from the client or goes to it, as HAProxy's `timeout client`. `idle_timeout` of the upstream is the same for the backend",
);
const HALF_OPEN_TIMEOUT: Key<Span> = Key::new(
    "half_open_timeout",
    Span(MILLIS_100..=DAY),
    "30s",
    "Time in which nothing moves once one side has ended and the other has not",
);
const PROXY_PROTOCOL_FROM: Key<List<Text<IpNet>>> = Key::optional(
    "proxy_protocol_from",
    List {
        each: Text {
            words: "network or address",
            parse: network,
        },
        empty: None,
    },
    "none",
    "Peers whose connections must begin with a header of the PROXY protocol, version 1 or 2, which says who the client is. Of others it is not read",
);
static LISTENER: Table = Table {
    keys: &[
        &LISTEN,
        &UPSTREAM,
        &IDLE_TIMEOUT,
        &HALF_OPEN_TIMEOUT,
        &PROXY_PROTOCOL_FROM,
    ],
    renamed: &[],
    example: "",
};
pub(super) const LISTENERS: Key<List<key::Section>> = Key::optional(
    "tcp",
    List {
        each: key::Section(&LISTENER),
        empty: None,
    },
    "none",
    "Listeners of the TCP load balancer",
);

impl Tcp {
    /// A listener with the defaults.
    pub fn new(listen: std::net::SocketAddr, upstream: usize) -> Self {
        Self {
            listen,
            upstream,
            idle_timeout: IDLE_TIMEOUT.default(),
            half_open_timeout: HALF_OPEN_TIMEOUT.default(),
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// Reads `tcp`.
pub(super) fn listeners(
    root: &Section<'_>,
    upstreams: &[Upstream],
    addresses: &mut Addresses,
) -> Vec<Tcp> {
    let names = Names::new(upstreams, !root.is_unreadable(UPSTREAMS.name));
    let items = root.items(&LISTENERS).unwrap_or_default();
    let listeners = items.into_iter();
    listeners
        .filter_map(|item| listener(&item.section(&LISTENER), &names, addresses))
        .collect()
}

fn listener(section: &Section<'_>, names: &Names<'_>, addresses: &mut Addresses) -> Option<Tcp> {
    let listen = section.given(&LISTEN);
    if let Some(listen) = listen {
        addresses.add(section, &LISTEN, listen);
    }
    section.require_key(&LISTEN, ", for example 0.0.0.0:5433");
    section.require_key(&UPSTREAM, "");
    let upstream = names.find(section, &UPSTREAM, Speaks::Tcp);
    let idle_timeout: Duration = section.get(&IDLE_TIMEOUT);
    let half_open_timeout = section.get(&HALF_OPEN_TIMEOUT);
    let proxy_protocol_from = section.list(&PROXY_PROTOCOL_FROM).unwrap_or_default();
    Some(Tcp {
        idle_timeout,
        half_open_timeout,
        proxy_protocol_from,
        ..Tcp::new(listen?, upstream?)
    })
}
