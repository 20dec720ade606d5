//! The parts of the page that change, each as HTML under the id of its element. Templates escape all
//! text.

use askama::Template;

use crate::{
    control::stats::{
        BackendView, CauseCount, ListenerView, ProcessStats, RateLimitStats, RedirectStats, Stats,
        UpstreamStats,
    },
    numbers::{ago, bytes, millis, short, step_above, time_of_day, whole},
};

/// An element's id and what is in it.
pub(super) type Fragment = (String, String);

/// All parts, in the order of the page.
pub(super) fn all(stats: &Stats) -> Vec<Fragment> {
    let mut fragments = vec![
        ("process".to_owned(), process(&stats.process)),
        ("listeners".to_owned(), listeners(&stats.listeners)),
        ("wrong".to_owned(), wrong(&stats.faults, &stats.retries)),
        ("limits".to_owned(), limits(&stats.rate_limits)),
    ];
    if let Some(stats) = &stats.redirect {
        fragments.push(("redirect".to_owned(), redirect(stats)));
    }
    for (index, upstream) in stats.upstreams.iter().enumerate() {
        fragments.push((format!("upstream-{index}"), summary(upstream)));
        let backends = upstream.backends.iter();
        fragments.extend(backends.map(|backend| {
            let id = format!("backend-{}", backend.number);
            (id, cells(backend))
        }));
    }
    fragments
}

#[derive(Template)]
#[template(path = "stats/process.html")]
struct Process {
    state: &'static str,
    version: &'static str,
    uptime: String,
    cpu: String,
    memory: String,
    connections: String,
    in_flight: String,
    workers: Vec<Worker>,
}

struct Worker {
    index: usize,
    load: u64,
    connections: usize,
}

pub(super) fn process(stats: &ProcessStats) -> String {
    let percent = |percent: Option<f64>| percent.unwrap_or(0.0).round() as u64;
    let workers = stats.workers.iter().map(|worker| Worker {
        index: worker.index,
        load: percent(worker.cpu_percent),
        connections: worker.connections,
    });
    rendered(&Process {
        state: stats.state,
        version: stats.version,
        uptime: ago(i64::try_from(stats.uptime_seconds).unwrap_or(i64::MAX)),
        cpu: stats
            .cpu_percent
            .map_or_else(unknown, |cpu| format!("{cpu:.0} %")),
        memory: stats
            .memory_bytes
            .map_or_else(unknown, |memory| bytes(memory as f64)),
        connections: whole(stats.connections as u64),
        in_flight: whole(stats.in_flight),
        workers: workers.collect(),
    })
}

#[derive(Template)]
#[template(path = "stats/redirect.html")]
struct Redirect {
    rate: String,
    share: String,
    p50: String,
    p99: String,
    calls: String,
    rejected: Vec<(&'static str, String)>,
}

pub(super) fn redirect(stats: &RedirectStats) -> String {
    let rejected = stats.rejected.iter();
    let share = stats.origin_share;
    rendered(&Redirect {
        rate: short(stats.calls_per_second),
        share: share.map_or_else(unknown, |share| format!("{:.4} %", share * 100.0)),
        p50: millis(stats.p50_ms),
        p99: millis(stats.p99_ms),
        calls: whole(stats.calls),
        rejected: rejected
            .map(|rejected| (rejected.cause, whole(rejected.count)))
            .collect(),
    })
}

#[derive(Template)]
#[template(path = "stats/upstream.html")]
struct Summary {
    available: usize,
    total: usize,
    unit: &'static str,
    rate: String,
    in_flight: String,
    queue: String,
    is_http: bool,
    errors: String,
    received: String,
    sent: String,
    requests: String,
    classes: Vec<(&'static str, String)>,
}

pub(super) fn summary(upstream: &UpstreamStats) -> String {
    let is_http = upstream.kind == "http";
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter();
    let classes = classes.zip(&upstream.by_class);
    rendered(&Summary {
        available: upstream.available,
        total: upstream.backends.len(),
        unit: if is_http { "Requests" } else { "Sessions" },
        rate: short(upstream.requests_per_second),
        in_flight: whole(upstream.in_flight as u64),
        queue: whole(upstream.queue as u64),
        is_http,
        errors: short(upstream.errors_per_second),
        received: bytes(upstream.received_per_second),
        sent: bytes(upstream.sent_per_second),
        requests: whole(upstream.requests),
        classes: classes
            .filter(|(_, count)| **count > 0)
            .map(|(class, count)| (class, whole(*count)))
            .collect(),
    })
}

#[derive(Template)]
#[template(path = "stats/backend.html")]
struct Cells<'a> {
    condition: &'a str,
    condition_words: String,
    tone: &'static str,
    since_ms: i64,
    /// The time of day, in UTC. The page's script says how long ago that is.
    since: Option<String>,
    check: String,
    weight: u16,
    in_flight: String,
    rate: String,
    share: Option<u64>,
    p50: String,
    p99: String,
    failed: String,
    is_failing: bool,
}

/// The cells of a backend's row behind its name.
pub(super) fn cells(backend: &BackendView) -> String {
    let tone = match backend.condition {
        "available" => "fine",
        "draining" | "disabled" => "calm",
        "ejected" => "warn",
        _ => "alarm",
    };
    let check = match &backend.check {
        None => "no check".to_owned(),
        Some(check) => match &check.failure {
            None => format!("passed within {}", millis(Some(step_above(check.took_ms)))),
            Some(failure) => failure.clone(),
        },
    };
    rendered(&Cells {
        condition: backend.condition,
        condition_words: backend.condition.replace('_', " "),
        tone,
        since_ms: backend.since_ms.unwrap_or_default(),
        since: backend.since_ms.map(time_of_day),
        check,
        weight: backend.weight,
        in_flight: match backend.in_flight_max {
            Some(limit) => format!("{} / {limit}", backend.in_flight),
            None => whole(backend.in_flight as u64),
        },
        rate: short(backend.responses_per_second),
        share: backend.share.map(|share| (share * 100.0).round() as u64),
        p50: millis(backend.p50_ms),
        p99: millis(backend.p99_ms),
        failed: whole(backend.failures),
        is_failing: backend.failures_per_second > 0.0,
    })
}

#[derive(Template)]
#[template(path = "stats/listeners.html")]
struct Listeners<'a> {
    rows: Vec<ListenerRow<'a>>,
}

struct ListenerRow<'a> {
    service: &'a str,
    address: &'a str,
    upstreams: String,
    open: String,
    rate: String,
    accepted: String,
}

pub(super) fn listeners(listeners: &[ListenerView]) -> String {
    let rows = listeners.iter().map(|listener| ListenerRow {
        service: listener.service,
        address: &listener.address,
        upstreams: listener.upstreams.join(", "),
        open: whole(listener.connections as u64),
        rate: short(listener.accepted_per_second),
        accepted: whole(listener.accepted),
    });
    rendered(&Listeners {
        rows: rows.collect(),
    })
}

#[derive(Template)]
#[template(path = "stats/wrong.html")]
struct Wrong {
    faults: Vec<(&'static str, String, String)>,
    retries: Vec<(&'static str, String, String)>,
}

pub(super) fn wrong(faults: &[CauseCount], retries: &[CauseCount]) -> String {
    let shown = |counts: &[CauseCount]| {
        let counts = counts.iter();
        let rows = counts.map(|count| (count.cause, whole(count.count), short(count.per_second)));
        rows.collect()
    };
    rendered(&Wrong {
        faults: shown(faults),
        retries: shown(retries),
    })
}

#[derive(Template)]
#[template(path = "stats/limits.html")]
struct Limits<'a> {
    refused: String,
    rate: String,
    shadow: String,
    clients: Vec<(&'a str, String)>,
}

pub(super) fn limits(stats: &RateLimitStats) -> String {
    let clients = stats.clients.iter();
    rendered(&Limits {
        refused: whole(stats.refused),
        rate: short(stats.refused_per_second),
        shadow: whole(stats.shadow),
        clients: clients
            .map(|client| (client.id.as_str(), whole(client.refused_last_minute)))
            .collect(),
    })
}

fn unknown() -> String {
    "–".to_owned()
}

/// The HTML of a template. Writing to memory does not fail.
pub(super) fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}
