//! `upstream`: its servers, and how one is chosen.

use std::time::Duration;

use crate::import::{
    nginx::{tree::Directive, units::time},
    plan::{Backend, Balance, Ejection, Scheme, State},
    remark::Remarks,
};

/// An `upstream`, whatever it speaks.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) line: usize,
    pub(super) balance: Balance,
    /// Their scheme is that of what leads to them.
    pub(super) backends: Vec<Backend>,
    pub(super) ejection: Option<Ejection>,
    pub(super) max_conns: Option<u32>,
    pub(super) slow_start: Option<Duration>,
}

/// What is a server's own in nginx and the upstream's in Weir.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shared {
    max_fails: u32,
    fail_timeout: Duration,
    max_conns: Option<u32>,
    slow_start: Option<Duration>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            max_fails: 1,
            fail_timeout: Duration::from_secs(10),
            max_conns: None,
            slow_start: None,
        }
    }
}

impl Definition {
    /// One that a `proxy_pass` makes by naming an address.
    pub(super) fn of_backend(backend: Backend) -> Self {
        let mut definition = Self::new(backend.line, Shared::default());
        definition.backends.push(backend);
        definition
    }

    fn new(line: usize, shared: Shared) -> Self {
        Self {
            line,
            balance: Balance::RoundRobin,
            backends: Vec::new(),
            ejection: (shared.max_fails > 0).then_some(Ejection {
                consecutive_failures: shared.max_fails,
                base_time: shared.fail_timeout,
            }),
            max_conns: shared.max_conns,
            slow_start: shared.slow_start,
        }
    }

    /// Reads `upstream NAME { … }`.
    pub(super) fn read(directive: &Directive, remarks: &mut Remarks) -> Self {
        let mut balance = Balance::RoundRobin;
        let mut backends = Vec::new();
        let mut first: Option<Shared> = None;
        for inner in directive.children() {
            match inner.name.as_str() {
                "server" => {
                    let (shared, backend) = server(inner, remarks);
                    if first.is_some_and(|first| first != shared) {
                        let reason =
                            "all backends of an upstream have the settings of the first one";
                        remarks.nearly(inner.line, &inner.text(), reason);
                    }
                    first.get_or_insert(shared);
                    backends.extend(backend);
                }
                _ => {
                    if let Some(chosen) = self::balance(inner, remarks) {
                        balance = chosen;
                    }
                }
            }
        }
        Self {
            balance,
            backends,
            ..Self::new(directive.line, first.unwrap_or_default())
        }
    }
}

/// The host and port of an address, `port` where it has none.
pub(super) fn host_port(text: &str, port: u16) -> Option<(String, u16)> {
    let is_bare = text.ends_with(']') || !text.contains(':');
    match text.rsplit_once(':') {
        Some((host, port)) if !is_bare => Some((host.to_owned(), port.parse().ok()?)),
        Some(_) | None => Some((text.to_owned(), port)),
    }
}

fn server(directive: &Directive, remarks: &mut Remarks) -> (Shared, Option<Backend>) {
    let mut shared = Shared::default();
    let address = directive.argument(0);
    let is_socket = address.starts_with("unix:");
    let Some((host, port)) = host_port(address, 80).filter(|_| !is_socket) else {
        remarks.left_out(
            directive.line,
            &directive.head(),
            "Weir connects to HOST:PORT",
        );
        return (shared, None);
    };
    let mut backend = Backend {
        line: directive.line,
        host,
        port,
        scheme: Scheme::Http,
        weight: 1,
        state: State::Enabled,
        is_backup: false,
    };
    for parameter in directive.arguments.iter().skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_read = match name {
            "weight" => set(&mut backend.weight, value.parse().ok()),
            "max_fails" => set(&mut shared.max_fails, value.parse().ok()),
            "fail_timeout" => set(&mut shared.fail_timeout, time(value)),
            "max_conns" => set(
                &mut shared.max_conns,
                value
                    .parse()
                    .ok()
                    .map(|count| Some(count).filter(|count| *count > 0)),
            ),
            "slow_start" => set(&mut shared.slow_start, time(value).map(Some)),
            "backup" => set(&mut backend.is_backup, Some(true)),
            "down" => set(&mut backend.state, Some(State::Disabled)),
            "drain" => set(&mut backend.state, Some(State::Draining)),
            // Names are always followed.
            "resolve" => true,
            _ => false,
        };
        if !is_read {
            let what = format!("server {address} {parameter}");
            remarks.left_out(directive.line, &what, "Weir has no equivalent");
        }
    }
    (shared, Some(backend))
}

fn set<T>(slot: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *slot = value;
            true
        }
        None => false,
    }
}

fn balance(directive: &Directive, remarks: &mut Remarks) -> Option<Balance> {
    let (line, what) = (directive.line, directive.text());
    let hashed = |by: &str| Balance::ConsistentHash {
        by: by.to_owned(),
        bound_percent: None,
    };
    match directive.name.as_str() {
        "least_conn" => return Some(Balance::LeastConnections),
        "ip_hash" => {
            remarks.nearly(
                line,
                &what,
                "the hash is consistent, and of the whole address",
            );
            return Some(hashed("client_address"));
        }
        "random" => {
            if directive.argument(0) != "two" {
                remarks.nearly(line, &what, "the better of two is taken");
            }
            return Some(Balance::RandomTwo);
        }
        "hash" => match hash_key(directive.argument(0)) {
            Some(by) => {
                if directive.argument(1) != "consistent" {
                    remarks.nearly(line, &what, "the hash is consistent, so keys move once");
                }
                return Some(hashed(&by));
            }
            None => {
                let reason = "backends take turns; Weir hashes the client's address, the path, a header or a cookie";
                remarks.left_out(line, &what, reason);
            }
        },
        "keepalive" | "keepalive_requests" | "keepalive_timeout" | "keepalive_time" | "zone" => {
            remarks.not_needed(
                line,
                &what,
                "Weir keeps and shares connections and state by itself",
            );
        }
        "resolver" | "resolver_timeout" => {
            remarks.not_needed(line, &what, "Weir uses the system's name servers");
        }
        _ => remarks.left_out(line, &what, "Weir has no equivalent"),
    }
    None
}

fn hash_key(key: &str) -> Option<String> {
    match key {
        "$remote_addr" | "$binary_remote_addr" => Some("client_address".to_owned()),
        "$request_uri" | "$uri" => Some("path".to_owned()),
        _ => {
            let is_name = |name: &&str| {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                !name.is_empty() && name.bytes().all(is_plain)
            };
            let header = key.strip_prefix("$http_").filter(is_name);
            let cookie = key.strip_prefix("$cookie_").filter(is_name);
            header
                .map(|name| format!("header:{}", name.replace('_', "-")))
                .or_else(|| cookie.map(|name| format!("cookie:{name}")))
        }
    }
}
