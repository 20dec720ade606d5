//! Numbers and times within the bounds of Weir's keys.

use std::{ops::RangeInclusive, time::Duration};

use crate::import::{
    plan::{Plan, Upstream, duration_text},
    remark::Remarks,
};

/// Bounds the values of an upstream.
pub(super) fn bound_upstream(upstream: &mut Upstream, remarks: &mut Remarks) {
    let name = upstream.name.clone();
    let line = upstream.line;
    for (key, value, range) in [
        (
            "connect_timeout",
            &mut upstream.connect_timeout,
            MILLIS_100..=MINUTES_10,
        ),
        (
            "response_timeout",
            &mut upstream.response_timeout,
            MILLIS_100..=DAY,
        ),
        ("idle_timeout", &mut upstream.idle_timeout, MILLIS_100..=DAY),
        (
            "slow_start",
            &mut upstream.slow_start,
            Duration::ZERO..=HOUR,
        ),
        (
            "queue.timeout",
            &mut upstream.queue_timeout,
            MILLI..=MINUTES_10,
        ),
    ] {
        bound_span(remarks, line, &format!("{name}: {key}"), value, &range);
    }
    for (key, value, least) in [
        ("max_requests", &mut upstream.max_sessions, 1),
        ("queue.length", &mut upstream.queue_length, 0),
    ] {
        if let Some(value) = value {
            bound(
                remarks,
                line,
                &format!("{name}: {key}"),
                value,
                &(least..=1_000_000),
            );
        }
    }
    bound_checks(upstream, remarks);
}

fn bound_checks(upstream: &mut Upstream, remarks: &mut Remarks) {
    let (name, line) = (upstream.name.clone(), upstream.line);
    if let Some(check) = &mut upstream.check {
        let mut interval = Some(check.interval);
        bound_span(
            remarks,
            line,
            &format!("{name}: interval"),
            &mut interval,
            &(MILLIS_100..=MINUTES_5),
        );
        check.interval = interval.unwrap_or(check.interval);
        // A longer one than the interval was never effective.
        check.timeout = check
            .timeout
            .clamp(Duration::from_millis(10), check.interval);
        for (key, value) in [("rise", &mut check.rise), ("fall", &mut check.fall)] {
            bound(remarks, line, &format!("{name}: {key}"), value, &(1..=1000));
        }
    }
    if let Some(ejection) = &mut upstream.ejection {
        let failures = &mut ejection.consecutive_failures;
        bound(
            remarks,
            line,
            &format!("{name}: consecutive_failures"),
            failures,
            &(1..=1000),
        );
        let mut time = Some(ejection.base_time);
        bound_span(
            remarks,
            line,
            &format!("{name}: base_time"),
            &mut time,
            &(MILLIS_100..=HOUR),
        );
        ejection.base_time = time.unwrap_or(ejection.base_time);
    }
}

/// Bounds the values of listeners and of connections.
pub(super) fn bound_listeners(plan: &mut Plan, remarks: &mut Remarks) {
    for tcp in &mut plan.tcp {
        for (key, value) in [
            ("idle_timeout", &mut tcp.idle_timeout),
            ("half_open_timeout", &mut tcp.half_open_timeout),
        ] {
            bound_span(remarks, tcp.line, key, value, &(MILLIS_100..=DAY));
        }
    }
    let connections = &mut plan.connections;
    for (key, value, range) in [
        (
            "header_timeout",
            &mut connections.header_timeout,
            MILLIS_100..=MINUTES_10,
        ),
        (
            "idle_timeout",
            &mut connections.idle_timeout,
            MILLIS_100..=DAY,
        ),
        (
            "max_ttl",
            &mut plan.max_ttl,
            Duration::from_secs(1)..=MINUTES_5,
        ),
    ] {
        bound_span(remarks, 1, key, value, &range);
    }
    for value in [&mut connections.limit, &mut connections.per_client_limit]
        .into_iter()
        .flatten()
    {
        bound(remarks, 1, "connections", value, &(1..=1 << 24));
    }
    if let Some(size) = &mut connections.max_header_size {
        bound(remarks, 1, "max_header_size", size, &(8 << 10..=1 << 20));
    }
}

fn bound_span(
    remarks: &mut Remarks,
    line: usize,
    what: &str,
    value: &mut Option<Duration>,
    range: &RangeInclusive<Duration>,
) {
    let Some(value) = value else {
        return;
    };
    let bounded = (*value).clamp(*range.start(), *range.end());
    if bounded != *value {
        let (asked, given) = (duration_text(*value), duration_text(bounded));
        remarks.nearly(
            line,
            what,
            format!("{asked} becomes {given}, the nearest that Weir takes"),
        );
        *value = bounded;
    }
}

/// Takes the nearest value in a range, with a remark where that is another one.
pub(super) fn bound<T: Copy + Ord + std::fmt::Display>(
    remarks: &mut Remarks,
    line: usize,
    what: &str,
    value: &mut T,
    range: &RangeInclusive<T>,
) {
    let bounded = (*value).clamp(*range.start(), *range.end());
    if bounded != *value {
        remarks.nearly(
            line,
            what,
            format!("{value} becomes {bounded}, the nearest that Weir takes"),
        );
        *value = bounded;
    }
}

const MILLI: Duration = Duration::from_millis(1);
const MILLIS_100: Duration = Duration::from_millis(100);
const MINUTES_5: Duration = Duration::from_secs(300);
const MINUTES_10: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
