//! `upstreams`, and the short form's `backends`.

use std::{
    fs,
    num::{NonZeroU16, NonZeroU32},
    ops::RangeInclusive,
    time::Duration,
};

use http::HeaderName;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use url::{Host, Url};

use crate::{
    balance::{HashKey, Policy},
    config::{
        AdminState, BackendAddr, Queue, Scheme, Tls, Upstream, WeightedBackend, WhenAllDown,
        item::Item,
        resolve::{
            health_check::health_check,
            units::{DAY, MILLIS_100, TIMEOUT, duration, number, percent},
        },
        section::Section,
    },
    ejection::EjectionPolicy,
};

/// Reads `upstreams`, and the short form's `backends`.
pub(super) fn upstreams(root: &Section<'_>) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, section)| upstream(name, section))
        .collect();
    let backends = backends(root, ", for example [http://localhost:5001]");
    let health_check = health_check(root.section_or_off("health_check"));
    if !backends.is_empty() {
        upstreams.push(Upstream {
            health_check,
            ..Upstream::new(SHORT_FORM, backends)
        });
    }
    root.require_for(
        "health_check",
        &["backends"],
        "health_check stands beside backends, or in an upstream",
    );
    upstreams
}

fn upstream(name: &str, section: Section<'_>) -> Upstream {
    let backends = backends(&section, "");
    if name.is_empty() {
        section.fault("an upstream needs a name".to_owned());
    }
    if name == SHORT_FORM {
        section.fault("the name backends is the short form's; choose another".to_owned());
    }
    section.require(&["backends"], &format!("upstream {name} has no backends"));
    let defaults = Upstream::new(name, backends);
    let timeout = |key, bounds, default| {
        let value = section.value(key, None, |text| duration(text, bounds));
        value.unwrap_or(default)
    };
    let upstream = Upstream {
        policy: policy(&section),
        hash_by: section.value("hash_by", None, hash_key).unwrap_or_default(),
        health_check: health_check(section.section_or_off("health_check")),
        ejection: ejection(section.section_or_off("ejection")),
        slow_start: timeout("slow_start", Duration::ZERO..=HOUR, defaults.slow_start),
        when_all_down: section
            .value("when_all_down", None, when_all_down)
            .unwrap_or_default(),
        connect_timeout: timeout("connect_timeout", TIMEOUT, defaults.connect_timeout),
        response_timeout: timeout(
            "response_timeout",
            MILLIS_100..=DAY,
            defaults.response_timeout,
        ),
        idle_timeout: timeout("idle_timeout", MILLIS_100..=DAY, defaults.idle_timeout),
        total_timeout: section
            .value_or_none("total_timeout", |text| duration(text, MILLIS_100..=DAY)),
        max_requests: section.value_or_none("max_requests", |text| number(text, REQUESTS)),
        queue: queue(section.section("queue"), defaults.queue),
        retry_percent: section
            .value("retry_budget", None, |text| percent(text, 0..=100))
            .unwrap_or(defaults.retry_percent),
        tls: tls(section.section("tls")),
        ..defaults
    };
    section.renamed("in_flight_limit", "max_requests");
    section.finish();
    upstream
}

fn policy(section: &Section<'_>) -> Policy {
    let policy = section.value_or("balance", None, Policy::default(), |text| match text {
        "round_robin" => Ok(Policy::RoundRobin),
        "least_connections" => Ok(Policy::LeastConnections),
        "random_two" => Ok(Policy::RandomTwo),
        "consistent_hash" => Ok(Policy::ConsistentHash {
            bound_percent: Policy::BOUND_PERCENT,
        }),
        _ => Err("is not a policy; there are: round_robin, least_connections, random_two, consistent_hash"),
    });
    let bound = section.value("load_bound", None, |text| percent(text, 100..=10_000));
    let is_other = |policy| !matches!(policy, Policy::ConsistentHash { .. });
    let stray = ["hash_by", "load_bound"]
        .into_iter()
        .find(|key| policy.is_some_and(is_other) && section.has(key));
    if let Some(key) = stray {
        section.fault_at(key, format!("{key} needs balance: consistent_hash"));
    }
    match (policy.unwrap_or_default(), bound) {
        (Policy::ConsistentHash { .. }, Some(bound_percent)) => {
            Policy::ConsistentHash { bound_percent }
        }
        (policy, _) => policy,
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

fn when_all_down(text: &str) -> Result<WhenAllDown, &'static str> {
    match text {
        "refuse" => Ok(WhenAllDown::Refuse),
        "any" => Ok(WhenAllDown::Any),
        _ => Err("must be refuse or any"),
    }
}

fn ejection(section: Option<Section<'_>>) -> Option<EjectionPolicy> {
    let section = section?;
    let defaults = EjectionPolicy::default();
    let failures = section.value("consecutive_failures", None, |text| {
        number(text, 0..=1000_u32)
    });
    let time = section.value("base_time", None, |text| duration(text, MILLIS_100..=HOUR));
    let time_limit_min = match time {
        None if section.has("base_time") => MILLIS_100,
        time => time.unwrap_or(defaults.base_time),
    };
    let time_limit = section.value("max_time", None, |text| {
        duration(text, time_limit_min..=DAY)
    });
    let time = time.unwrap_or(defaults.base_time);
    let share = section.value("max_percent", None, |text| percent(text, 0..=100));
    section.renamed("failures", "consecutive_failures");
    section.renamed("time", "base_time");
    section.renamed("time_limit", "max_time");
    section.renamed("share", "max_percent");
    section.finish();
    Some(EjectionPolicy {
        // 0 switches it off, as nginx's max_fails does.
        consecutive_failures: match failures {
            Some(failures) => NonZeroU32::new(failures)?,
            None => defaults.consecutive_failures,
        },
        base_time: time,
        max_time: time_limit.unwrap_or_else(|| defaults.max_time.max(time)),
        max_percent: share.unwrap_or(defaults.max_percent),
    })
}

fn queue(section: Section<'_>, defaults: Queue) -> Queue {
    let length = section.value("length", None, |text| number(text, 0..=1_000_000));
    let timeout = section.value("timeout", None, |text| {
        duration(text, Duration::from_millis(1)..=Duration::from_secs(600))
    });
    section.finish();
    Queue {
        length: length.unwrap_or(defaults.length),
        timeout: timeout.unwrap_or(defaults.timeout),
    }
}

fn tls(section: Section<'_>) -> Tls {
    let authorities = section.value("ca_file", None, certificates);
    let server_name = section.value("server_name", None, |text| {
        match ServerName::try_from(text.to_owned()) {
            Ok(_) => Ok(text.to_owned()),
            Err(_source) => Err("is not a host name"),
        }
    });
    section.finish();
    Tls {
        authorities,
        server_name,
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) => {
            let (usable, _) =
                RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
            match usable {
                0 => Err("holds no certificate that can be used".to_owned()),
                _ => Ok(certificates),
            }
        }
        Err(error) => Err(format!("is not a PEM file: {error}")),
    }
}

fn backends(section: &Section<'_>, if_empty: &str) -> Vec<WeightedBackend> {
    let mut backends: Vec<WeightedBackend> = Vec::new();
    for item in section.some_items("backends", if_empty) {
        let place = item.clone();
        let Some(found) = backend(item) else {
            continue;
        };
        if backends.iter().any(|other| other.addr == found.addr) {
            place.fault(format!(
                "{} is there twice; give it a weight instead",
                found.addr
            ));
            continue;
        }
        backends.push(found);
    }
    backends
}

fn backend(item: Item<'_>) -> Option<WeightedBackend> {
    if let Some(text) = item.text() {
        return match backend_addr(text) {
            Ok(addr) => Some(WeightedBackend::new(addr)),
            Err(error) => {
                item.fault(format!("{text:?} {error}"));
                None
            }
        };
    }
    let section = item.section();
    let addr = section.value("url", None, backend_addr);
    let weight = section.value("weight", None, |text| number(text, WEIGHTS));
    let admin_state = section.value("state", None, |text| match text {
        "enabled" => Ok(AdminState::Enabled),
        "draining" => Ok(AdminState::Draining),
        "disabled" => Ok(AdminState::Disabled),
        _ => Err("must be enabled, draining or disabled"),
    });
    section.require(
        &["url"],
        "url is missing, for example http://127.0.0.1:8081",
    );
    section.finish();
    Some(WeightedBackend {
        weight: weight.unwrap_or(NonZeroU16::MIN),
        admin_state: admin_state.unwrap_or_default(),
        ..WeightedBackend::new(addr?)
    })
}

/// Whether DNS or a container network can have the name. The URL parser lets `$`, `{` and `*` pass.
pub(super) fn is_host_name(name: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    labels.all(|label| !label.is_empty() && label.bytes().all(is_byte))
}

fn backend_addr(text: &str) -> Result<BackendAddr, String> {
    let hint = "is not a backend such as http://127.0.0.1:8081";
    let url = Url::parse(text).map_err(|error| format!("{hint} ({error})"))?;
    let plain = matches!(url.path(), "/" | "")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let (scheme, default_port) = match url.scheme() {
        "http" => (Scheme::Http, 80),
        "h2c" => (Scheme::H2c, 80),
        "https" => (Scheme::Https, 443),
        _ => return Err(format!("{hint}: the scheme is http, h2c or https")),
    };
    if !plain {
        return Err(format!("{hint}: only SCHEME://HOST:PORT is supported"));
    }
    // The host of a scheme that the parser does not know is not normalised.
    let host = url.host_str().ok_or(hint)?;
    let host = match Host::parse(host).map_err(|error| format!("{hint} ({error})"))? {
        Host::Domain(domain) if !is_host_name(&domain) => {
            return Err(format!("{hint}: {domain:?} is not a host name"));
        }
        Host::Domain(domain) => domain,
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let port = url.port().unwrap_or(default_port);
    if port == 0 {
        return Err(format!("{hint}: nobody listens on port 0"));
    }
    Ok(BackendAddr { scheme, host, port })
}

/// The name of the upstream that the top-level `backends` make.
pub(super) const SHORT_FORM: &str = "backends";
const WEIGHTS: RangeInclusive<NonZeroU16> =
    NonZeroU16::MIN..=NonZeroU16::new(1000).expect("not zero");
const REQUESTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1_000_000).expect("not zero");
const HOUR: Duration = Duration::from_secs(3600);
