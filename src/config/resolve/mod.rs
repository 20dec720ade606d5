//! From document and overrides to a [`Config`]: one small function a section, beside its keys.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::Path,
    path::PathBuf,
    time::Duration,
};

use crate::config::{
    BackendAddr, Config, ConfigErrors, Database, Diagnostic, Drain, WeightedBackend,
    diagnostic::Place,
    document::Document,
    key::{self, DatabaseUrl, Key, SectionOrOff, Span, Switch, Table, Text, Whole},
    overrides::{Overrides, Setting},
    reading::{Effective, Found, Reading},
    resolve::addresses::Addresses,
    section::Section,
    variables::Expansion,
};

mod access_log;
mod addresses;
mod admin;
mod backends;
mod connections;
mod cors;
mod ejection;
mod header_rules;
mod health_check;
mod http;
mod log;
mod names;
mod rate_limit;
mod redirect;
mod redis;
mod route;
mod tcp;
mod tls;
mod upstream;

const CONNECTIONS: Key<key::Section> = Key::optional(
    "connections",
    key::Section(&connections::CONNECTIONS),
    "its defaults",
    "Limits and timeouts of client connections, the same for every listener. A reload applies them to connections that are accepted from then on",
);
const ADMIN: Key<key::Section> = Key::optional(
    "admin",
    key::Section(&admin::ADMIN),
    "its defaults",
    "Liveness, readiness, metrics and the admin API. Anyone who reaches the listener can read them",
);
const DATABASE: Key<DatabaseUrl> = Key::optional(
    "database",
    DatabaseUrl,
    "none",
    "The database of registered clients. A change needs a restart",
)
.or_setting(Setting::Database);
const REDIS: Key<key::Section> = Key::optional(
    "redis",
    key::Section(&redis::REDIS),
    "its defaults",
    "How the processes of a fleet share rate limits: by a server of Redis or Valkey. A change needs a restart",
);
const RESOLVE: Key<key::Section> = Key::optional(
    "resolve",
    key::Section(&RESOLVE_KEYS),
    "its defaults",
    "How backends' names are looked up",
);
const MAX_TTL: Key<Span> = Key::new(
    "max_ttl",
    Span(Duration::from_secs(1)..=Duration::from_secs(300)),
    "30s",
    "The longest that a DNS answer is used, whatever its time to live. A backend that fails is looked up again at once",
);
static RESOLVE_KEYS: Table = Table {
    keys: &[&MAX_TTL],
    renamed: &[],
    example: "{ max_ttl: 30s }",
};
const DRAIN: Key<key::Section> = Key::optional(
    "drain",
    key::Section(&DRAIN_KEYS),
    "its defaults",
    "How a stop goes. It takes `lame_duck` and `timeout` at the longest",
);
const LAME_DUCK: Key<Span> = Key::new(
    "lame_duck",
    Span(Duration::ZERO..=MINUTES_10),
    "5s",
    "The longest time that new connections are accepted after readiness went red, so that a load balancer in front can notice",
);
const QUIET: Key<Span> = Key::new(
    "quiet",
    Span(Duration::ZERO..=Duration::from_secs(60)),
    "1s",
    "The lame-duck time ends early after this long without a new connection",
);
const DRAIN_TIMEOUT: Key<Span> = Key::new(
    "timeout",
    Span(Duration::ZERO..=DAY),
    "30s",
    "The longest time, after the lame-duck time, for requests in flight. What is left is cut",
);
static DRAIN_KEYS: Table = Table {
    keys: &[&LAME_DUCK, &QUIET, &DRAIN_TIMEOUT],
    renamed: &[],
    example: "{ timeout: 30s }",
};
const ACCESS_LOG: Key<SectionOrOff> = Key::optional(
    "access_log",
    SectionOrOff(&access_log::ACCESS_LOG),
    "off",
    "One line for each request of the HTTP load balancer",
);
const LOG: Key<key::Section> = Key::optional(
    "log",
    key::Section(&log::LOG),
    "its defaults",
    "The event log, on standard output: start, stop, reload, health and faults. A change needs a restart",
);
const WATCH: Key<Switch> = Key::new("watch", Switch, "true", "A change of the file is a reload");
const STATE_FILE: Key<Text<PathBuf>> = Key::optional(
    "state_file",
    Text {
        words: "path",
        parse: |text| match text {
            "" => Err("is no path".to_owned()),
            text => Ok(PathBuf::from(text)),
        },
    },
    "none",
    "What has to outlast a restart: which timeline of PostgreSQL each upstream used last. A change needs a restart",
);
const WORKERS: Key<Whole<NonZeroUsize>> = Key::optional(
    "workers",
    Whole(NonZeroUsize::MIN..=WORKERS_MAX),
    "the usable cores: CPU affinity and cgroup quota",
    "Data-plane threads. A change needs a restart",
)
.or_setting(Setting::Workers);

/// The keys of the whole file.
pub(super) static ROOT: Table = Table {
    keys: &[
        &redirect::SECTION,
        &http::PORT,
        &upstream::SHORT_BACKENDS,
        &upstream::SHORT_HEALTH_CHECK,
        &http::LISTENERS,
        &tcp::LISTENERS,
        &upstream::UPSTREAMS,
        &rate_limit::RATE_LIMIT,
        &DATABASE,
        &REDIS,
        &CONNECTIONS,
        &ADMIN,
        &RESOLVE,
        &DRAIN,
        &ACCESS_LOG,
        &LOG,
        &WATCH,
        &STATE_FILE,
        &WORKERS,
    ],
    renamed: &[],
    example: "",
};

/// A configuration, and what is known of its keys.
pub(super) struct Resolved {
    pub(super) config: Config,
    pub(super) settings: Vec<Effective>,
}

/// Reads a document whose variables are replaced.
pub(super) fn config(
    document: &Document,
    expansion: Expansion,
    overrides: Overrides<'_>,
) -> Result<Resolved, ConfigErrors> {
    let reading = Reading::new(document, overrides, expansion.faults);
    warn_of_variables(&reading, &expansion.named);
    let root = Section::root(&reading, &ROOT);
    let mut addresses = Addresses::default();
    let admin = admin::admin(&root.section(&ADMIN), &mut addresses);
    let redirect = redirect::redirect(&root, &mut addresses);
    let upstreams = upstream::upstreams(&root);
    let config = Config {
        rate_limits: rate_limit::everywhere(&root),
        database: root.given(&DATABASE),
        redis: redis::redis(&root.section(&REDIS)),
        connections: connections::connections(&root.section(&CONNECTIONS)),
        ttl_max: root.section(&RESOLVE).get(&MAX_TTL),
        drain: drain(&root.section(&DRAIN)),
        access_log: access_log::access_log(root.section_or_off(&ACCESS_LOG)),
        log: log::log(&root.section(&LOG)),
        watch: root.get(&WATCH),
        state_file: root.given(&STATE_FILE),
        workers: root.given(&WORKERS),
        http: http::listeners(&root, &upstreams, &mut addresses),
        tcp: tcp::listeners(&root, &upstreams, &mut addresses),
        admin,
        redirect,
        upstreams,
        warnings: Vec::new(),
    };
    refuse_loops(&reading, &config, &addresses);
    let is_idle = config.redirect.is_none() && config.http.is_empty() && config.tcp.is_empty();
    if is_idle && reading.fault_count() == 0 {
        let file = Config::file(overrides.flags, overrides.environment);
        return Err(no_service(file.as_deref()).into());
    }
    drop(root);
    let Found { warnings, settings } = reading.finish()?;
    Ok(Resolved {
        config: Config { warnings, ..config },
        settings,
    })
}

fn no_service(file: Option<&Path>) -> Diagnostic {
    let Some(file) = file else {
        return Diagnostic::nowhere(
            "no service is configured: set CDN_HOST (for example CDN_HOST=cdn.example.com weir), \
             name a file with --config, or try `weir demo`",
        );
    };
    Diagnostic::nowhere(format!(
        "no service is configured: {} needs `redirect:`, a listener in `http:`, or the short form, \
         `port:` and `backends:`",
        file.display()
    ))
}

/// Warns of variables that begin like settings, unless the file itself names them.
fn warn_of_variables(reading: &Reading<'_>, named: &BTreeSet<String>) {
    for (name, nearest) in reading.overrides().environment.unknown() {
        if !named.contains(name) {
            let message = format!("{name} is not a setting; the nearest one is {nearest}");
            reading.warn(Place::Nowhere, message);
        }
    }
}

/// Where the admin listener is, whatever else is wrong with the document.
pub(super) fn admin_listen(
    document: &Document,
    expansion: Expansion,
    overrides: Overrides<'_>,
) -> Result<SocketAddr, ConfigErrors> {
    let reading = Reading::new(document, overrides, expansion.faults);
    let root = Section::root(&reading, &ROOT);
    let listen = match root.is_unreadable(ADMIN.name) {
        true => None,
        false => root.section(&ADMIN).known(&admin::LISTEN),
    };
    drop(root);
    match (listen, reading.finish()) {
        (Some(listen), _) => Ok(listen),
        (None, Err(faults)) => Err(faults),
        (None, Ok(_)) => Err(Diagnostic::nowhere("admin.listen cannot be read").into()),
    }
}

/// Where the database is, whatever else is wrong with the document.
pub(super) fn database(
    document: &Document,
    expansion: Expansion,
    overrides: Overrides<'_>,
) -> Result<Option<Database>, ConfigErrors> {
    let reading = Reading::new(document, overrides, expansion.faults);
    let root = Section::root(&reading, &ROOT);
    let database = root.given(&DATABASE);
    drop(root);
    match (database, reading.finish()) {
        (Some(database), _) => Ok(Some(database)),
        (None, finished) => finished.map(|_found| None),
    }
}

/// Reports listeners that lead to an upstream with the listener itself as a backend.
fn refuse_loops(reading: &Reading<'_>, config: &Config, addresses: &Addresses) {
    let of_http = config.http.iter().flat_map(|http| {
        let routes = (0..).map_while(|index| http.router.get(index));
        let upstreams: BTreeSet<usize> = routes.map(|route| route.upstream).collect();
        upstreams
            .into_iter()
            .map(|upstream| (http.listen, upstream))
    });
    let of_tcp = config.tcp.iter().map(|tcp| (tcp.listen, tcp.upstream));
    for (listen, upstream) in of_http.chain(of_tcp) {
        let Some(upstream) = config.upstreams.get(upstream) else {
            continue;
        };
        let leads_back = |backend: &WeightedBackend| is_reached_by(listen, &backend.addr);
        if upstream.backends.iter().any(leads_back) {
            let message = format!(
                "{listen} is also a backend of the upstream {:?}, which it leads to",
                upstream.name
            );
            reading.fault(addresses.place_of(listen), message);
        }
    }
}

/// Whether a connection to the backend would reach this listener.
fn is_reached_by(listen: SocketAddr, backend: &BackendAddr) -> bool {
    let is_local_name = backend.host == "localhost";
    let is_here =
        |ip: IpAddr| ip == listen.ip() || listen.ip().is_unspecified() && ip.is_loopback();
    let is_host = match backend.ip() {
        Some(ip) => is_here(ip),
        None => is_local_name && (listen.ip().is_loopback() || listen.ip().is_unspecified()),
    };
    is_host && backend.port == listen.port() && listen.port() != 0
}

fn drain(section: &Section<'_>) -> Drain {
    Drain {
        lame_duck: section.get(&LAME_DUCK),
        quiet: section.get(&QUIET),
        timeout: section.get(&DRAIN_TIMEOUT),
    }
}

const WORKERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
const MILLIS_100: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTES_10: Duration = Duration::from_secs(600);
/// The bounds of every timeout that a client must never be able to stretch.
const TIMEOUT: RangeInclusive<Duration> = MILLIS_100..=MINUTES_10;
