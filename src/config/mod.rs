//! What the operator wants, checked and complete.
//!
//! `document` reads the YAML file, `overrides` the command line and the environment; `resolve`
//! turns both into a [`Config`], with every fault found reported at once (`diagnostic`). Nothing
//! here binds, connects or starts anything. Called by `main` at the start and by
//! `control::reload`.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    config::{
        diagnostic::SourceFile,
        document::Document,
        overrides::{Overrides, Setting},
        variables::Expansion,
    },
    limit::{Mode, Rule},
    redirect::RedirectPolicy,
};

mod access_log;
mod backend_overrides;
mod cors;
mod database;
mod diagnostic;
mod document;
mod http;
mod item;
mod key;
mod masked_url;
mod overrides;
mod probe;
mod reading;
mod redis;
mod reference;
mod resolve;
mod schema;
mod section;
mod small_file;
mod summary;
mod tcp;
#[cfg(test)]
mod tests;
mod token;
mod upstream;
mod variables;

pub use access_log::{AccessLog, LogFormat, LogTarget};
pub use backend_overrides::{BackendKey, BackendOverride, BackendOverrides, Overridden};
pub use cors::Cors;
pub use database::Database;
pub use diagnostic::{ConfigErrors, Diagnostic, Place, Severity};
pub use http::{Http, loopback};
pub use overrides::{Environment, Flags};
pub use probe::{
    HttpProbe, MysqlProbe, Password, PostgresLogin, PostgresProbe, PostgresRole, Probe, RedisProbe,
    RedisRole, TextProbe,
};
pub use reading::{Effective, Source};
pub use redis::{OnFailure, Redis, RedisUrl};
pub use reference::reference;
pub use schema::schema;
pub use summary::Checked;
pub use tcp::{OnMarkedDown, ProxyProtocol, Tcp};
pub use token::Token;
pub use upstream::{
    AdminState, BackendAddr, HealthCheck, Queue, Scheme, Tls, Upstream, WeightedBackend,
    WhenAllDown,
};

/// Everything that Weir runs. Each value is within its bounds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The redirect service; `None` where nothing asks for it.
    pub redirect: Option<Redirect>,
    /// The HTTP load balancer's listeners.
    pub http: Vec<Http>,
    /// The TCP load balancer's listeners.
    pub tcp: Vec<Tcp>,
    /// The groups of backends that they lead to, in the order of their names in the file.
    pub upstreams: Vec<Upstream>,
    /// How many requests a client may make.
    pub rate_limits: RateLimits,
    /// The database of registered clients. Default `None`: without one, no client is registered.
    pub database: Option<Database>,
    /// Where the processes of a fleet share their buckets. Default `None`: they do not.
    pub redis: Option<Redis>,
    /// The admin listener.
    pub admin: Admin,
    /// Limits and timeouts of client connections, the same for every data-plane listener.
    pub connections: Connections,
    /// The longest that a DNS answer is used, whatever its time to live (`resolve.max_ttl`).
    /// Default 30 s, bounds 1 s to 5 min. Lower finds a moved backend sooner and asks more often.
    pub ttl_max: Duration,
    /// How a stop goes.
    pub drain: Drain,
    /// Where the load balancer's requests are logged. Default `None`: nowhere. A line costs about
    /// half a microsecond.
    pub access_log: Option<AccessLog>,
    /// How events are logged.
    pub log: EventLog,
    /// Whether a change of the configuration file is a reload. Default true.
    pub watch: bool,
    /// Where the timelines of PostgreSQL that upstreams used last are kept over a restart. Default
    /// `None`: they are forgotten.
    pub state_file: Option<PathBuf>,
    /// Data-plane threads. Default: the cores that the process may use (CPU affinity and cgroup
    /// quota), bounds 1 to 1024. More than cores only adds switching.
    pub workers: Option<NonZeroUsize>,
    /// What may not be meant as it is written.
    pub warnings: Vec<Diagnostic>,
}

/// How many requests a client may make over all listeners.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimits {
    /// The bucket of each client that is not registered. Default `None`: unlimited.
    pub default: Option<Rule>,
    /// What follows when a registered client makes more requests than it may. Default `Enforce`.
    pub mode: Mode,
    /// Clients that are not registered and have a bucket of their own at a time. Default
    /// 1,000,000, bounds 100 to 100,000,000; 35 bytes each.
    pub clients_max: NonZeroU32,
}

/// How events are logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventLog {
    /// How an event is written. Default `Auto`.
    pub format: EventFormat,
    /// Which events are written, in the syntax of `RUST_LOG`. Default `info`.
    pub level: String,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventFormat {
    /// As text on a terminal, as JSON elsewhere.
    Auto,
    /// A short line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The redirect service: gRPC and HTTP on one port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// Where it listens. Default 0.0.0.0:50051.
    pub listen: SocketAddr,
    /// The rule. `cdn_host` has no default; `origin_every` is 10 by default, `origin_clusters`
    /// `[origin-cluster]`.
    pub policy: RedirectPolicy,
    /// Whether gRPC reflection answers. Default on; off hides the service's schema.
    pub reflection: Reflection,
    /// Time allowed from a call's head to the end of its message. Default 10 s, bounds 100 ms to
    /// 10 min. A client's own shorter `grpc-timeout` wins.
    pub call_timeout: Duration,
    /// Which web pages may read answers over HTTP. Default: all.
    pub cors: Cors,
    /// Proxies allowed to say which client a call is of. Default the loopback addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// A bucket of each client for this service. Default `None`.
    pub rate_limit: Option<Rule>,
}

/// Whether gRPC reflection answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reflection {
    /// v1 and v1alpha are served.
    On,
    /// Both answer `UNIMPLEMENTED`.
    Off,
}

/// The admin listener: liveness, readiness, metrics and the admin API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Where it listens. Default 127.0.0.1:8404. Anyone who reaches it can read it.
    pub listen: SocketAddr,
    /// Names that a request's `Host` may have beside `localhost` and IP addresses. Default `None`:
    /// no others on a loopback address, any elsewhere. Against DNS rebinding: a web page that
    /// makes its own name resolve to this address.
    pub hosts: Option<Vec<String>>,
    /// What requests that change something must carry. Default `None`: they must come from a
    /// loopback address.
    pub token: Option<Token>,
}

/// Limits and timeouts of client connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connections {
    /// Open client connections of the process; one more is closed at accept. Default: seven
    /// eighths of the limit of open files, less 64 for probes and the admin listener. A higher
    /// value is lowered to that, with a warning. While connections to backends need more than
    /// an eighth, the limit is lower.
    pub limit: Option<NonZeroUsize>,
    /// Open connections of one client address (IPv6: one /64); one more is closed at accept.
    /// Default unlimited, because a proxy in front makes all clients one address.
    pub per_client_limit: Option<NonZeroUsize>,
    /// The longest request head of HTTP/1.1, and the longest header list of HTTP/2, in bytes.
    /// Default 48 KiB, bounds 8 KiB to 1 MiB. Each connection may hold that much.
    pub max_header_size: u32,
    /// Time until a new connection's first byte, and until the end of an HTTP/2 preface.
    /// Default 10 s, bounds 100 ms to 10 min.
    pub first_byte_timeout: Duration,
    /// Time for a whole HTTP/1.1 request head once it has begun. Default 10 s, bounds 100 ms to
    /// 10 min.
    pub header_timeout: Duration,
    /// Time that a connection may stay open with no call on it, and (or `redirect.call_timeout`,
    /// if that is longer) with calls of which none ends. Default 75 s, bounds 100 ms to 24 h: longer
    /// than the 60 s after which load balancers such as AWS's give up a connection, so that this side
    /// does not close one just as it is used again. Lower frees memory sooner.
    pub idle_timeout: Duration,
    /// Age at which an HTTP/2 connection is asked to leave (GOAWAY), spread by a tenth either
    /// way, so that clients find new replicas. Default 30 min, bounds 1 s to 7 days.
    pub max_connection_age: Duration,
    /// Time that a connection asked to leave has to finish its calls. Default 30 s, bounds
    /// 100 ms to 10 min.
    pub max_connection_age_grace: Duration,
    /// Calls at a time on one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS). Default 256,
    /// bounds 1 to 65,536. Each may hold a message of 64 KiB.
    pub max_concurrent_streams: NonZeroU32,
    /// The least rate at which a client must send a request's body and take a response, in bytes a
    /// second averaged over 30 s, while it is waited for. Default 240, as in IIS and Kestrel;
    /// `None` switches it off. gRPC calls and tunnels are exempt.
    pub min_body_rate: Option<u32>,
}

/// How a stop goes. It takes `lame_duck + timeout` at the longest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drain {
    /// Longest time that new connections are still accepted after readiness went red, so that
    /// a load balancer in front can notice. Default 5 s, bounds 0 to 10 min.
    pub lame_duck: Duration,
    /// The lame-duck time ends early after this long without a new connection, and idle
    /// HTTP/1.1 connections are closed after this long without a call. Default 1 s, bounds 0 to
    /// 1 min.
    pub quiet: Duration,
    /// Longest time, after the lame-duck time, for calls in flight to finish. Default 30 s,
    /// bounds 0 to 24 h. What is left then is cut.
    pub timeout: Duration,
}

impl Config {
    /// Reads and checks everything: flags win over the environment, the environment over the
    /// file, the file over the defaults.
    ///
    /// # Errors
    ///
    /// Every fault found, each with its place.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::check(flags, environment).map(|checked| checked.config)
    }

    /// As [`Config::load`], and tells what each key is.
    ///
    /// # Errors
    ///
    /// Every fault found, each with its place.
    pub fn check(flags: &Flags, environment: &Environment) -> Result<Checked, ConfigErrors> {
        let document = document::read(path(flags, environment))?;
        Self::check_document(document, flags, environment)
    }

    /// As [`Config::check`], of a file with this text.
    ///
    /// # Errors
    ///
    /// Every fault found, each with its place.
    pub fn check_text(
        text: &str,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Checked, ConfigErrors> {
        let document = document::parse(SourceFile {
            path: "weir.yaml".into(),
            text: text.to_owned(),
        })?;
        Self::check_document(document, flags, environment)
    }

    fn check_document(
        mut document: Document,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Checked, ConfigErrors> {
        let expansion = variables::expand(&mut document, environment);
        let overrides = Overrides { flags, environment };
        let variables = expansion.named.iter().cloned().collect();
        let resolved = resolve::config(&document, expansion, overrides)?;
        Ok(Checked {
            config: resolved.config,
            settings: resolved.settings,
            variables,
        })
    }

    /// The file that [`Config::load`] reads, if there is one.
    pub fn file(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
        path(flags, environment).map(Path::to_owned)
    }

    /// Reads only where the admin listener is, for commands that ask the running process: what else
    /// is wrong with the file does not matter.
    ///
    /// # Errors
    ///
    /// A named file that cannot be read, or an address that is spelled wrong.
    pub fn admin_listen(
        flags: &Flags,
        environment: &Environment,
    ) -> Result<SocketAddr, ConfigErrors> {
        let overrides = Overrides { flags, environment };
        let file = match overrides.get(Setting::AdminListen) {
            Some(_wins) => None,
            None => path(flags, environment),
        };
        let mut document = document::read(file)?;
        let expansion = variables::expand(&mut document, environment);
        resolve::admin_listen(&document, expansion, overrides)
    }

    /// Reads only where the database is; `None` if there is none.
    ///
    /// # Errors
    ///
    /// A named file that cannot be read, or a URL that is spelled wrong.
    pub fn database(
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Option<Database>, ConfigErrors> {
        let overrides = Overrides { flags, environment };
        let file = match overrides.get(Setting::Database) {
            Some(_wins) => None,
            None => path(flags, environment),
        };
        let mut document = document::read(file)?;
        let expansion = variables::expand(&mut document, environment);
        resolve::database(&document, expansion, overrides)
    }

    /// As [`Config::admin_listen`], but without what the file says if it cannot be read. For `weir
    /// healthcheck`: a bad file must not make a healthy process look unhealthy.
    ///
    /// # Errors
    ///
    /// An address that a flag or the environment spells wrong.
    pub fn admin_listen_if_readable(
        flags: &Flags,
        environment: &Environment,
    ) -> Result<SocketAddr, ConfigErrors> {
        let overrides = Overrides { flags, environment };
        let without_file =
            || resolve::admin_listen(&Document::empty(), Expansion::default(), overrides);
        Self::admin_listen(flags, environment).or_else(|_faults| without_file())
    }
}

fn path<'a>(flags: &'a Flags, environment: &'a Environment) -> Option<&'a Path> {
    let from_environment = || environment.config_path();
    flags.config.as_deref().or_else(from_environment)
}

/// The default of `redirect.origin_clusters`.
pub const ORIGIN_CLUSTER: &str = "origin-cluster";
