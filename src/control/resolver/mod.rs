//! Finds the addresses of a host, and how long they may be used.
//!
//! Asks as libc would: IP literals, `/etc/hosts`, then DNS with the search domains of
//! `/etc/resolv.conf`. Other than libc it gets the records' time to live. Keeps no answers: its
//! callers do, for as long as an answer says. Used by the control plane only; no request waits for
//! a name.

use std::{
    fs, io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name,
    system_conf,
};
use tokio::{net::lookup_host, task::spawn_blocking, time::timeout};

/// Asks for names. To be built once.
#[derive(Debug)]
pub(super) struct Resolver {
    dns: Mutex<Arc<Dns>>,
    /// The settings that the servers are of; `None` where they never change.
    settings: Option<Mutex<String>>,
}

impl Resolver {
    /// Asks the name servers of this machine. Where those are not to be found, that is logged and
    /// libc asks in our place; its answers have no time to live.
    pub(super) fn from_system() -> Self {
        let settings = fs::read_to_string(SETTINGS_FILE).unwrap_or_default();
        Self {
            dns: Mutex::new(Arc::new(Dns::from_system())),
            settings: Some(Mutex::new(settings)),
        }
    }

    /// Asks this name server, without search domains.
    ///
    /// # Errors
    ///
    /// When no client can be made.
    #[cfg(test)]
    pub(super) fn with_nameserver(addr: std::net::SocketAddr) -> Result<Self, ResolveError> {
        let server = name_server(addr);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let resolver = build(config, ResolverOpts::default()).map_err(ResolveError::Dns)?;
        Ok(Self::always(Dns::Servers(Box::new(resolver))))
    }

    /// Asks there, whatever the system's settings are.
    #[cfg(test)]
    fn always(dns: Dns) -> Self {
        Self {
            dns: Mutex::new(Arc::new(dns)),
            settings: None,
        }
    }

    /// All IPv4 and IPv6 addresses of a host.
    ///
    /// # Errors
    ///
    /// When there are none, or nobody could say within five seconds.
    pub(super) async fn lookup(&self, host: &str) -> Result<Answer, ResolveError> {
        if let Ok(addr) = host.parse() {
            return Answer::new(vec![addr], VALID_FOR_MAX);
        }
        match timeout(LOOKUP_TIME_MAX, self.lookup_name(host)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ResolveError::Timeout),
        }
    }

    async fn lookup_name(&self, host: &str) -> Result<Answer, ResolveError> {
        // Read each time, as libc does. Lookups are rare, and a container's files may change.
        let files = spawn_blocking(|| {
            let read = |file| fs::read_to_string(file).unwrap_or_default();
            (read(HOSTS_FILE), read(SETTINGS_FILE))
        });
        if let Ok((hosts, settings)) = files.await {
            self.follow_settings(settings);
            let addrs = addrs_in_hosts(&hosts, host);
            if !addrs.is_empty() {
                return Answer::new(addrs, VALID_FOR_UNKNOWN);
            }
        }
        let dns = Arc::clone(&self.dns.lock().unwrap_or_else(PoisonError::into_inner));
        match &*dns {
            Dns::Servers(resolver) => ask_servers(resolver, host).await,
            Dns::Libc => ask_libc(host).await,
        }
    }
}

impl Resolver {
    /// Asks other servers where the system's settings name others now.
    fn follow_settings(&self, settings: String) {
        let Some(known) = &self.settings else {
            return;
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != settings {
            *known = settings;
            tracing::info!(
                file = SETTINGS_FILE,
                "the system's DNS settings have changed"
            );
            *self.dns.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Dns::from_system());
        }
    }
}

/// The addresses of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    /// Sorted, each once; at least one and at most [`ADDRS_MAX`].
    pub(super) addrs: Vec<IpAddr>,
    /// When to ask again: the least time to live of all records, but within a second and five
    /// minutes.
    pub(super) valid_for: Duration,
}

impl Answer {
    fn new(mut addrs: Vec<IpAddr>, valid_for: Duration) -> Result<Self, ResolveError> {
        addrs.sort_unstable();
        addrs.dedup();
        if addrs.len() > ADDRS_MAX {
            let (found, used) = (addrs.len(), ADDRS_MAX);
            tracing::warn!(found, used, "a name has more addresses than are used");
        }
        addrs.truncate(ADDRS_MAX);
        if addrs.is_empty() {
            return Err(ResolveError::NotFound);
        }
        Ok(Self {
            addrs,
            valid_for: valid_for.clamp(VALID_FOR_MIN, VALID_FOR_MAX),
        })
    }
}

/// Why there are no addresses.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The host does not exist, or has no address.
    #[error("the host has no addresses")]
    NotFound,
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The name servers cannot be asked, or answered with a failure.
    #[error("the name servers failed")]
    Dns(#[source] NetError),
    /// libc, which was asked in place of name servers, failed.
    #[error("the system's resolver failed")]
    Libc(#[source] io::Error),
}

/// Who is asked.
#[derive(Debug)]
enum Dns {
    Servers(Box<TokioResolver>),
    Libc,
}

impl Dns {
    fn from_system() -> Self {
        let dns = system_conf::read_system_conf()
            .and_then(|(config, options)| build(as_libc_searches(config), options));
        match dns {
            Ok(resolver) => Self::Servers(Box::new(resolver)),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot read the system's DNS settings; names are asked of libc, every 30 seconds"
                );
                Self::Libc
            }
        }
    }
}

fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // `lookup_name` reads the file.
    options.use_hosts_file = ResolveHosts::Never;
    // A second memory would only keep refusals: a new service's name would stay unknown for as
    // long as its zone likes, often 15 minutes.
    options.cache_size = 0;
    // All attempts together must end before the lookup does. Some name servers never answer for
    // one of the two address families.
    options.timeout = options.timeout.min(ATTEMPT_TIME_MAX);
    options.attempts = options.attempts.min(RETRIES_MAX);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

#[cfg(test)]
fn name_server(addr: std::net::SocketAddr) -> hickory_resolver::config::NameServerConfig {
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = addr.port();
        connection
    });
    NameServerConfig::new(addr.ip(), true, connections.into())
}

/// To libc, the machine's own domain is a search domain only where none is set.
fn as_libc_searches(config: ResolverConfig) -> ResolverConfig {
    let (domain, search, servers) = config.into_parts();
    let domain = domain.filter(|_| search.is_empty());
    ResolverConfig::from_parts(domain, search, servers)
}

async fn ask_servers(resolver: &TokioResolver, host: &str) -> Result<Answer, ResolveError> {
    // The strict reading refuses underscores, which Docker Compose has in its names.
    let name = Name::from_str_relaxed(host).map_err(|error| ResolveError::Dns(error.into()))?;
    let lookup = match resolver.lookup_ip(name).await {
        Ok(lookup) => lookup,
        Err(error) if error.is_no_records_found() => return Err(ResolveError::NotFound),
        Err(NetError::Timeout) => return Err(ResolveError::Timeout),
        Err(error) => return Err(ResolveError::Dns(error)),
    };
    // Of all records: an alias may be the first to change.
    let records = lookup.as_lookup().answers().iter();
    let seconds = records.map(|record| record.ttl).min().unwrap_or(0);
    Answer::new(lookup.iter().collect(), Duration::from_secs(seconds.into()))
}

async fn ask_libc(host: &str) -> Result<Answer, ResolveError> {
    let addrs = lookup_host((host, 0)).await.map_err(ResolveError::Libc)?;
    Answer::new(addrs.map(|addr| addr.ip()).collect(), VALID_FOR_UNKNOWN)
}

/// What a hosts file says of a host.
fn addrs_in_hosts(hosts: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let addr_of = |line: &str| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let addr = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then_some(addr)
    };
    hosts.lines().filter_map(addr_of).collect()
}

/// For all of one lookup.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// For one question to one name server.
const ATTEMPT_TIME_MAX: Duration = Duration::from_millis(1_200);
/// After the first attempt.
const RETRIES_MAX: usize = 2;
/// More is no list of servers any more, but a mistake or an attack.
const ADDRS_MAX: usize = 256;
/// A shorter time to live would only keep name servers busy.
const VALID_FOR_MIN: Duration = Duration::from_secs(1);
/// A longer one would keep traffic at an address that its owner gave up in a hurry.
const VALID_FOR_MAX: Duration = Duration::from_secs(300);
/// For answers that do not say how long they hold.
const VALID_FOR_UNKNOWN: Duration = Duration::from_secs(30);
const SETTINGS_FILE: &str = "/etc/resolv.conf";
const HOSTS_FILE: &str = "/etc/hosts";

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
