//! `http`: listeners of the load balancer, and the short form's `port`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use http::HeaderName;
use ipnet::IpNet;

use crate::{
    config::{
        BODY_LIMIT, Http, Upstream,
        item::Item,
        resolve::{
            addresses::Addresses,
            route::{Names, route},
            units::{address, number, size},
            upstream::SHORT_FORM,
        },
        section::Section,
    },
    route::{Route, Router},
};

/// Reads `http`, and the short form's `port`.
pub(super) fn listeners(
    root: &Section<'_>,
    upstreams: &[Upstream],
    addresses: &mut Addresses,
) -> Vec<Http> {
    let names = Names {
        known: upstreams.iter().map(|upstream| &*upstream.name).collect(),
        are_all: !root.is_unreadable("upstreams"),
    };
    let items = root.items("http").unwrap_or_default();
    let mut listeners: Vec<Http> = items
        .into_iter()
        .filter_map(|item| listener(item.section(), &names, addresses))
        .collect();
    listeners.extend(short_form(root, upstreams, addresses));
    listeners
}

fn short_form(
    root: &Section<'_>,
    upstreams: &[Upstream],
    addresses: &mut Addresses,
) -> Option<Http> {
    let port = root.value("port", None, |text| {
        number(text, NonZeroU16::MIN..=NonZeroU16::MAX)
    });
    let upstream = upstreams
        .iter()
        .position(|upstream| upstream.name == SHORT_FORM);
    root.require_for(
        "port",
        &["backends"],
        "port needs backends, for example backends: [http://localhost:5001]",
    );
    root.require_for(
        "backends",
        &["port"],
        "backends needs a port, for example port: 8080",
    );
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port?.get());
    addresses.add(root, "port", None, listen);
    let router = Router::new(vec![Route::everything_to(upstream?)]);
    Some(Http::new(listen, router))
}

fn listener(
    section: Section<'_>,
    upstreams: &Names<'_>,
    addresses: &mut Addresses,
) -> Option<Http> {
    let listen = section.value("listen", None, address);
    if let Some(listen) = listen {
        addresses.add(&section, "listen", None, listen);
    }
    section.require(&["listen"], "listen is missing, for example 0.0.0.0:8080");
    let routes = routes(&section, upstreams);
    let trusted_proxies = trusted_proxies(&section);
    let upgrades = upgrades(&section);
    let body_limit = section.value_or_none_by_default("body_limit", BODY_LIMIT, size);
    let uri_limit = section.value("uri_limit", None, |text| {
        let bytes = size(text)?;
        match (64..=1 << 20).contains(&bytes) {
            true => Ok(bytes),
            false => Err("must be from 64B to 1MiB".to_owned()),
        }
    });
    section.finish();
    let defaults = Http::new(listen?, Router::new(routes));
    Some(Http {
        trusted_proxies: trusted_proxies.unwrap_or(defaults.trusted_proxies),
        body_limit,
        uri_limit: uri_limit.unwrap_or(defaults.uri_limit),
        upgrades: upgrades.unwrap_or(defaults.upgrades),
        ..defaults
    })
}

fn routes(section: &Section<'_>, upstreams: &Names<'_>) -> Vec<Route> {
    section.require(
        &["routes"],
        "routes is missing, for example [{ path: /, upstream: app }]",
    );
    let mut routes: Vec<Route> = Vec::new();
    for item in section.some_items("routes", ", so every request would be refused") {
        let (place, faults) = (item.clone(), section.fault_count());
        let found = route(item.section(), upstreams);
        // One that is at fault may look like any other.
        let is_sound = section.fault_count() == faults;
        let Some(found) = found.filter(|_| is_sound) else {
            continue;
        };
        let is_twin = |other: &Route| other.host == found.host && other.path == found.path;
        if routes.iter().any(is_twin) {
            place.fault("has the same host and path as an earlier route");
            continue;
        }
        routes.push(found);
    }
    routes
}

fn trusted_proxies(section: &Section<'_>) -> Option<Vec<IpNet>> {
    let network = |item: Item<'_>| {
        let text = item.text().unwrap_or_default();
        let network = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            item.fault(format!("{text:?} is not a network such as 10.0.0.0/8"));
        }
        network
    };
    let items = section.items("trusted_proxies")?;
    Some(items.into_iter().filter_map(network).collect())
}

fn upgrades(section: &Section<'_>) -> Option<Vec<String>> {
    let is_token = |text: &str| HeaderName::try_from(text).is_ok();
    let protocol = |item: Item<'_>| {
        let text = item.text().unwrap_or_default();
        let (name, version) = text.split_once('/').unwrap_or((text, "any"));
        if is_token(name) && is_token(version) {
            return Some(text.to_ascii_lowercase());
        }
        item.fault(format!(
            "{text:?} is not the name of a protocol such as websocket"
        ));
        None
    };
    let items = section.items("upgrades")?;
    Some(items.into_iter().filter_map(protocol).collect())
}
