//! From a plan to the entries of a Weir file.

mod parts;
mod upstream;

use crate::import::{
    plan::{
        BodyLimit, Connections, HeaderRules, HttpListener, Plan, RateLimit, Route, TcpListener,
        duration_text,
    },
    write::parts::{addr, entry, list, pairs, size_text, span, text, word, words},
    yaml::{Entry, Node},
};

/// The whole file.
pub(super) fn file(plan: &Plan) -> Vec<Entry> {
    let mut entries = Vec::new();
    if !plan.tcp.is_empty() {
        entries.push(entry(
            "tcp",
            list(&plan.tcp, |tcp| (tcp_listener(tcp), tcp.line)),
        ));
    }
    if !plan.http.is_empty() {
        entries.push(entry(
            "http",
            list(&plan.http, |http| (http_listener(http), http.line)),
        ));
    }
    let upstreams = plan.upstreams.iter().map(|upstream| Entry {
        key: text(&upstream.name),
        value: Node::Map(upstream::upstream(upstream)),
        line: Some(upstream.line),
    });
    entries.push(entry("upstreams", Node::Map(upstreams.collect())));
    if let Some(limit) = &plan.rate_limit {
        entries.push(rate_limit(limit));
    }
    let connections = connections(&plan.connections);
    if !connections.is_empty() {
        entries.push(entry("connections", Node::Map(connections)));
    }
    if let Some(admin) = plan.admin {
        let listen = text(&admin.listen.to_string());
        entries.push(Entry {
            line: Some(admin.line),
            ..entry("admin", Node::Flow(vec![("listen", listen)]))
        });
    }
    if let Some(max_ttl) = plan.max_ttl {
        let max_ttl = word(duration_text(max_ttl));
        entries.push(entry("resolve", Node::Flow(vec![("max_ttl", max_ttl)])));
    }
    if let Some(log) = &plan.access_log {
        let mut keys = vec![("format", word("combined"))];
        keys.extend(log.file.as_ref().map(|file| ("file", text(file))));
        entries.push(Entry {
            line: Some(log.line),
            ..entry("access_log", Node::Flow(keys))
        });
    }
    entries
}

fn tcp_listener(tcp: &TcpListener) -> Vec<Entry> {
    let mut entries = vec![
        entry("listen", Node::Scalar(addr(&tcp.listen.to_string()))),
        entry("upstream", Node::Scalar(text(&tcp.upstream))),
    ];
    entries.extend(span("idle_timeout", tcp.idle_timeout));
    entries.extend(span("half_open_timeout", tcp.half_open_timeout));
    if !tcp.proxy_protocol_from.is_empty() {
        entries.push(entry(
            "proxy_protocol_from",
            words(&tcp.proxy_protocol_from),
        ));
    }
    entries
}

fn http_listener(http: &HttpListener) -> Vec<Entry> {
    let mut entries = vec![entry(
        "listen",
        Node::Scalar(addr(&http.listen.to_string())),
    )];
    let limit = match http.body_limit {
        BodyLimit::Unlimited => "none".to_owned(),
        BodyLimit::Bytes(bytes) => size_text(bytes),
    };
    entries.push(entry("body_limit", Node::Scalar(word(limit))));
    if http.refuses_upgrades {
        entries.push(entry("upgrades", Node::Words(Vec::new())));
    }
    if !http.trusted_proxies.is_empty() {
        entries.push(entry("trusted_proxies", words(&http.trusted_proxies)));
    }
    entries.extend(http.rate_limit.as_ref().map(rate_limit));
    entries.push(entry(
        "routes",
        list(&http.routes, |route| (self::route(route), route.line)),
    ));
    entries
}

fn route(route: &Route) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(host) = &route.host {
        entries.push(entry("host", Node::Scalar(text(host))));
    }
    entries.push(entry("path", Node::Scalar(text(&route.path))));
    entries.push(entry("upstream", Node::Scalar(text(&route.upstream))));
    if route.strip_prefix {
        entries.push(entry("strip_prefix", Node::Scalar(word("true"))));
    }
    entries.extend(header_rules("request_headers", &route.request));
    entries.extend(header_rules("response_headers", &route.response));
    entries.extend(route.rate_limit.as_ref().map(rate_limit));
    entries
}

fn header_rules(key: &'static str, rules: &HeaderRules) -> Option<Entry> {
    let mut entries = Vec::new();
    if !rules.set.is_empty() {
        entries.push(entry("set", pairs(&rules.set)));
    }
    if !rules.remove.is_empty() {
        entries.push(entry("remove", words(&rules.remove)));
    }
    (!rules.is_empty()).then(|| entry(key, Node::Map(entries)))
}

fn rate_limit(limit: &RateLimit) -> Entry {
    let mut keys = vec![
        ("capacity", word(limit.capacity)),
        ("rate_per_sec", word(limit.rate_per_sec)),
    ];
    if limit.is_shadow {
        keys.push(("mode", word("shadow")));
    }
    Entry {
        line: Some(limit.line),
        ..entry("rate_limit", Node::Flow(keys))
    }
}

fn connections(connections: &Connections) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (key, limit) in [
        ("limit", connections.limit),
        ("per_client_limit", connections.per_client_limit),
    ] {
        entries.extend(limit.map(|limit| entry(key, Node::Scalar(word(limit)))));
    }
    entries.extend(span("header_timeout", connections.header_timeout));
    entries.extend(span("idle_timeout", connections.idle_timeout));
    let size = connections
        .max_header_size
        .map(|size| word(size_text(size)));
    entries.extend(size.map(|size| entry("max_header_size", Node::Scalar(size))));
    entries
}
