//! `rate_limit`: at the top, of a listener, and of a route.

use std::num::NonZeroU32;

use crate::{
    config::{
        RateLimits,
        key::{Choice, Key, SectionOrOff, Table, Text, Whole},
        section::Section,
    },
    limit::{Mode, Quota, Rate, RouteRule, Rule},
};

const CAPACITY: Key<Whole<NonZeroU32>> = Key::optional(
    "capacity",
    Whole(NonZeroU32::MIN..=CAPACITY_MAX),
    "no limit here",
    "Requests that a client may make at once: what its token bucket holds. Goes with `rate_per_sec`",
);
const RATE_PER_SEC: Key<Text<Rate>> = Key::optional(
    "rate_per_sec",
    Text {
        words: "number, 0.000001 to 10000000",
        parse: |text| {
            text.parse()
                .map_err(|_fault| "must be a number from 0.000001 to 10000000".to_owned())
        },
    },
    "no limit here",
    "Requests a second that a client may make in the long run: tokens that come back to its bucket. Goes with `capacity`",
);
const MODE: Key<Choice<Mode>> = Key::new(
    "mode",
    Choice(&[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)]),
    "enforce",
    "`enforce` refuses requests above the limit, `shadow` counts and logs them and lets them pass",
);
const MAX_CLIENTS: Key<Whole<NonZeroU32>> = Key::new(
    "max_clients",
    Whole(CLIENTS_MIN..=CLIENTS_MAX),
    "1000000",
    "Clients that are not registered and have a bucket of their own at a time, 35 bytes each; those beyond share one. A change needs a restart",
);
const COST: Key<Whole<NonZeroU32>> = Key::new(
    "cost",
    Whole(NonZeroU32::MIN..=COST_MAX),
    "1",
    "Tokens that a request of this route takes from each of its client's buckets; at most all that a bucket holds",
);
static EVERYWHERE: Table = Table {
    keys: &[&CAPACITY, &RATE_PER_SEC, &MODE, &MAX_CLIENTS],
    renamed: RENAMED,
    example: "{ capacity: 100, rate_per_sec: 10 }",
};
static LISTENER: Table = Table {
    keys: &[&CAPACITY, &RATE_PER_SEC, &MODE],
    renamed: RENAMED,
    example: "{ capacity: 100, rate_per_sec: 10 }",
};
static ROUTE: Table = Table {
    keys: &[&CAPACITY, &RATE_PER_SEC, &MODE, &COST],
    renamed: RENAMED,
    example: "{ capacity: 100, rate_per_sec: 10, cost: 1 }",
};
const RENAMED: &[(&str, &str)] = &[("burst", "capacity"), ("rate", "rate_per_sec")];
pub(super) const RATE_LIMIT: Key<SectionOrOff> = Key::optional(
    "rate_limit",
    SectionOrOff(&EVERYWHERE),
    "off",
    "The token bucket of each client that is not registered in the database, over all listeners",
);
pub(super) const LISTENER_RATE_LIMIT: Key<SectionOrOff> = Key::optional(
    "rate_limit",
    SectionOrOff(&LISTENER),
    "off",
    "A token bucket of each client for this listener, beside the others: all must admit a request",
);
pub(super) const ROUTE_RATE_LIMIT: Key<SectionOrOff> = Key::optional(
    "rate_limit",
    SectionOrOff(&ROUTE),
    "the other limits alone",
    "A token bucket of each client for this route, beside the others. `off` exempts the route from all limits",
);

/// Reads the section at the top.
pub(super) fn everywhere(root: &Section<'_>) -> RateLimits {
    match root.section_or_off(&RATE_LIMIT) {
        Some(section) => RateLimits {
            default: rule(&section),
            mode: section.get(&MODE),
            clients_max: section.get(&MAX_CLIENTS),
        },
        None => RateLimits::default(),
    }
}

/// Reads a listener's section.
pub(super) fn listener(section: &Section<'_>) -> Option<Rule> {
    rule(&section.section_or_off(&LISTENER_RATE_LIMIT)?)
}

/// Reads a route's section.
pub(super) fn route(section: &Section<'_>) -> RouteRule {
    match section.section_or_off(&ROUTE_RATE_LIMIT) {
        Some(section) => RouteRule::Limited {
            own: rule(&section),
            cost: section.get(&COST),
        },
        None => RouteRule::Exempt,
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            default: None,
            mode: Mode::Enforce,
            clients_max: MAX_CLIENTS.default(),
        }
    }
}

fn rule(section: &Section<'_>) -> Option<Rule> {
    let mode = section.get(&MODE);
    for (key, other) in [
        (CAPACITY.name, RATE_PER_SEC.name),
        (RATE_PER_SEC.name, CAPACITY.name),
    ] {
        let message = format!("{} needs {other}", section.full_path(key));
        section.require_for(key, &[other], &message);
    }
    let capacity = section.given(&CAPACITY);
    let rate = section.given(&RATE_PER_SEC);
    match Quota::new(capacity?, rate?) {
        Ok(quota) => Some(Rule { quota, mode }),
        Err(fault) => {
            section.fault_at(
                CAPACITY.name,
                format!("{}: {fault}", section.full_path("capacity")),
            );
            None
        }
    }
}

const CAPACITY_MAX: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");
const COST_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");
const CLIENTS_MIN: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
const CLIENTS_MAX: NonZeroU32 = NonZeroU32::new(100_000_000).expect("not zero");
