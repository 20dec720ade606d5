//! From host and path to an upstream. Pure.

use std::collections::HashMap;

use crate::{header_rules::HeaderRules, limit::RouteRule};

mod normal_path;

pub use normal_path::normal_path;

/// The routes of one listener, found by hash: the cost of a look-up does not grow with their number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Router {
    routes: Box<[Route]>,
    /// Routes of one host, by the host in lower case.
    by_host: HashMap<Box<str>, Paths>,
    /// Routes of any host.
    any_host: Paths,
}

/// Routes by the path that they begin with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Paths {
    by_path: HashMap<Box<str>, usize>,
    /// The longest path, in bytes.
    longest: usize,
}

/// What one route matches, and where it leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The host that it is for, in lower case and without a port; any if `None`.
    pub host: Option<Box<str>>,
    /// The path that it begins with, whole segments only: `/a` matches `/a` and `/a/b`, not `/ab`.
    /// In its normal form.
    pub path: Box<str>,
    /// Whether `path` is taken off before the request is forwarded.
    pub prefix: Prefix,
    /// The upstream's index.
    pub upstream: usize,
    /// What changes in requests, after the balancer's own headers were set.
    pub request_headers: HeaderRules,
    /// What changes in responses.
    pub response_headers: HeaderRules,
    /// How its requests are limited.
    pub rate_limit: RouteRule,
}

impl Route {
    /// A route that takes everything to one upstream.
    pub fn everything_to(upstream: usize) -> Self {
        Self {
            host: None,
            path: "/".into(),
            prefix: Prefix::Keep,
            upstream,
            request_headers: HeaderRules::default(),
            response_headers: HeaderRules::default(),
            rate_limit: RouteRule::default(),
        }
    }

    /// What follows the prefix in a path that the route was chosen by. As the client wrote it, unless
    /// it hid the prefix or what follows does not lead to the same place without it; then in its
    /// normal form.
    ///
    /// # Errors
    ///
    /// As [`normal_path()`].
    pub fn without_prefix(&self, path: &str) -> Result<String, &'static str> {
        let prefix = self.path.trim_end_matches('/');
        let normal = normal_path(path)?;
        let rest = match normal.strip_prefix(prefix) {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) | None => "/",
        };
        let leads_there = |written: &&str| {
            written.starts_with('/') && normal_path(written).is_ok_and(|normal| normal == rest)
        };
        let written = path.strip_prefix(prefix).filter(leads_there);
        Ok(written.unwrap_or(rest).to_owned())
    }
}

/// What becomes of a route's path prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prefix {
    /// The backend sees the client's path.
    Keep,
    /// The backend sees what follows the prefix.
    Strip,
}

impl Router {
    /// Orders routes for look-ups. Of two with the same host and path the first counts.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut by_host = HashMap::<Box<str>, Paths>::new();
        let mut any_host = Paths::default();
        for (index, route) in routes.iter().enumerate() {
            match &route.host {
                Some(host) => {
                    let host = host.to_ascii_lowercase().into();
                    by_host.entry(host).or_default().add(&route.path, index);
                }
                None => any_host.add(&route.path, index),
            }
        }
        Self {
            routes: routes.into(),
            by_host,
            any_host,
        }
    }

    /// The route of a host and a path in its normal form, with its place: the host's own routes come
    /// first, longer paths before shorter ones. Costs at most two look-ups for each segment of the
    /// path, as far as the longest route reaches, and as many again where the host has routes.
    pub fn route(&self, host: &str, path: &str) -> Option<(usize, &Route)> {
        let own = match self.by_host.is_empty() {
            true => None,
            false => self.of_host(without_dot(without_port(host))),
        };
        let index = own
            .and_then(|paths| paths.longest_prefix(path))
            .or_else(|| self.any_host.longest_prefix(path))?;
        Some((index, self.routes.get(index)?))
    }

    /// The route at a place.
    pub fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    fn of_host(&self, host: &str) -> Option<&Paths> {
        match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.by_host.get(host.to_ascii_lowercase().as_str()),
            false => self.by_host.get(host),
        }
    }
}

impl Paths {
    fn add(&mut self, path: &str, index: usize) {
        self.longest = self.longest.max(path.len());
        self.by_path.entry(path.into()).or_insert(index);
    }

    /// The longest of the paths that `path` begins with, whole segments only: the path itself, then
    /// it up to each slash, with the slash and without.
    fn longest_prefix(&self, path: &str) -> Option<usize> {
        let find = |prefix: &str| self.by_path.get(prefix).copied();
        if path.len() <= self.longest
            && let Some(index) = find(path)
        {
            return Some(index);
        }
        let reach = path.len().min(self.longest + 1);
        let slashes = path.as_bytes().get(..reach).unwrap_or_default();
        let slashes = slashes
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'/');
        slashes
            .flat_map(|(at, _)| [path.get(..=at), path.get(..at)])
            .flatten()
            .find_map(find)
    }
}

/// A name with the root's dot is the same name.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn without_port(host: &str) -> &str {
    let end = host
        .rfind(':')
        .filter(|&colon| !host.ends_with(']') && colon > host.rfind(']').unwrap_or(0));
    end.and_then(|end| host.get(..end)).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str, upstream: usize) -> Route {
        Route {
            host: host.map(Into::into),
            path: path.into(),
            ..Route::everything_to(upstream)
        }
    }

    #[test]
    fn the_longest_prefix_of_the_narrowest_host_wins() {
        let router = Router::new(vec![
            route(None, "/", 0),
            route(None, "/api", 1),
            route(Some("a.example"), "/", 2),
            route(None, "/api/v2/", 3),
        ]);
        for (host, path, expected) in [
            ("x", "/", 0),
            ("x", "/apix", 0),
            ("x", "/api", 1),
            ("x", "/api/v1", 1),
            ("x", "/api/v2/y", 3),
            ("x", "/api/v2", 1),
            ("a.example", "/api", 2),
            ("A.Example:8080", "/", 2),
            ("a.example.", "/", 2),
            ("a.example.:8080", "/", 2),
            ("[::1]:80", "/", 0),
            ("[::1]", "/api", 1),
        ] {
            assert_eq!(
                router.route(host, path).map(|(_, route)| route.upstream),
                Some(expected),
                "{host}{path}"
            );
        }
    }

    #[test]
    fn what_follows_a_prefix_is_left_as_it_was_written_if_that_leads_there() {
        for (prefix, path, expected) in [
            ("/api", "/api", "/"),
            ("/api", "/api/", "/"),
            ("/", "/a//b", "/a//b"),
            ("/v2/", "/v2/x", "/x"),
            ("/api", "/api/a%2fb//c/./d", "/a%2fb//c/./d"),
            ("/api", "/api//x", "//x"),
            ("/api", "//api/a%20b%3f", "/a%20b%3F"),
            ("/api", "/%61pi//x/", "/x/"),
            ("/api", "/api%2Fx", "/x"),
            // Without the prefix these would climb above the root, or lead elsewhere.
            ("/api", "/api/../api/x", "/x"),
            ("/api", "/apix/../api/x", "/x"),
            ("/a/b", "/a/b/../b/x", "/x"),
        ] {
            let route = route(None, prefix, 0);
            assert_eq!(
                route.without_prefix(path).unwrap(),
                expected,
                "{prefix} {path}"
            );
        }
    }

    #[test]
    fn nothing_matches_nothing() {
        let router = Router::new(vec![route(Some("a"), "/x", 0)]);
        assert_eq!(router.route("b", "/x"), None);
        assert_eq!(router.route("a", "/"), None);
        assert_eq!(router.route("a", "*"), None);
    }
}
