//! `http`: listeners of the load balancer, and the short form's `port`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use ipnet::IpNet;

use crate::{
    config::{
        Http, Upstream,
        resolve::{
            route::route,
            units::{address, number, size},
            upstream::SHORT_FORM,
        },
        section::{Item, Section},
    },
    route::{Route, Router},
};

/// Reads `http`, and the short form's `port`.
pub(super) fn listeners(root: &Section<'_>, upstreams: &[Upstream]) -> Vec<Http> {
    let sections = root
        .items("http")
        .unwrap_or_default()
        .into_iter()
        .map(Item::section);
    let mut listeners: Vec<Http> = Vec::new();
    for section in sections {
        let Some(http) = listener(section, upstreams, &listeners) else {
            continue;
        };
        listeners.push(http);
    }
    listeners.extend(short_form(root, upstreams));
    listeners
}

fn short_form(root: &Section<'_>, upstreams: &[Upstream]) -> Option<Http> {
    let port = root.value("port", None, |text| {
        number(text, NonZeroU16::MIN..=NonZeroU16::MAX)
    });
    let upstream = upstreams
        .iter()
        .position(|upstream| upstream.name == SHORT_FORM);
    match (port, upstream) {
        (Some(port), Some(upstream)) => {
            let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.get());
            let router = Router::new(vec![Route::everything_to(upstream)]);
            return Some(Http::new(listen, router));
        }
        (Some(_), None) => root
            .fault("port needs backends, for example backends: [http://localhost:5001]".to_owned()),
        (None, Some(_)) if !root.has("port") => {
            root.fault("backends needs a port, for example port: 8080".to_owned());
        }
        (None, _) => {}
    }
    None
}

fn listener(section: Section<'_>, upstreams: &[Upstream], before: &[Http]) -> Option<Http> {
    let listen = section.value("listen", None, |text| {
        let listen = address(text)?;
        // Port 0 is another port each time.
        let is_taken = listen.port() != 0 && before.iter().any(|http| http.listen == listen);
        if is_taken {
            return Err("is the address of an earlier listener");
        }
        Ok(listen)
    });
    if !section.has("listen") {
        section.fault("listen is missing, for example 0.0.0.0:8080".to_owned());
    }
    let routes: Vec<Route> = section
        .items("routes")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| route(item.section(), upstreams))
        .collect();
    let is_empty = section
        .items("routes")
        .is_some_and(|items| items.is_empty());
    if is_empty {
        section.fault("routes is empty, so every request would be refused".to_owned());
    }
    if !section.has("routes") {
        section.fault("routes is missing, for example [{ path: /, upstream: app }]".to_owned());
    }
    let is_twin = |(index, route): (usize, &Route)| {
        let mut before = routes.iter().take(index);
        before.any(|other| other.host == route.host && other.path == route.path)
    };
    if let Some(twin) = routes
        .iter()
        .enumerate()
        .find(|&(index, route)| is_twin((index, route)))
    {
        let path = &twin.1.path;
        section.fault(format!("two routes have the same host and path {path}"));
    }
    let trusted_proxies = trusted_proxies(&section);
    let upgrades = section.items("upgrades").map(|items| {
        let protocol = |item: Item<'_>| match item.text() {
            Some(text) => Some(text.to_ascii_lowercase()),
            None => {
                item.fault("is not the name of a protocol such as websocket");
                None
            }
        };
        items.into_iter().filter_map(protocol).collect()
    });
    let body_limit = section.value("body_limit", None, size);
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
        body_limit: body_limit.unwrap_or(defaults.body_limit),
        uri_limit: uri_limit.unwrap_or(defaults.uri_limit),
        upgrades: upgrades.unwrap_or(defaults.upgrades),
        ..defaults
    })
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
