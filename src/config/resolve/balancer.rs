//! The HTTP load balancer's sections, and the short form that stands for them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    ops::RangeInclusive,
    time::Duration,
};

use http::uri::PathAndQuery;
use ipnet::IpNet;
use url::{Host, Url};

use crate::{
    balance::Policy,
    config::{
        BODY_LIMIT, BackendAddr, HealthCheck, Http, Probe, Upstream, WeightedBackend,
        balancer::{CONNECT_TIMEOUT, IDLE_TIMEOUT, INTERVAL, PROBE_TIMEOUT, THRESHOLDS},
        loopback,
        resolve::units::{DAY, MILLIS_100, TIMEOUT, address, duration, number, size},
        section::{Item, Section},
    },
    health::HealthThresholds,
    route::{Prefix, Route, Router},
};

/// Reads `upstreams`, and the short form's `backends`.
pub(super) fn upstreams(root: &Section<'_>) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = root
        .named("upstreams")
        .into_iter()
        .map(|(name, section)| upstream(name, section))
        .collect();
    let items = root.items("backends").unwrap_or_default();
    let backends: Vec<_> = items.into_iter().filter_map(backend).collect();
    if !backends.is_empty() {
        upstreams.push(Upstream::short_form(SHORT_FORM, backends));
    }
    upstreams
}

/// Reads `http`, and the short form's `port`.
pub(super) fn listeners(root: &Section<'_>, upstreams: &[Upstream]) -> Vec<Http> {
    let sections = root
        .items("http")
        .unwrap_or_default()
        .into_iter()
        .map(Item::section);
    let mut listeners: Vec<Http> = sections
        .filter_map(|section| listener(section, upstreams))
        .collect();
    let port = root.value("port", None, |text| {
        number(text, NonZeroU16::MIN..=NonZeroU16::MAX)
    });
    let short_form = upstreams
        .iter()
        .position(|upstream| upstream.name == SHORT_FORM);
    match (port, short_form) {
        (Some(port), Some(upstream)) => {
            let route = Route {
                host: None,
                path: "/".into(),
                prefix: Prefix::Keep,
                upstream,
            };
            let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.get());
            listeners.push(Http {
                listen,
                trusted_proxies: loopback(),
                router: Router::new(vec![route]),
                body_limit: BODY_LIMIT,
            });
        }
        (Some(_), None) => root
            .fault("port needs backends, for example backends: [http://localhost:5001]".to_owned()),
        (None, Some(_)) if !root.has("port") => {
            root.fault("backends needs a port, for example port: 8080".to_owned());
        }
        (None, _) => {}
    }
    listeners
}

fn listener(section: Section<'_>, upstreams: &[Upstream]) -> Option<Http> {
    let listen = section.value("listen", None, address);
    if !section.has("listen") {
        section.fault("listen is missing, for example 0.0.0.0:8080".to_owned());
    }
    let routes: Vec<Route> = section
        .items("routes")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| route(item.section(), upstreams))
        .collect();
    if !section.has("routes") {
        section.fault("routes is missing, for example [{ path: /, upstream: app }]".to_owned());
    }
    let trusted_proxies = trusted_proxies(&section);
    let body_limit = section
        .value("body_limit", None, size)
        .unwrap_or(BODY_LIMIT);
    section.finish();
    Some(Http {
        listen: listen?,
        router: Router::new(routes),
        trusted_proxies,
        body_limit,
    })
}

fn trusted_proxies(section: &Section<'_>) -> Vec<IpNet> {
    let Some(items) = section.items("trusted_proxies") else {
        return loopback();
    };
    let network = |item: Item<'_>| {
        let text = item.text().unwrap_or_default();
        let network = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            item.fault(format!("{text:?} is not a network such as 10.0.0.0/8"));
        }
        network
    };
    items.into_iter().filter_map(network).collect()
}

fn route(section: Section<'_>, upstreams: &[Upstream]) -> Option<Route> {
    let host = section.value("host", None, host_name);
    let path = section
        .value("path", None, route_path)
        .unwrap_or_else(|| "/".into());
    let strip = section.value("strip_prefix", None, |text| match text {
        "true" => Ok(Prefix::Strip),
        "false" => Ok(Prefix::Keep),
        _ => Err("must be true or false"),
    });
    let known: Vec<&str> = upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    let upstream = section.value("upstream", None, |name| {
        let missing = || format!("is not an upstream; there are: {}", known.join(", "));
        known
            .iter()
            .position(|known| *known == name)
            .ok_or_else(missing)
    });
    if !section.has("upstream") {
        section.fault("upstream is missing".to_owned());
    }
    section.finish();
    Some(Route {
        host,
        path,
        prefix: strip.unwrap_or(Prefix::Keep),
        upstream: upstream?,
    })
}

fn upstream(name: &str, section: Section<'_>) -> Upstream {
    let policy = section.value("balance", None, |text| match text {
        "round_robin" => Ok(Policy::RoundRobin),
        "least_connections" => Ok(Policy::LeastConnections),
        "random_two" => Ok(Policy::RandomTwo),
        _ => Err("is not a policy; there are: round_robin, least_connections, random_two"),
    });
    let items = section.items("backends").unwrap_or_default();
    let has_none = items.is_empty();
    let backends = items.into_iter().filter_map(backend).collect();
    if name == SHORT_FORM {
        section.fault("the name backends is the short form's; choose another".to_owned());
    }
    if has_none {
        section.fault(format!("upstream {name} has no backends"));
    }
    let health_check = health_check(&section);
    let timeout = |key, bounds, default| {
        let value = section.value(key, None, |text| duration(text, bounds));
        value.unwrap_or(default)
    };
    let upstream = Upstream {
        name: name.to_owned(),
        policy: policy.unwrap_or_default(),
        backends,
        health_check,
        connect_timeout: timeout("connect_timeout", TIMEOUT, CONNECT_TIMEOUT),
        response_timeout: timeout("response_timeout", MILLIS_100..=DAY, IDLE_TIMEOUT),
        idle_timeout: timeout("idle_timeout", MILLIS_100..=DAY, IDLE_TIMEOUT),
    };
    section.finish();
    upstream
}

fn backend(item: Item<'_>) -> Option<WeightedBackend> {
    if let Some(text) = item.text() {
        return match backend_addr(text) {
            Ok(addr) => Some(WeightedBackend {
                addr,
                weight: NonZeroU16::MIN,
            }),
            Err(error) => {
                item.fault(format!("{text:?} {error}"));
                None
            }
        };
    }
    let section = item.section();
    let addr = section.value("url", None, backend_addr);
    let weight = section.value("weight", None, |text| number(text, WEIGHTS));
    if !section.has("url") {
        section.fault("url is missing, for example http://127.0.0.1:8081".to_owned());
    }
    section.finish();
    Some(WeightedBackend {
        addr: addr?,
        weight: weight.unwrap_or(NonZeroU16::MIN),
    })
}

fn backend_addr(text: &str) -> Result<BackendAddr, String> {
    let hint = "is not a backend such as http://127.0.0.1:8081";
    let url = Url::parse(text).map_err(|error| format!("{hint} ({error})"))?;
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if url.scheme() != "http" || !plain || url.password().is_some() {
        return Err(format!("{hint}: only http://HOST:PORT is supported"));
    }
    let host = match url.host() {
        Some(Host::Domain(domain)) => domain.to_owned(),
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        None => return Err(hint.to_owned()),
    };
    Ok(BackendAddr {
        host,
        port: url.port_or_known_default().unwrap_or(80),
    })
}

fn health_check(upstream: &Section<'_>) -> Option<HealthCheck> {
    let section = upstream.section("health_check");
    let path = section.value("http", None, probe_path);
    let tcp = section.value("tcp", None, |text| {
        if text == "true" {
            Ok(())
        } else {
            Err("must be true")
        }
    });
    let interval = section.value("interval", None, |text| {
        duration(text, MILLIS_100..=Duration::from_secs(300))
    });
    let interval = interval.unwrap_or(INTERVAL);
    let timeout = section.value("timeout", None, |text| {
        duration(text, Duration::from_millis(10)..=interval)
    });
    let count = |key| section.value(key, None, |text| number(text, COUNTS));
    let thresholds = HealthThresholds {
        rise: count("rise").unwrap_or(THRESHOLDS.rise),
        fall: count("fall").unwrap_or(THRESHOLDS.fall),
    };
    let probe = match (path, tcp) {
        (Some(path), None) => Some(Probe::Http(path)),
        (None, Some(())) => Some(Probe::Tcp),
        (Some(_), Some(())) => {
            section.fault("health_check is either http or tcp, not both".to_owned());
            None
        }
        (None, None) => {
            if section.is_present() && !section.has("http") && !section.has("tcp") {
                section.fault("health_check needs http: PATH or tcp: true".to_owned());
            }
            None
        }
    };
    section.finish();
    let timeout = timeout.unwrap_or_else(|| PROBE_TIMEOUT.min(interval));
    Some(HealthCheck {
        interval,
        timeout,
        thresholds,
        probe: probe?,
    })
}

fn probe_path(text: &str) -> Result<PathAndQuery, &'static str> {
    let path = PathAndQuery::try_from(text).map_err(|_source| "is not a path such as /health")?;
    if text.starts_with('/') {
        Ok(path)
    } else {
        Err("must begin with /")
    }
}

fn route_path(text: &str) -> Result<Box<str>, &'static str> {
    let plain = text.starts_with('/')
        && !text.contains(['?', '#'])
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain {
        Ok(text.into())
    } else {
        Err("is not a path prefix such as /api")
    }
}

fn host_name(text: &str) -> Result<Box<str>, &'static str> {
    match Host::parse(text) {
        Ok(_) if text.contains('*') => Err("is not a host name; leave host out to match any"),
        Ok(host) => Ok(host.to_string().into()),
        Err(_source) => Err("is not a host name"),
    }
}

/// The name of the upstream that the top-level `backends` make.
const SHORT_FORM: &str = "backends";
const WEIGHTS: RangeInclusive<NonZeroU16> =
    NonZeroU16::MIN..=NonZeroU16::new(1000).expect("not zero");
const COUNTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1000).expect("not zero");
