//! `upstreams`, and the upstream of the short form.

use std::{num::NonZeroU32, time::Duration};

use http::HeaderName;

use crate::{
    balance::{HashKey, Policy},
    config::{
        OnMarkedDown, ProxyProtocol, Queue, Upstream, WeightedBackend, WhenAllDown,
        key::{self, Choice, Key, Named, OrNone, Percent, SectionOrOff, Span, Table, Text, Whole},
        resolve::{
            DAY, HOUR, MILLIS_100, TIMEOUT,
            backends::{self, Backends, backends},
            ejection::{EJECTION, ejection},
            health_check::{HEALTH_CHECK, health_check},
            names::Speaks,
            tls::{TLS, tls},
        },
        section::Section,
    },
};

const BALANCE: Key<Choice<Policy>> = Key::new(
    "balance",
    Choice(&[
        ("round_robin", Policy::RoundRobin),
        ("least_connections", Policy::LeastConnections),
        ("random_two", Policy::RandomTwo),
        (
            "consistent_hash",
            Policy::ConsistentHash {
                bound_percent: Policy::BOUND_PERCENT,
            },
        ),
    ]),
    "round_robin",
    "How a backend is chosen",
);
const HASH_BY: Key<Text<HashKey>> = Key::new(
    "hash_by",
    Text {
        words: "`client_address`, `path`, `header:NAME` or `cookie:NAME`",
        parse: |text| hash_key(text).map_err(str::to_owned),
    },
    "client_address",
    "What `consistent_hash` hashes",
);
const LOAD_BOUND: Key<Percent> = Key::new(
    "load_bound",
    Percent(100..=10_000),
    "125%",
    "The most that `consistent_hash` gives to one backend, of its share of the requests in flight",
);
const BACKENDS: Backends = Key::required(
    "backends",
    backends::kind(""),
    "The backends: a URL each, or a map with more",
);
const HEALTH_CHECK_KEY: Key<SectionOrOff> = Key::optional(
    "health_check",
    SectionOrOff(&HEALTH_CHECK),
    "a TCP connect",
    "How backends are checked",
);
const EJECTION_KEY: Key<SectionOrOff> = Key::optional(
    "ejection",
    SectionOrOff(&EJECTION),
    "its defaults",
    "When backends whose requests fail are taken out of rotation for a while, whatever their checks say (outlier detection)",
);
const SLOW_START: Key<Span> = Key::new(
    "slow_start",
    Span(Duration::ZERO..=HOUR),
    "0s",
    "Time in which traffic to a recovered backend ramps up, in ten steps",
);
const WHEN_ALL_DOWN: Key<Choice<WhenAllDown>> = Key::new(
    "when_all_down",
    Choice(&[("refuse", WhenAllDown::Refuse), ("any", WhenAllDown::Any)]),
    "refuse",
    "Without an available backend: `refuse` answers 503, `any` tries all that are enabled",
);
const CONNECT_TIMEOUT: Key<Span> = Key::new(
    "connect_timeout",
    Span(TIMEOUT),
    "5s",
    "Time to connect to a backend, TLS included",
);
const RESPONSE_TIMEOUT: Key<Span> = Key::new(
    "response_timeout",
    Span(MILLIS_100..=DAY),
    "60s",
    "Time from the end of the request to the head of the response",
);
const IDLE_TIMEOUT: Key<Span> = Key::new(
    "idle_timeout",
    Span(MILLIS_100..=DAY),
    "60s",
    "Time that an exchange, or a tunnel, may stand still",
);
const TOTAL_TIMEOUT: Key<OrNone<Span>> = Key::new(
    "total_timeout",
    OrNone(Span(MILLIS_100..=DAY)),
    "none",
    "Time for a whole exchange. Tunnels have no such limit",
);
const MAX_REQUESTS: Key<OrNone<Whole<NonZeroU32>>> = Key::new(
    "max_requests",
    OrNone(Whole(
        NonZeroU32::MIN..=NonZeroU32::new(1_000_000).expect("not zero"),
    )),
    "none",
    "Requests in flight at one backend, over all workers. Further ones wait in the queue",
);
const MAX_CONNECTIONS: Key<OrNone<Whole<NonZeroU32>>> = Key::new(
    "max_connections",
    OrNone(Whole(
        NonZeroU32::MIN..=NonZeroU32::new(1_000_000).expect("not zero"),
    )),
    "none",
    "Sessions at one `tcp://` backend, over all workers, as HAProxy's `maxconn`. Further ones wait in the queue",
);
const SEND_PROXY_PROTOCOL: Key<Choice<Option<ProxyProtocol>>> = Key::new(
    "send_proxy_protocol",
    Choice(&[
        ("off", None),
        ("v1", Some(ProxyProtocol::V1)),
        ("v2", Some(ProxyProtocol::V2)),
    ]),
    "off",
    "The header of the PROXY protocol that `tcp://` backends get, which says who the client is",
);
const ON_MARKED_DOWN: Key<Choice<OnMarkedDown>> = Key::new(
    "on_marked_down",
    Choice(&[
        ("keep", OnMarkedDown::Keep),
        ("close_sessions", OnMarkedDown::CloseSessions),
    ]),
    "keep",
    "What becomes of the sessions of a `tcp://` backend that its checks mark down",
);
const QUEUE_KEY: Key<key::Section> = Key::optional(
    "queue",
    key::Section(&QUEUE),
    "its defaults",
    "Where requests wait when every available backend has `max_requests` in flight",
);
const RETRY_BUDGET: Key<Percent> = Key::new(
    "retry_budget",
    Percent(0..=100),
    "20%",
    "Retries for each hundred requests. A burst of 50 and one a second are always allowed",
);
const TLS_KEY: Key<key::Section> = Key::optional(
    "tls",
    key::Section(&TLS),
    "its defaults",
    "How `https://` backends are verified. Verification cannot be switched off",
);
static UPSTREAM: Table = Table {
    keys: &[
        &BACKENDS,
        &BALANCE,
        &HASH_BY,
        &LOAD_BOUND,
        &HEALTH_CHECK_KEY,
        &EJECTION_KEY,
        &SLOW_START,
        &WHEN_ALL_DOWN,
        &CONNECT_TIMEOUT,
        &RESPONSE_TIMEOUT,
        &IDLE_TIMEOUT,
        &TOTAL_TIMEOUT,
        &MAX_REQUESTS,
        &QUEUE_KEY,
        &RETRY_BUDGET,
        &TLS_KEY,
        &MAX_CONNECTIONS,
        &SEND_PROXY_PROTOCOL,
        &ON_MARKED_DOWN,
    ],
    renamed: &[("in_flight_limit", "max_requests")],
    example: "{ backends: [http://localhost:5001] }",
};
const LENGTH: Key<Whole<usize>> = Key::new(
    "length",
    Whole(0..=1_000_000),
    "1024",
    "Requests that may wait at a time. One more is answered 503",
);
const QUEUE_TIMEOUT: Key<Span> = Key::new(
    "timeout",
    Span(Duration::from_millis(1)..=Duration::from_secs(600)),
    "5s",
    "The longest time that a request waits. Then it is answered 503",
);
static QUEUE: Table = Table {
    keys: &[&LENGTH, &QUEUE_TIMEOUT],
    renamed: &[],
    example: "{ length: 1024 }",
};
pub(super) const UPSTREAMS: Key<Named> = Key::optional(
    "upstreams",
    Named(&UPSTREAM),
    "none",
    "Groups of backends, each under a name of yours",
);
pub(super) const SHORT_BACKENDS: Backends = Key::optional(
    "backends",
    backends::kind(", for example [http://localhost:5001]"),
    "none",
    "With `port`, the short form of a balancer: one listener, one upstream named `backends`",
);
pub(super) const SHORT_HEALTH_CHECK: Key<SectionOrOff> = Key::optional(
    "health_check",
    SectionOrOff(&HEALTH_CHECK),
    "a TCP connect",
    "How the short form's backends are checked",
);

impl Upstream {
    /// An upstream with the defaults: round robin, and TCP checks.
    pub fn new(name: &str, backends: Vec<WeightedBackend>) -> Self {
        Self {
            name: name.to_owned(),
            policy: BALANCE.default(),
            hash_by: HASH_BY.default(),
            backends,
            health_check: Some(Default::default()),
            ejection: Some(Default::default()),
            slow_start: SLOW_START.default(),
            when_all_down: WHEN_ALL_DOWN.default(),
            connect_timeout: CONNECT_TIMEOUT.default(),
            response_timeout: RESPONSE_TIMEOUT.default(),
            idle_timeout: IDLE_TIMEOUT.default(),
            total_timeout: TOTAL_TIMEOUT.default(),
            max_requests: MAX_REQUESTS.default(),
            queue: Queue {
                length: LENGTH.default(),
                timeout: QUEUE_TIMEOUT.default(),
            },
            retry_percent: RETRY_BUDGET.default(),
            tls: Default::default(),
            send_proxy_protocol: SEND_PROXY_PROTOCOL.default(),
            on_marked_down: ON_MARKED_DOWN.default(),
        }
    }
}

/// Reads `upstreams`, and the short form's `backends`.
pub(super) fn upstreams(root: &Section<'_>) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = root
        .named(&UPSTREAMS)
        .into_iter()
        .map(|(name, section)| upstream(name, &section))
        .collect();
    let backends = backends(root, &SHORT_BACKENDS);
    if root.has(SHORT_HEALTH_CHECK.name) || !backends.is_empty() {
        let health_check = health_check(root.section_or_off(&SHORT_HEALTH_CHECK));
        if !backends.is_empty() {
            upstreams.push(Upstream {
                health_check,
                ..Upstream::new(SHORT_FORM, backends)
            });
        }
    }
    root.require_for(
        SHORT_HEALTH_CHECK.name,
        &[SHORT_BACKENDS.name],
        "health_check stands beside backends, or in an upstream",
    );
    upstreams
}

fn upstream(name: &str, section: &Section<'_>) -> Upstream {
    if name.is_empty() {
        section.fault("an upstream needs a name".to_owned());
    }
    if name == SHORT_FORM {
        section.fault("the name backends is the short form's; choose another".to_owned());
    }
    section.require(
        &[BACKENDS.name],
        &format!("upstream {name} has no backends"),
    );
    let max_requests = section.get(&MAX_REQUESTS);
    let max_connections = section.get(&MAX_CONNECTIONS);
    let upstream = Upstream {
        name: name.to_owned(),
        policy: policy(section),
        hash_by: section.get(&HASH_BY),
        backends: backends(section, &BACKENDS),
        health_check: health_check(section.section_or_off(&HEALTH_CHECK_KEY)),
        ejection: ejection(section.section_or_off(&EJECTION_KEY)),
        slow_start: section.get(&SLOW_START),
        when_all_down: section.get(&WHEN_ALL_DOWN),
        connect_timeout: section.get(&CONNECT_TIMEOUT),
        response_timeout: section.get(&RESPONSE_TIMEOUT),
        idle_timeout: section.get(&IDLE_TIMEOUT),
        total_timeout: section.get(&TOTAL_TIMEOUT),
        max_requests: max_requests.or(max_connections),
        queue: queue(&section.section(&QUEUE_KEY)),
        retry_percent: section.get(&RETRY_BUDGET),
        tls: tls(&section.section(&TLS_KEY)),
        send_proxy_protocol: section.get(&SEND_PROXY_PROTOCOL),
        on_marked_down: section.get(&ON_MARKED_DOWN),
    };
    refuse_strays(section, &upstream);
    refuse_writes_to_any(section, &upstream);
    upstream
}

/// Reports a wish to use backends that fail their checks where these find out who takes writes.
fn refuse_writes_to_any(section: &Section<'_>, upstream: &Upstream) {
    let mut checks = upstream.health_check.iter();
    let finds_primary = checks.any(|check| check.probe.finds_primary());
    if finds_primary && upstream.when_all_down == WhenAllDown::Any {
        let message = "when_all_down: any would send writes to servers that are not the primary";
        section.fault_at(WHEN_ALL_DOWN.name, message.to_owned());
    }
}

/// Reports keys that mean nothing for what the backends speak.
fn refuse_strays(section: &Section<'_>, upstream: &Upstream) {
    if upstream.backends.is_empty() {
        return;
    }
    let (strays, kind): (&[&str], _) = match Speaks::of(upstream) {
        Speaks::Http => (&OF_SESSIONS, "tcp:// backends"),
        Speaks::Tcp => (&OF_REQUESTS, "backends that speak HTTP"),
    };
    for key in strays.iter().filter(|key| section.has(key)) {
        section.fault_at(key, format!("{} is for {kind}", section.full_path(key)));
    }
}

fn policy(section: &Section<'_>) -> Policy {
    let policy = section.known(&BALANCE);
    let bound = section.get(&LOAD_BOUND);
    let is_other = |policy| !matches!(policy, Policy::ConsistentHash { .. });
    let stray = [HASH_BY.name, LOAD_BOUND.name]
        .into_iter()
        .find(|key| policy.is_some_and(is_other) && section.has(key));
    if let Some(key) = stray {
        section.fault_at(key, format!("{key} needs balance: consistent_hash"));
    }
    match policy {
        Some(Policy::ConsistentHash { .. }) => Policy::ConsistentHash {
            bound_percent: bound,
        },
        Some(policy) => policy,
        None => BALANCE.default(),
    }
}

fn hash_key(text: &str) -> Result<HashKey, &'static str> {
    let hint =
        "is not a part of a request; there are: client_address, path, header:NAME, cookie:NAME";
    match text.split_once(':') {
        None if text == "client_address" => Ok(HashKey::ClientAddress),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) => HeaderName::try_from(name)
            .map(HashKey::Header)
            .map_err(|_source| hint),
        // A cookie's name is a token, as a header's is (RFC 6265 section 4.1.1).
        Some(("cookie", name)) if HeaderName::try_from(name).is_ok() => {
            Ok(HashKey::Cookie(name.to_owned()))
        }
        _ => Err(hint),
    }
}

fn queue(section: &Section<'_>) -> Queue {
    Queue {
        length: section.get(&LENGTH),
        timeout: section.get(&QUEUE_TIMEOUT),
    }
}

const OF_SESSIONS: [&str; 3] = [
    MAX_CONNECTIONS.name,
    SEND_PROXY_PROTOCOL.name,
    ON_MARKED_DOWN.name,
];
const OF_REQUESTS: [&str; 5] = [
    RESPONSE_TIMEOUT.name,
    TOTAL_TIMEOUT.name,
    MAX_REQUESTS.name,
    HASH_BY.name,
    TLS_KEY.name,
];
/// The name of the upstream that the top-level `backends` make.
pub(super) const SHORT_FORM: &str = "backends";
