//! One of a listener's `routes`.

use url::Host;

use crate::{
    config::{
        Upstream,
        resolve::{header_rules::header_rules, units::boolean},
        section::Section,
    },
    route::{Prefix, Route},
};

/// Reads a route; `None` if it leads nowhere.
pub(super) fn route(section: Section<'_>, upstreams: &[Upstream]) -> Option<Route> {
    let host = section.value("host", None, host_name);
    let path = section.value("path", None, route_path);
    let strip = section.value("strip_prefix", None, boolean);
    let known: Vec<&str> = upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    let upstream = section.value("upstream", None, |name| {
        let missing = || format!("is not an upstream; there are: {}", known.join(", "));
        known
            .iter()
            .position(|known| *known == name)
            .ok_or_else(missing)
    });
    if !section.has("upstream") {
        section.fault("upstream is missing".to_owned());
    }
    let request_headers = header_rules(section.section("request_headers"));
    let response_headers = header_rules(section.section("response_headers"));
    section.finish();
    let defaults = Route::everything_to(upstream?);
    Some(Route {
        host,
        path: path.unwrap_or(defaults.path),
        prefix: match strip {
            Some(true) => Prefix::Strip,
            Some(false) | None => Prefix::Keep,
        },
        request_headers,
        response_headers,
        ..defaults
    })
}

fn route_path(text: &str) -> Result<Box<str>, &'static str> {
    let plain = text.starts_with('/')
        && !text.contains(['?', '#'])
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain {
        Ok(text.into())
    } else {
        Err("is not a path prefix such as /api")
    }
}

fn host_name(text: &str) -> Result<Box<str>, &'static str> {
    match Host::parse(text) {
        Ok(_) if text.contains('*') => Err("is not a host name; leave host out to match any"),
        Ok(host) => Ok(host.to_string().into()),
        Err(_source) => Err("is not a host name"),
    }
}
