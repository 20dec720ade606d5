//! One of a listener's `routes`.

use url::Host;

use crate::{
    config::{
        resolve::{header_rules::header_rules, units::boolean, upstream::is_host_name},
        section::Section,
    },
    route::{Prefix, Route, normal_path},
};

/// The names that a route may lead to.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// In the order of the upstreams.
    pub(super) known: Vec<&'a str>,
    /// Whether there are no others. False where the file's `upstreams` cannot be read, which is
    /// reported there.
    pub(super) are_all: bool,
}

/// Reads a route; `None` if it leads nowhere.
pub(super) fn route(section: Section<'_>, upstreams: &Names<'_>) -> Option<Route> {
    let host = section.value("host", None, host_name);
    let path = section.value("path", None, route_path);
    let strip = section.value("strip_prefix", None, boolean);
    let upstream = section.value("upstream", None, |name| upstreams.index(name));
    section.require(&["upstream"], "upstream is missing");
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

impl Names<'_> {
    fn index(&self, name: &str) -> Result<usize, String> {
        match self.known.iter().position(|known| *known == name) {
            Some(index) => Ok(index),
            // Any will do: nothing runs with the upstreams at fault.
            None if !self.are_all => Ok(0),
            None if self.known.is_empty() => Err("is not an upstream; there is none".to_owned()),
            None => Err(format!(
                "is not an upstream; there are: {}",
                self.known.join(", ")
            )),
        }
    }
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
