//! `health_check`: how backends are probed.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use http::uri::PathAndQuery;

use crate::{
    config::{
        HealthCheck, Probe,
        resolve::units::{MILLIS_100, boolean, duration, number},
        section::Section,
    },
    health::HealthThresholds,
};

/// Reads the section; `None` where there is none, or its probe is at fault.
pub(super) fn health_check(section: Section<'_>) -> Option<HealthCheck> {
    let probe = probe(&section);
    let defaults = HealthCheck::new(Probe::Tcp);
    let interval = section.value_or("interval", None, defaults.interval, |text| {
        duration(text, MILLIS_100..=INTERVAL_MAX)
    });
    // Of an interval that cannot be read it is not known what is too long for it.
    let timeout_max = interval.unwrap_or(INTERVAL_MAX);
    let timeout = section.value("timeout", None, |text| {
        duration(text, Duration::from_millis(10)..=timeout_max)
    });
    let interval = interval.unwrap_or(defaults.interval);
    let count = |key| section.value(key, None, |text| number(text, COUNTS));
    let thresholds = HealthThresholds {
        rise: count("rise").unwrap_or(defaults.thresholds.rise),
        fall: count("fall").unwrap_or(defaults.thresholds.fall),
    };
    section.finish();
    Some(HealthCheck {
        interval,
        timeout: timeout.unwrap_or_else(|| defaults.timeout.min(interval)),
        thresholds,
        probe: probe?,
    })
}

fn probe(section: &Section<'_>) -> Option<Probe> {
    let path = section.value("http", None, probe_path);
    let status = section.value("status", None, status);
    let tcp = section.value("tcp", None, |text| match boolean(text) {
        Ok(true) => Ok(Probe::Tcp),
        Ok(false) | Err(_) => Err("must be true"),
    });
    let grpc = section.value("grpc", None, |text| {
        Ok::<_, &str>(Probe::Grpc(text.to_owned()))
    });
    let http = path.map(|path| match (Probe::http(path), status) {
        (Probe::Http { path, .. }, Some(status)) => Probe::Http { path, status },
        (probe, _) => probe,
    });
    let is_named = PROBES.iter().filter(|key| section.has(key)).count();
    if is_named > 1 {
        section.fault("health_check is one of http, tcp and grpc".to_owned());
    } else if section.has("status") {
        section.require_for("status", &["http"], "status needs http: PATH");
    } else if section.is_present() {
        let message = "health_check needs http: PATH, tcp: true or grpc: SERVICE";
        section.require(PROBES, message);
    }
    http.or(tcp).or(grpc)
}

fn probe_path(text: &str) -> Result<PathAndQuery, &'static str> {
    let path = PathAndQuery::try_from(text).map_err(|_source| "is not a path such as /health")?;
    if text.starts_with('/') {
        Ok(path)
    } else {
        Err("must begin with /")
    }
}

/// One status, or two with a `-` between them.
fn status(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let bound = |text: &str| {
        let status = text.trim().parse().ok();
        status.filter(|status| (100..=599).contains(status))
    };
    match (bound(first), bound(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("is not a status such as 200, or a range such as 200-399"),
    }
}

/// The keys of which one says what a probe does.
const PROBES: &[&str] = &["http", "tcp", "grpc"];
const INTERVAL_MAX: Duration = Duration::from_secs(300);
const COUNTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1000).expect("not zero");
