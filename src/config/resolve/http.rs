//! `http`: listeners of the load balancer, and the short form's `port`.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use http::HeaderName;
use ipnet::IpNet;

use crate::{
    config::{
        Http, Upstream,
        http::WEBSOCKET,
        key::{self, Address, Bytes, Key, List, OrNone, Table, Text, Whole},
        loopback,
        resolve::{
            addresses::Addresses,
            names::Names,
            rate_limit::{self, LISTENER_RATE_LIMIT},
            route::{ROUTE, route},
            upstream::{SHORT_BACKENDS, SHORT_FORM, UPSTREAMS},
        },
        section::Section,
    },
    route::{Route, Router},
};

const LISTEN: Key<Address> = Key::required("listen", Address, "Where the listener is");
const ROUTES: Key<List<key::Section>> = Key::required(
    "routes",
    List {
        each: key::Section(&ROUTE),
        empty: Some(", so every request would be refused"),
    },
    "Which upstream gets a request: a route with a host wins over one without, a longer path over a shorter one",
);
pub(super) const TRUSTED_PROXIES: Key<List<Text<IpNet>>> = Key::optional(
    "trusted_proxies",
    List {
        each: Text {
            words: "network or address",
            parse: network,
        },
        empty: None,
    },
    "loopback",
    "Proxies allowed to set forwarding headers (`X-Forwarded-For` and the like)",
);
const BODY_LIMIT: Key<OrNone<Bytes<u64>>> = Key::new(
    "body_limit",
    OrNone(Bytes(0..=u64::MAX)),
    "10MiB",
    "The longest request body. Bodies are streamed, so a higher limit costs no memory here. Of a gRPC call it limits each message",
);
const URI_LIMIT: Key<Bytes<u64>> = Key::new(
    "uri_limit",
    Bytes(64..=1 << 20),
    "16KiB",
    "The longest path and query",
);
const UPGRADES: Key<List<Text<String>>> = Key::optional(
    "upgrades",
    List {
        each: Text {
            words: "name of a protocol",
            parse: protocol,
        },
        empty: None,
    },
    "`[websocket]`",
    "Protocols that a client may switch to. `[]` allows none",
);
static LISTENER: Table = Table {
    keys: &[
        &LISTEN,
        &ROUTES,
        &TRUSTED_PROXIES,
        &BODY_LIMIT,
        &URI_LIMIT,
        &UPGRADES,
        &LISTENER_RATE_LIMIT,
    ],
    renamed: &[],
    example: "",
};
pub(super) const LISTENERS: Key<List<key::Section>> = Key::optional(
    "http",
    List {
        each: key::Section(&LISTENER),
        empty: None,
    },
    "none",
    "Listeners of the HTTP load balancer",
);
pub(super) const PORT: Key<Whole<NonZeroU16>> = Key::optional(
    "port",
    Whole(NonZeroU16::MIN..=NonZeroU16::MAX),
    "none",
    "With `backends`, the short form of a balancer: it listens on this port of all addresses",
);

impl Http {
    /// A listener with the defaults.
    pub fn new(listen: SocketAddr, router: Router) -> Self {
        Self {
            listen,
            router,
            trusted_proxies: loopback(),
            body_limit: BODY_LIMIT.default(),
            uri_limit: URI_LIMIT.default(),
            upgrades: vec![WEBSOCKET.to_owned()],
            rate_limit: None,
        }
    }
}

/// Reads `http`, and the short form's `port`.
pub(super) fn listeners(
    root: &Section<'_>,
    upstreams: &[Upstream],
    addresses: &mut Addresses,
) -> Vec<Http> {
    let names = Names::new(upstreams, !root.is_unreadable(UPSTREAMS.name));
    let items = root.items(&LISTENERS).unwrap_or_default();
    let mut listeners: Vec<Http> = items
        .into_iter()
        .filter_map(|item| listener(&item.section(&LISTENER), &names, addresses))
        .collect();
    listeners.extend(short_form(root, upstreams, addresses));
    listeners
}

fn short_form(
    root: &Section<'_>,
    upstreams: &[Upstream],
    addresses: &mut Addresses,
) -> Option<Http> {
    let port = root.given(&PORT);
    let upstream = upstreams
        .iter()
        .position(|upstream| upstream.name == SHORT_FORM);
    root.require_for(
        PORT.name,
        &[SHORT_BACKENDS.name],
        "port needs backends, for example backends: [http://localhost:5001]",
    );
    root.require_for(
        SHORT_BACKENDS.name,
        &[PORT.name],
        "backends needs a port, for example port: 8080",
    );
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port?.get());
    addresses.add(root, &PORT, listen);
    let router = Router::new(vec![Route::everything_to(upstream?)]);
    Some(Http::new(listen, router))
}

fn listener(
    section: &Section<'_>,
    upstreams: &Names<'_>,
    addresses: &mut Addresses,
) -> Option<Http> {
    let listen = section.given(&LISTEN);
    if let Some(listen) = listen {
        addresses.add(section, &LISTEN, listen);
    }
    section.require_key(&LISTEN, ", for example 0.0.0.0:8080");
    let router = Router::new(routes(section, upstreams));
    let trusted_proxies = section.list(&TRUSTED_PROXIES);
    let body_limit = section.get(&BODY_LIMIT);
    let uri_limit = section.get(&URI_LIMIT);
    let upgrades = section.list(&UPGRADES);
    let rate_limit = rate_limit::listener(section);
    let defaults = Http::new(listen?, router);
    Some(Http {
        trusted_proxies: trusted_proxies.unwrap_or(defaults.trusted_proxies),
        body_limit,
        uri_limit,
        upgrades: upgrades.unwrap_or(defaults.upgrades),
        rate_limit,
        ..defaults
    })
}

fn routes(section: &Section<'_>, upstreams: &Names<'_>) -> Vec<Route> {
    section.require_key(&ROUTES, ", for example [{ path: /, upstream: app }]");
    let mut routes: Vec<Route> = Vec::new();
    let mut known = HashSet::new();
    for item in section.items(&ROUTES).unwrap_or_default() {
        let (place, faults) = (item.clone(), section.reading().fault_count());
        let found = route(&item.section(&ROUTE), upstreams);
        // One that is at fault may look like any other.
        let is_sound = section.reading().fault_count() == faults;
        let Some(found) = found.filter(|_| is_sound) else {
            continue;
        };
        if !known.insert((found.host.clone(), found.path.clone())) {
            place.fault("has the same host and path as an earlier route");
            continue;
        }
        routes.push(found);
    }
    routes
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address);
    network.ok_or_else(|| "is not a network such as 10.0.0.0/8".to_owned())
}

fn protocol(text: &str) -> Result<String, String> {
    let is_token = |text: &str| HeaderName::try_from(text).is_ok();
    let (name, version) = text.split_once('/').unwrap_or((text, "any"));
    match is_token(name) && is_token(version) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("is not the name of a protocol such as websocket".to_owned()),
    }
}
