//! One of a listener's `routes`.

use url::Host;

use crate::{
    config::{
        resolve::{header_rules::header_rules, units::boolean},
        section::Section,
    },
    route::{Prefix, Route},
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

/// A prefix that requests can begin with. Clients resolve `.` and `..` before they ask.
fn route_path(text: &str) -> Result<Box<str>, &'static str> {
    let is_plain = text.starts_with('/')
        && !text.contains(['?', '#'])
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain {
        return Err("is not a path prefix such as /api");
    }
    if text.contains('*') {
        return Err("is a prefix as it is; leave the * out");
    }
    if text.contains("//") {
        return Err("has an empty segment (//)");
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("has a segment . or .., which no request has");
    }
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.split('%').skip(1).all(is_escape) {
        Ok(text.into())
    } else {
        Err("has a % that begins no escape such as %20")
    }
}

fn host_name(text: &str) -> Result<Box<str>, &'static str> {
    match Host::parse(text) {
        Ok(_) if text.contains('*') => Err("is not a host name; leave host out to match any"),
        Ok(host) => Ok(host.to_string().into()),
        Err(_source) => Err("is not a host name"),
    }
}
