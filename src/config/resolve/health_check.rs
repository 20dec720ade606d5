//! `health_check`: how backends are probed.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use http::{HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use crate::{
    config::{
        HealthCheck, HttpProbe, PostgresLogin, PostgresProbe, PostgresRole, Probe,
        item::Item,
        key::{Choice, Key, Pairs, PasswordText, Span, Switch, Table, Text, Whole},
        resolve::{
            MILLIS_100,
            header_rules::{header_name, header_value, is_host},
        },
        section::Section,
    },
    health::HealthThresholds,
};

const HTTP: Key<Text<PathAndQuery>> = Key::optional(
    "http",
    Text {
        words: "path",
        parse: |text| probe_path(text).map_err(str::to_owned),
    },
    "a TCP connect",
    "Asks for this path",
);
const TCP: Key<Switch> = Key::optional("tcp", Switch, "a TCP connect", "Only connects");
const GRPC: Key<Text<String, true>> = Key::optional(
    "grpc",
    Text {
        words: "name of a service, or `\"\"` for the server as a whole",
        parse: |text| Ok(text.to_owned()),
    },
    "a TCP connect",
    "Calls `grpc.health.v1.Health/Check` for this service, which must answer `SERVING`",
);
const POSTGRES: Key<Choice<PostgresRole>> = Key::optional(
    "postgres",
    Choice(&[
        ("any", PostgresRole::Any),
        ("primary", PostgresRole::Primary),
        ("replica", PostgresRole::Replica),
    ]),
    "a TCP connect",
    "Asks a PostgreSQL server what it is: `any` needs no user, `primary` and `replica` do",
);
const USER: Key<Text<String, true>> = Key::optional(
    "user",
    Text {
        words: "name",
        parse: |text| Ok(text.to_owned()),
    },
    "none",
    "The user of a PostgreSQL check. It needs no rights but to connect",
);
const PASSWORD: Key<PasswordText> =
    Key::optional("password", PasswordText, "none", "The password of `user`");
const DATABASE: Key<Text<String, true>> = Key::new(
    "database",
    Text {
        words: "name",
        parse: |text| Ok(text.to_owned()),
    },
    "postgres",
    "The database that `user` connects to",
);
const METHOD: Key<Text<Method>> = Key::new(
    "method",
    Text {
        words: "`GET`, `HEAD`, `POST`, `PUT` or `OPTIONS`",
        parse: method,
    },
    "GET",
    "The method of an HTTP check",
);
const HOST: Key<Text<HeaderValue>> = Key::optional(
    "host",
    Text {
        words: "host, with or without a port",
        parse: host,
    },
    "host and port as the backend's URL has them",
    "The `Host` of an HTTP check",
);
const HEADERS: Key<Pairs> = Key::optional(
    "headers",
    Pairs("map of header names and values, at most 100"),
    "none",
    "Further headers of an HTTP check",
);
const STATUS: Key<Text<RangeInclusive<u16>>> = Key::new(
    "status",
    Text {
        words: "status or range of statuses",
        parse: |text| status(text).map_err(str::to_owned),
    },
    "200-399",
    "The statuses of an HTTP check that are healthy",
);
const INTERVAL: Key<Span> = Key::new(
    "interval",
    Span(MILLIS_100..=Duration::from_secs(300)),
    "2s",
    "Time between checks of one backend. A quarter of it while results disagree with the current state",
);
const TIMEOUT: Key<Span> = Key::new(
    "timeout",
    Span(Duration::from_millis(10)..=Duration::from_secs(300)),
    "1s",
    "Time for one check, connect included; at most `interval`",
);
const RISE: Key<Whole<NonZeroU32>> = Key::new(
    "rise",
    Whole(COUNTS),
    "2",
    "Good checks in a row that make a backend healthy. The first check alone decides",
);
const FALL: Key<Whole<NonZeroU32>> = Key::new(
    "fall",
    Whole(COUNTS),
    "3",
    "Failed checks in a row that make a backend unhealthy",
);
pub(super) static HEALTH_CHECK: Table = Table {
    keys: &[
        &HTTP, &TCP, &GRPC, &POSTGRES, &METHOD, &HOST, &HEADERS, &STATUS, &USER, &PASSWORD,
        &DATABASE, &INTERVAL, &TIMEOUT, &RISE, &FALL,
    ],
    renamed: &[],
    example: "{ http: /health }",
};

impl HealthCheck {
    /// A check with the defaults.
    pub fn new(probe: Probe) -> Self {
        Self {
            interval: INTERVAL.default(),
            timeout: TIMEOUT.default(),
            thresholds: HealthThresholds {
                rise: RISE.default(),
                fall: FALL.default(),
            },
            probe,
        }
    }
}

impl HttpProbe {
    /// A `GET` of a path, with the defaults.
    pub fn get(path: PathAndQuery) -> Self {
        Self {
            method: METHOD.default(),
            path,
            host: None,
            headers: Vec::new(),
            status: STATUS.default(),
        }
    }
}

/// Reads the section, by default a TCP connect; `None` where checks are switched off, or a probe is
/// at fault.
pub(super) fn health_check(section: Option<Section<'_>>) -> Option<HealthCheck> {
    let section = section?;
    let probe = probe(&section);
    let interval = section.known(&INTERVAL);
    let timeout = section.get(&TIMEOUT);
    // Of an interval that cannot be read it is not known what is too long for it.
    let longest = interval.filter(|&interval| section.has(TIMEOUT.name) && timeout > interval);
    if let Some(interval) = longest {
        let message = format!(
            "{} must not be longer than the interval, {}",
            section.full_path(TIMEOUT.name),
            humantime::format_duration(interval)
        );
        section
            .reading()
            .fault(section.value_place(&TIMEOUT), message);
    }
    let interval = interval.unwrap_or_else(|| INTERVAL.default());
    let timeout = timeout.min(interval);
    if !section.has(TIMEOUT.name) && timeout == interval {
        section.note_effective(&TIMEOUT, timeout);
    }
    let thresholds = HealthThresholds {
        rise: section.get(&RISE),
        fall: section.get(&FALL),
    };
    Some(HealthCheck {
        interval,
        timeout,
        thresholds,
        probe: probe?,
    })
}

fn probe(section: &Section<'_>) -> Option<Probe> {
    let http = http_probe(section).map(|probe| Probe::Http(Box::new(probe)));
    let tcp = section.given(&TCP);
    if tcp == Some(false) {
        let message = "health_check.tcp must be true; write health_check: off for no checks";
        section.fault_at(TCP.name, message.to_owned());
    }
    let grpc = section.given(&GRPC).map(Probe::Grpc);
    let postgres = postgres_probe(section).map(|probe| Probe::Postgres(Box::new(probe)));
    let is_named = PROBES.iter().filter(|key| section.has(key)).count();
    if is_named > 1 {
        section.fault("health_check is one of http, tcp, grpc and postgres".to_owned());
    }
    match is_named {
        0 => Some(Probe::Tcp),
        _ => http
            .or_else(|| tcp.map(|_true| Probe::Tcp))
            .or(grpc)
            .or(postgres),
    }
}

fn http_probe(section: &Section<'_>) -> Option<HttpProbe> {
    let path = section.given(&HTTP);
    for (key, message) in [
        (STATUS.name, "status needs http: PATH"),
        (METHOD.name, "method needs http: PATH"),
        (HOST.name, "host needs http: PATH"),
        (HEADERS.name, "headers need http: PATH"),
    ] {
        section.require_for(key, &[HTTP.name], message);
    }
    let is_http = path.is_some();
    let given = |is_there: bool| is_http || is_there;
    let status = given(section.has(STATUS.name)).then(|| section.get(&STATUS));
    let method = given(section.has(METHOD.name)).then(|| section.get(&METHOD));
    let host = section.given(&HOST);
    let headers = headers(section);
    Some(HttpProbe {
        path: path?,
        method: method?,
        status: status?,
        host,
        headers,
    })
}

fn postgres_probe(section: &Section<'_>) -> Option<PostgresProbe> {
    for (key, message) in [
        (USER.name, "user needs postgres: any, primary or replica"),
        (
            DATABASE.name,
            "database needs postgres: any, primary or replica",
        ),
    ] {
        section.require_for(key, &[POSTGRES.name], message);
    }
    section.require_for(PASSWORD.name, &[USER.name], "password needs user");
    let role = section.given(&POSTGRES);
    if matches!(role, Some(PostgresRole::Primary | PostgresRole::Replica)) {
        let message =
            "postgres: primary and postgres: replica need a user, as only a session knows the role";
        section.require_for(POSTGRES.name, &[USER.name], message);
    }
    let (user, password) = (section.given(&USER), section.given(&PASSWORD));
    let database = match user.is_some() || section.has(DATABASE.name) {
        true => section.get(&DATABASE),
        false => String::new(),
    };
    Some(PostgresProbe {
        role: role?,
        login: user.map(|user| PostgresLogin {
            user,
            password,
            database,
        }),
    })
}

fn method(text: &str) -> Result<Method, String> {
    let known = ["GET", "HEAD", "POST", "PUT", "OPTIONS"];
    let method = Method::try_from(text).ok();
    method
        .filter(|_method| known.contains(&text))
        .ok_or_else(|| "must be GET, HEAD, POST, PUT or OPTIONS".to_owned())
}

fn host(text: &str) -> Result<HeaderValue, String> {
    let host = HeaderValue::from_str(text).ok();
    host.filter(is_host)
        .ok_or_else(|| "is not a host such as app.internal:8080".to_owned())
}

fn headers(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, item) in section.pairs(&HEADERS) {
        match header(name, &item) {
            Ok(None) => {}
            Ok(Some((name, _))) if headers.iter().any(|(other, _)| *other == name) => {
                item.fault("is set twice, as upper and lower case are the same");
            }
            Ok(Some(_)) if headers.len() == HEADERS_MAX => item.fault("is one header too many"),
            Ok(Some(header)) => headers.push(header),
            Err(error) => item.fault(error),
        }
    }
    headers
}

fn header(name: &str, item: &Item<'_>) -> Result<Option<(HeaderName, HeaderValue)>, &'static str> {
    let name = header_name(name)?;
    if name == header::HOST {
        return Err("has a key of its own: health_check.host");
    }
    Ok(header_value(item)?.map(|value| (name, value)))
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
const PROBES: &[&str] = &[HTTP.name, TCP.name, GRPC.name, POSTGRES.name];
const HEADERS_MAX: usize = 100;
const COUNTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1000).expect("not zero");
