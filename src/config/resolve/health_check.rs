//! `health_check`: how backends are probed.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use crate::{
    config::{
        HealthCheck, HttpProbe, Probe,
        resolve::{
            header_rules::{header_name, is_host},
            units::{MILLIS_100, boolean, duration, number},
        },
        section::Section,
    },
    health::HealthThresholds,
};

/// Reads the section, by default a TCP connect; `None` where checks are switched off, or a probe is
/// at fault.
pub(super) fn health_check(section: Option<Section<'_>>) -> Option<HealthCheck> {
    let section = section?;
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
    let http = http_probe(section).map(|probe| Probe::Http(Box::new(probe)));
    let tcp = section.value("tcp", None, |text| match boolean(text) {
        Ok(true) => Ok(Probe::Tcp),
        Ok(false) | Err(_) => Err("must be true"),
    });
    let grpc = section.value("grpc", None, |text| {
        Ok::<_, &str>(Probe::Grpc(text.to_owned()))
    });
    let is_named = PROBES.iter().filter(|key| section.has(key)).count();
    if is_named > 1 {
        section.fault("health_check is one of http, tcp and grpc".to_owned());
    }
    match is_named {
        0 => Some(Probe::Tcp),
        _ => http.or(tcp).or(grpc),
    }
}

fn http_probe(section: &Section<'_>) -> Option<HttpProbe> {
    let path = section.value("http", None, probe_path);
    let status = section.value("status", None, status);
    let method = section.value("method", None, method);
    let host = section.value("host", None, host);
    let headers = headers(section);
    for (key, message) in [
        ("status", "status needs http: PATH"),
        ("method", "method needs http: PATH"),
        ("host", "host needs http: PATH"),
        ("headers", "headers need http: PATH"),
    ] {
        section.require_for(key, &["http"], message);
    }
    let defaults = HttpProbe::get(path?);
    Some(HttpProbe {
        method: method.unwrap_or(Method::GET),
        status: status.unwrap_or_else(|| defaults.status.clone()),
        host,
        headers,
        ..defaults
    })
}

fn method(text: &str) -> Result<Method, &'static str> {
    let known = ["GET", "HEAD", "POST", "PUT", "OPTIONS"];
    match known.contains(&text) {
        true => Method::try_from(text).map_err(|_source| "is not a method"),
        false => Err("must be GET, HEAD, POST, PUT or OPTIONS"),
    }
}

fn host(text: &str) -> Result<HeaderValue, &'static str> {
    let host = HeaderValue::from_str(text).ok();
    host.filter(is_host)
        .ok_or("is not a host such as app.internal:8080")
}

fn headers(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, item) in section.pairs("headers") {
        match header(name, item.text()) {
            Ok((name, _)) if headers.iter().any(|(other, _)| *other == name) => {
                item.fault("is set twice, as upper and lower case are the same");
            }
            Ok(_) if headers.len() == HEADERS_MAX => item.fault("is one header too many"),
            Ok(header) => headers.push(header),
            Err(error) => item.fault(error),
        }
    }
    headers
}

fn header(name: &str, value: Option<&str>) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = header_name(name)?;
    if name == header::HOST {
        return Err("has a key of its own: health_check.host");
    }
    let value = value.and_then(|value| HeaderValue::from_str(value).ok());
    let value = value.ok_or("is not a header value: visible characters on one line")?;
    Ok((name, value))
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
const HEADERS_MAX: usize = 100;
const INTERVAL_MAX: Duration = Duration::from_secs(300);
const COUNTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1000).expect("not zero");
