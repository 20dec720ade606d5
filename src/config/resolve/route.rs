//! One of a listener's `routes`.

use url::Host;

use crate::{
    config::{
        key::{self, Key, Switch, Table, Text},
        resolve::{
            backends::is_host_name,
            header_rules::{HEADER_RULES, header_rules},
            names::{NAME, Names, Speaks, UpstreamName},
            rate_limit::{self, ROUTE_RATE_LIMIT},
        },
        section::Section,
    },
    route::{Prefix, Route, normal_path},
};

const HOST: Key<Text<Box<str>>> = Key::optional(
    "host",
    Text {
        words: "host name",
        parse: |text| host_name(text).map_err(str::to_owned),
    },
    "any host",
    "The host of requests, without a port",
);
const PATH: Key<Text<Box<str>>> = Key::new(
    "path",
    Text {
        words: "path prefix",
        parse: route_path,
    },
    "/",
    "The path that requests begin with, in whole segments, compared with the path as nginx reads it: decoded once, `//`, `.` and `..` resolved",
);
const UPSTREAM: UpstreamName =
    Key::required("upstream", NAME, "The upstream that gets the request");
const STRIP_PREFIX: Key<Switch> = Key::new(
    "strip_prefix",
    Switch,
    "false",
    "Leaves `path` out of what the backend gets",
);
const REQUEST_HEADERS: Key<key::Section> = Key::optional(
    "request_headers",
    key::Section(&HEADER_RULES),
    "none",
    "Changes headers on the way to the backend",
);
const RESPONSE_HEADERS: Key<key::Section> = Key::optional(
    "response_headers",
    key::Section(&HEADER_RULES),
    "none",
    "Changes headers on the way to the client",
);
pub(super) static ROUTE: Table = Table {
    keys: &[
        &HOST,
        &PATH,
        &UPSTREAM,
        &STRIP_PREFIX,
        &REQUEST_HEADERS,
        &RESPONSE_HEADERS,
        &ROUTE_RATE_LIMIT,
    ],
    renamed: &[],
    example: "{ path: /, upstream: app }",
};

/// Reads a route; `None` if it leads nowhere.
pub(super) fn route(section: &Section<'_>, upstreams: &Names<'_>) -> Option<Route> {
    let host = section.given(&HOST);
    let path = section.get(&PATH);
    let prefix = match section.get(&STRIP_PREFIX) {
        true => Prefix::Strip,
        false => Prefix::Keep,
    };
    section.require_key(&UPSTREAM, "");
    let request_headers = header_rules(&section.section(&REQUEST_HEADERS));
    let response_headers = header_rules(&section.section(&RESPONSE_HEADERS));
    let rate_limit = rate_limit::route(section);
    let upstream = upstreams.find(section, &UPSTREAM, Speaks::Http)?;
    Some(Route {
        host,
        path,
        prefix,
        request_headers,
        response_headers,
        rate_limit,
        ..Route::everything_to(upstream)
    })
}

/// A prefix that requests can begin with, in the one way that routes are compared in.
fn route_path(text: &str) -> Result<Box<str>, String> {
    let is_plain = text.starts_with('/')
        && !text.contains(['?', '#'])
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain {
        return Err("is not a path prefix such as /api".to_owned());
    }
    if text.contains('*') {
        return Err("is a prefix as it is; leave the * out".to_owned());
    }
    match normal_path(text) {
        Ok(normal) if normal == text => Ok(text.into()),
        Ok(normal) => Err(format!("is another way to write {normal}; write that")),
        Err(fault) => Err(format!("is no path: {fault}")),
    }
}

fn host_name(text: &str) -> Result<Box<str>, &'static str> {
    match Host::parse(text) {
        Ok(_) if text.contains('*') => Err("is not a host name; leave host out to match any"),
        Ok(Host::Domain(name)) if !is_host_name(&name) => Err("is not a host name"),
        // A request's host is compared without the root's dot.
        Ok(Host::Domain(name)) => Ok(name.trim_end_matches('.').into()),
        Ok(host) => Ok(host.to_string().into()),
        Err(_source) => Err("is not a host name"),
    }
}
