//! Frontends, backends and listens, with the settings that they inherit.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use crate::import::{
    haproxy::{
        acl::Acl,
        checks::CheckOptions,
        directives,
        sections::{Kind, Section},
        server::{Server, ServerSettings},
        stats::Stats,
    },
    plan::{Balance, HeaderRules},
    remark::Remarks,
    syntax::Fault,
};

/// What a file says, section by section.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    pub(super) proxies: Vec<Proxy>,
    pub(super) global: Global,
}

/// What is said of the whole process.
#[derive(Debug, Default)]
pub(super) struct Global {
    /// `maxconn`
    pub(super) maxconn: Option<u32>,
    /// `hold valid` of a `resolvers`.
    pub(super) hold_valid: Option<Duration>,
}

/// One `frontend`, `backend` or `listen`.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) settings: Settings,
    pub(super) binds: Vec<Bind>,
    pub(super) servers: Vec<Server>,
    /// By their names, with how many conditions they have.
    pub(super) acls: HashMap<String, Acl>,
    pub(super) uses: Vec<UseBackend>,
    /// Networks whose connections begin with a PROXY header.
    pub(super) proxied_from: Vec<String>,
}

/// What a section may inherit.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) mode: Option<Mode>,
    pub(super) timeouts: Timeouts,
    pub(super) balance: Option<Balance>,
    /// `hash-balance-factor`
    pub(super) hash_bound: Option<u32>,
    /// Where `stick on src` stands.
    pub(super) sticks: Option<usize>,
    pub(super) check: CheckOptions,
    /// `option allbackups`
    pub(super) uses_all_backups: bool,
    pub(super) server: ServerSettings,
    pub(super) default_backend: Option<(usize, String)>,
    /// Where `option httplog` or `tcplog` stands.
    pub(super) logs: Option<usize>,
    pub(super) stats: Stats,
    pub(super) request: HeaderRules,
    pub(super) response: HeaderRules,
}

/// `mode`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Tcp,
    Http,
}

impl Settings {
    /// TCP is HAProxy's default.
    pub(super) fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::Tcp)
    }
}

/// `timeout`
#[derive(Clone, Debug, Default)]
pub(super) struct Timeouts {
    pub(super) connect: Option<Duration>,
    pub(super) client: Option<Duration>,
    pub(super) server: Option<Duration>,
    pub(super) queue: Option<Duration>,
    pub(super) check: Option<Duration>,
    pub(super) http_request: Option<Duration>,
    pub(super) http_keep_alive: Option<Duration>,
    pub(super) tunnel: Option<Duration>,
    pub(super) client_fin: Option<Duration>,
    pub(super) server_fin: Option<Duration>,
}

/// A `bind` in the clear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bind {
    pub(super) line: usize,
    pub(super) addr: SocketAddr,
}

/// A `use_backend`, with the hosts and paths of which it takes any.
#[derive(Debug)]
pub(super) struct UseBackend {
    pub(super) line: usize,
    pub(super) backend: String,
    pub(super) matches: Vec<crate::import::haproxy::acl::Match>,
}

/// Reads all sections.
///
/// # Errors
///
/// Where a section is named by no other, or has no name.
pub(super) fn proxies(sections: &[Section], remarks: &mut Remarks) -> Result<Proxies, Fault> {
    let mut found = Proxies::default();
    let mut named: HashMap<&str, Settings> = HashMap::new();
    let mut defaults = Settings::default();
    for section in sections {
        let inherited = match &section.from {
            Some(from) => named.get(from.as_str()).cloned().ok_or_else(|| {
                Fault::new(
                    section.line,
                    format!("there is no defaults section {from:?}"),
                )
            })?,
            // A section of defaults begins anew.
            None if section.kind == Kind::Defaults => Settings::default(),
            None => defaults.clone(),
        };
        match section.kind {
            Kind::Global => directives::global(section, &mut found.global, remarks),
            Kind::Resolvers => directives::resolvers(section, &mut found.global, remarks),
            Kind::Other => {
                remarks.left_out(section.line, &section.title, "Weir has no such section");
            }
            Kind::Defaults => {
                let proxy = proxy(section, inherited, remarks);
                named.insert(&section.name, proxy.settings.clone());
                defaults = proxy.settings;
            }
            Kind::Frontend | Kind::Backend | Kind::Listen => {
                if section.name.is_empty() {
                    return Err(Fault::new(section.line, "the section has no name"));
                }
                found.proxies.push(proxy(section, inherited, remarks));
            }
        }
    }
    Ok(found)
}

fn proxy(section: &Section, settings: Settings, remarks: &mut Remarks) -> Proxy {
    let mut proxy = Proxy {
        kind: section.kind,
        name: section.name.clone(),
        line: section.line,
        settings,
        binds: Vec::new(),
        servers: Vec::new(),
        acls: HashMap::new(),
        uses: Vec::new(),
        proxied_from: Vec::new(),
    };
    for line in &section.lines {
        directives::directive(&mut proxy, line, remarks);
    }
    proxy
}
