//! One of `upstreams`.

use crate::import::{
    plan::{
        Backend, Balance, Check, HttpProbe, Probe, Scheme, State, Upstream, backend_url,
        duration_text,
    },
    write::parts::{entry, list_of, pairs, span, text, word},
    yaml::{Entry, Item, Node},
};

/// The keys of an upstream.
pub(super) fn upstream(upstream: &Upstream) -> Vec<Entry> {
    let mut entries = balance(upstream);
    entries.push(entry("backends", list_of(&upstream.backends, backend)));
    entries.push(health_check(upstream.check.as_ref()));
    entries.push(match upstream.ejection {
        None => entry("ejection", Node::Scalar(word("off"))),
        Some(ejection) => {
            let time = word(duration_text(ejection.base_time));
            let failures = word(ejection.consecutive_failures);
            let keys = vec![
                ("consecutive_failures", failures),
                ("base_time", time.clone()),
                ("max_time", time),
                ("max_percent", word("100%")),
            ];
            entry("ejection", Node::Flow(keys))
        }
    });
    let is_tcp = upstream.scheme == Scheme::Tcp;
    entries.extend(span("slow_start", upstream.slow_start));
    entries.extend(span("connect_timeout", upstream.connect_timeout));
    if !is_tcp {
        entries.extend(span("response_timeout", upstream.response_timeout));
    }
    entries.extend(span("idle_timeout", upstream.idle_timeout));
    if let Some(max) = upstream.max_sessions {
        let key = if is_tcp {
            "max_connections"
        } else {
            "max_requests"
        };
        entries.push(entry(key, Node::Scalar(word(max))));
    }
    entries.extend(queue(upstream));
    if is_tcp {
        entries.extend(sessions(upstream));
    }
    entries.extend(tls(upstream));
    entries
}

fn balance(upstream: &Upstream) -> Vec<Entry> {
    let is_tcp = upstream.scheme == Scheme::Tcp;
    let name = |name: &str| entry("balance", Node::Scalar(word(name)));
    match &upstream.balance {
        Balance::RoundRobin => vec![name("round_robin")],
        Balance::LeastConnections => vec![name("least_connections")],
        Balance::RandomTwo => vec![name("random_two")],
        Balance::ConsistentHash { by, bound_percent } => {
            let mut entries = vec![name("consistent_hash")];
            // Of a session nothing but the client's address is known.
            if !is_tcp {
                entries.push(entry("hash_by", Node::Scalar(text(by))));
            }
            let bound = bound_percent.map_or(UNBOUNDED_PERCENT, |bound| {
                bound.clamp(100, UNBOUNDED_PERCENT)
            });
            entries.push(entry("load_bound", Node::Scalar(word(format!("{bound}%")))));
            entries
        }
    }
}

fn backend(backend: &Backend) -> Item {
    let url = backend_url(backend.scheme, &backend.host, backend.port).unwrap_or_default();
    let mut keys = Vec::new();
    if backend.weight != 1 {
        keys.push(("weight", word(backend.weight)));
    }
    match backend.state {
        State::Enabled => {}
        State::Draining => keys.push(("state", word("draining"))),
        State::Disabled => keys.push(("state", word("disabled"))),
    }
    if backend.is_backup {
        keys.push(("backup", word("true")));
    }
    let value = match keys.is_empty() {
        true => Node::Scalar(text(&url)),
        false => {
            keys.insert(0, ("url", text(&url)));
            Node::Flow(keys)
        }
    };
    Item {
        value,
        line: Some(backend.line),
    }
}

fn health_check(check: Option<&Check>) -> Entry {
    let Some(check) = check else {
        return entry("health_check", Node::Scalar(word("off")));
    };
    let mut entries = match &check.probe {
        Probe::Http(probe) => http_probe(probe),
        Probe::Postgres => vec![entry("postgres", Node::Scalar(word("any")))],
        Probe::Redis { is_primary } => {
            let role = if *is_primary { "primary" } else { "any" };
            vec![entry("redis", Node::Scalar(word(role)))]
        }
        Probe::Mysql { user } => {
            let mut entries = vec![entry("mysql", Node::Scalar(word("true")))];
            let user = user.as_ref();
            entries.extend(user.map(|user| entry("user", Node::Scalar(text(user)))));
            entries
        }
        Probe::Tcp { send, expect } => {
            let mut entries = vec![entry("tcp", Node::Scalar(word("true")))];
            let said = [("send", send), ("expect", expect)].into_iter();
            entries.extend(
                said.filter_map(|(key, said)| Some(entry(key, Node::Scalar(text(said.as_ref()?))))),
            );
            entries
        }
    };
    let port = check
        .port
        .map(|port| entry("port", Node::Scalar(word(port))));
    entries.extend(port);
    entries.extend(span("interval", Some(check.interval)));
    entries.extend(span("timeout", Some(check.timeout)));
    entries.push(entry("rise", Node::Scalar(word(check.rise))));
    entries.push(entry("fall", Node::Scalar(word(check.fall))));
    entry("health_check", Node::Map(entries))
}

fn http_probe(probe: &HttpProbe) -> Vec<Entry> {
    let mut entries = vec![
        entry("http", Node::Scalar(text(&probe.path))),
        entry("method", Node::Scalar(text(&probe.method))),
    ];
    if let Some(host) = &probe.host {
        entries.push(entry("host", Node::Scalar(text(host))));
    }
    if !probe.headers.is_empty() {
        entries.push(entry("headers", pairs(&probe.headers)));
    }
    if let Some(status) = &probe.status {
        entries.push(entry("status", Node::Scalar(word(status))));
    }
    entries
}

fn queue(upstream: &Upstream) -> Option<Entry> {
    let mut keys = Vec::new();
    keys.extend(upstream.queue_length.map(|length| ("length", word(length))));
    let timeout = upstream.queue_timeout;
    keys.extend(timeout.map(|timeout| ("timeout", word(duration_text(timeout)))));
    (!keys.is_empty()).then(|| entry("queue", Node::Flow(keys)))
}

fn sessions(upstream: &Upstream) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(version) = upstream.send_proxy_protocol {
        entries.push(entry("send_proxy_protocol", Node::Scalar(word(version))));
    }
    if upstream.closes_sessions {
        entries.push(entry(
            "on_marked_down",
            Node::Scalar(word("close_sessions")),
        ));
    }
    entries
}

fn tls(upstream: &Upstream) -> Option<Entry> {
    if upstream.scheme != Scheme::Https {
        return None;
    }
    let mut keys = Vec::new();
    keys.extend(
        upstream
            .ca_file
            .as_ref()
            .map(|file| ("ca_file", text(file))),
    );
    keys.extend(
        upstream
            .server_name
            .as_ref()
            .map(|name| ("server_name", text(name))),
    );
    (!keys.is_empty()).then(|| entry("tls", Node::Flow(keys)))
}

/// The most that `load_bound` takes.
const UNBOUNDED_PERCENT: u32 = 10_000;
