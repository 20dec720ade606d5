//! From a frontend's `use_backend` lines to routes.
//!
//! HAProxy takes the first line that is true, Weir the route with a host, then the longest path. Where
//! the two differ, a further route is written for the requests that both lines are true for.

use std::collections::HashMap;

use crate::import::{
    haproxy::{acl::Match, proxy::Proxy},
    plan::{HeaderRules, Route},
    remark::Remarks,
};

/// The routes of a frontend, to backends by their names.
pub(super) fn routes(proxy: &Proxy, remarks: &mut Remarks) -> Vec<Route> {
    let mut routes = Routes::default();
    for used in &proxy.uses {
        for matched in &used.matches {
            if routes.all.len() >= ROUTES_MAX {
                let what = format!("use_backend {}", used.backend);
                remarks.left_out(
                    used.line,
                    &what,
                    format!("there are more than {ROUTES_MAX} routes"),
                );
                return routes.all;
            }
            routes.add(used.line, matched, &used.backend, remarks);
        }
    }
    let own = !proxy.servers.is_empty();
    let fallback = match &proxy.settings.default_backend {
        Some((line, name)) => Some((*line, name.as_str())),
        None => own.then_some((proxy.line, proxy.name.as_str())),
    };
    if let Some((line, name)) = fallback {
        routes.add(line, &Match::any(), name, remarks);
    }
    routes.all
}

#[derive(Default)]
struct Routes {
    all: Vec<Route>,
    known: HashMap<Match, usize>,
    /// Those of any host, which a route with a host would win over.
    of_any_host: Vec<(Match, String)>,
}

impl Routes {
    /// Adds what an earlier line does not take.
    fn add(&mut self, line: usize, matched: &Match, backend: &str, remarks: &mut Remarks) {
        let what = format!("use_backend {backend}");
        if let Some(earlier) = self.taken_by(matched) {
            // The default comes last, and is often taken already.
            if *matched != Match::any() {
                remarks.left_out(line, &what, format!("line {earlier} takes its requests"));
            }
            return;
        }
        if matched.host.is_some() {
            let of_any_host = std::mem::take(&mut self.of_any_host);
            for (other, backend) in &of_any_host {
                let both = matched.and(other);
                let is_new = |both: &Match| !self.known.contains_key(both);
                if let Some(both) = both.filter(is_new)
                    && self.all.len() < ROUTES_MAX
                {
                    self.push(line, both, backend);
                }
            }
            self.of_any_host = of_any_host;
        } else {
            self.of_any_host.push((matched.clone(), backend.to_owned()));
        }
        self.push(line, matched.clone(), backend);
    }

    /// The line that takes all requests of a match.
    fn taken_by(&self, matched: &Match) -> Option<usize> {
        let mut path = matched.path.as_str();
        loop {
            for host in [matched.host.clone(), None] {
                let wider = Match {
                    host,
                    path: path.to_owned(),
                };
                if let Some(line) = self.known.get(&wider) {
                    return Some(*line);
                }
            }
            // Up by a segment: with the slash, then without.
            let shorter = path.strip_suffix('/').unwrap_or_else(|| {
                let slash = path.rfind('/').map_or(0, |at| at + 1);
                path.get(..slash).unwrap_or_default()
            });
            if path.len() <= 1 || shorter.is_empty() && path == "/" {
                return None;
            }
            path = if shorter.is_empty() { "/" } else { shorter };
        }
    }

    fn push(&mut self, line: usize, matched: Match, backend: &str) {
        self.known.insert(matched.clone(), line);
        self.all.push(Route {
            line,
            host: matched.host,
            path: matched.path,
            upstream: backend.to_owned(),
            strip_prefix: false,
            request: HeaderRules::default(),
            response: HeaderRules::default(),
            rate_limit: None,
        });
    }
}

/// Of one frontend: each is compared with those before it.
const ROUTES_MAX: usize = 5_000;
