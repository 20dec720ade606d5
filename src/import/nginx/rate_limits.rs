//! `limit_req` and its zones: token buckets of routes, listeners, or everything.

use std::collections::HashMap;

use crate::import::{
    nginx::{settings::Settings, tree::Directive, units::rate},
    plan::{Plan, RateLimit},
    remark::Remarks,
};

/// The zones of `http`, by their names.
#[derive(Debug, Default)]
pub(super) struct Zones(HashMap<String, Zone>);

#[derive(Clone, Copy, Debug)]
struct Zone {
    number: usize,
    rate_per_sec: f64,
}

/// A `limit_req` as it stands.
#[derive(Clone, Debug)]
pub(super) struct LimitReq {
    line: usize,
    zone: String,
    burst: u32,
}

impl LimitReq {
    /// Reads `limit_req zone=NAME burst=N nodelay`.
    pub(super) fn read(directive: &Directive, remarks: &mut Remarks) -> Self {
        let mut limit = Self {
            line: directive.line,
            zone: String::new(),
            burst: 0,
        };
        let mut delays = true;
        for argument in &directive.arguments {
            match argument.split_once('=') {
                Some(("zone", name)) => limit.zone = name.to_owned(),
                Some(("burst", count)) => limit.burst = count.parse().unwrap_or_default(),
                None if argument == "nodelay" => delays = false,
                Some(_) | None => {}
            }
        }
        if delays && limit.burst > 0 {
            remarks.nearly(
                directive.line,
                &directive.text(),
                "nothing is delayed: the burst passes at once, and what is above it gets a 429",
            );
        }
        limit
    }
}

impl Zones {
    /// Reads `limit_req_zone KEY zone=NAME:SIZE rate=RATE`.
    pub(super) fn define(&mut self, directive: &Directive, remarks: &mut Remarks) {
        let (line, what) = (directive.line, directive.text());
        if !is_client(directive.argument(0)) {
            return remarks.left_out(line, &what, "a limit is of a client's address");
        }
        let value = |name: &str| {
            let values = directive.arguments.iter();
            let mut values =
                values.filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
            values.next().unwrap_or_default()
        };
        let name = value("zone").split(':').next().unwrap_or_default();
        match rate(value("rate")) {
            Some(rate_per_sec) => {
                let number = self.0.len();
                self.0.insert(
                    name.to_owned(),
                    Zone {
                        number,
                        rate_per_sec,
                    },
                );
            }
            None => remarks.left_out(line, &what, "its rate is none such as 10r/s"),
        }
    }

    /// The limit that holds where these settings do.
    pub(super) fn limit(&self, settings: &Settings, remarks: &mut Remarks) -> Option<RateLimit> {
        let limit = settings.limit.as_ref()?;
        let Some(zone) = self.0.get(&limit.zone) else {
            let what = format!("limit_req zone={}", limit.zone);
            remarks.left_out(limit.line, &what, "no such zone was imported");
            return None;
        };
        Some(RateLimit {
            line: limit.line,
            zone: zone.number,
            capacity: limit.burst.saturating_add(1).min(CAPACITY_MAX),
            rate_per_sec: zone.rate_per_sec,
            is_shadow: settings.is_dry_run,
        })
    }
}

/// Whether a key is the client's address.
pub(super) fn is_client(key: &str) -> bool {
    matches!(key, "$binary_remote_addr" | "$remote_addr")
}

/// Moves limits up to where one bucket is shared by all that shared the zone.
pub(super) fn hoist(plan: &mut Plan, remarks: &mut Remarks) {
    let all = plan.http.iter().flat_map(|http| &http.routes);
    if let Some(limit) = common(all.map(|route| route.rate_limit)) {
        plan.rate_limit = Some(limit);
        let routes = plan.http.iter_mut().flat_map(|http| &mut http.routes);
        return routes.for_each(|route| route.rate_limit = None);
    }
    let mut users: HashMap<usize, (usize, usize)> = HashMap::new();
    let mut count = |limit: RateLimit| users.entry(limit.zone).or_insert((limit.line, 0)).1 += 1;
    for http in &mut plan.http {
        if let Some(limit) = common(http.routes.iter().map(|route| route.rate_limit)) {
            http.rate_limit = Some(limit);
            http.routes
                .iter_mut()
                .for_each(|route| route.rate_limit = None);
            count(limit);
        }
        http.routes
            .iter()
            .filter_map(|route| route.rate_limit)
            .for_each(&mut count);
    }
    for (line, count) in users.into_values().filter(|(_, count)| *count > 1) {
        let reason = format!("the zone's requests are counted in {count} places, each on its own");
        remarks.nearly(line, "limit_req", reason);
    }
}

/// The limit that all have, if they do.
fn common(mut limits: impl Iterator<Item = Option<RateLimit>>) -> Option<RateLimit> {
    let first = limits.next()??;
    let is_same = |limit: Option<RateLimit>| {
        limit.is_some_and(|limit| {
            RateLimit {
                line: first.line,
                ..limit
            } == first
        })
    };
    limits.all(is_same).then_some(first)
}

const CAPACITY_MAX: u32 = 1_000_000_000;
