//! `health_check`: how backends are probed.

use std::{
    num::{NonZeroU16, NonZeroU32},
    ops::RangeInclusive,
    time::Duration,
};

use crate::{
    config::{
        HealthCheck, Probe,
        key::{Key, Span, Table, Text, Whole},
        resolve::MILLIS_100,
        section::Section,
    },
    health::HealthThresholds,
};

mod http;
mod servers;

const GRPC: Key<Text<String, true>> = Key::optional(
    "grpc",
    Text {
        words: "name of a service, or `\"\"` for the server as a whole",
        parse: |text| Ok(text.to_owned()),
    },
    "a TCP connect",
    "Calls `grpc.health.v1.Health/Check` for this service, which must answer `SERVING`",
);
const PORT: Key<Whole<NonZeroU16>> = Key::optional(
    "port",
    Whole(NonZeroU16::MIN..=NonZeroU16::MAX),
    "the backend's",
    "The port that is checked, for a server whose health another one tells, as Patroni does on 8008",
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
pub(in crate::config::resolve) static HEALTH_CHECK: Table = Table {
    keys: &[
        &http::HTTP,
        &servers::TCP,
        &GRPC,
        &servers::POSTGRES,
        &servers::REDIS,
        &servers::MYSQL,
        &http::METHOD,
        &http::HOST,
        &http::HEADERS,
        &http::STATUS,
        &servers::SEND,
        &servers::EXPECT,
        &servers::USER,
        &servers::PASSWORD,
        &servers::DATABASE,
        &servers::MAX_LAG,
        &PORT,
        &INTERVAL,
        &TIMEOUT,
        &RISE,
        &FALL,
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
            port: None,
        }
    }
}

/// Reads the section, by default a TCP connect; `None` where checks are switched off, or a probe is
/// at fault.
pub(in crate::config::resolve) fn health_check(
    section: Option<Section<'_>>,
) -> Option<HealthCheck> {
    let section = section?;
    let probe = probe(&section);
    let port = section.given(&PORT).map(NonZeroU16::get);
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
        port,
    })
}

fn probe(section: &Section<'_>) -> Option<Probe> {
    let login = &servers::login(section);
    let http = http::http_probe(section).map(|probe| Probe::Http(Box::new(probe)));
    let tcp = servers::text_probe(section).map(Probe::Tcp);
    let grpc = section.given(&GRPC).map(Probe::Grpc);
    let postgres =
        servers::postgres_probe(section, login).map(|probe| Probe::Postgres(Box::new(probe)));
    let redis = servers::redis_probe(section, login).map(|probe| Probe::Redis(Box::new(probe)));
    let mysql = servers::mysql_probe(section, login).map(Probe::Mysql);
    let is_named = PROBES.iter().filter(|key| section.has(key)).count();
    if is_named > 1 {
        section.fault(format!("health_check is one of {}", PROBES.join(", ")));
    }
    match is_named {
        0 => Some(Probe::default()),
        _ => http.or(tcp).or(grpc).or(postgres).or(redis).or(mysql),
    }
}

/// The keys of which one says what a probe does.
const PROBES: [&str; 6] = [
    http::HTTP.name,
    servers::TCP.name,
    GRPC.name,
    servers::POSTGRES.name,
    servers::REDIS.name,
    servers::MYSQL.name,
];
const COUNTS: RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::new(1000).expect("not zero");
