//! From frontends and backends to a plan.

use std::collections::HashMap;

use crate::import::{
    haproxy::{
        proxy::{Mode, Proxies, Proxy},
        routes,
        sections::Kind,
        upstreams::upstream,
    },
    plan::{
        AccessLog, Admin, BodyLimit, HeaderRules, HttpListener, Names, Plan, Route, TcpListener,
    },
    remark::Remarks,
};

/// The plan of a whole file.
pub(super) fn plan(found: Proxies, remarks: &mut Remarks) -> Plan {
    let mut plan = Plan::default();
    let mut names = Names::default();
    let mut backends: HashMap<&str, Target<'_>> = HashMap::new();
    for proxy in found.proxies.iter().filter(|proxy| holds_servers(proxy)) {
        let title = format!("backend {}", proxy.name);
        let name = names.take(remarks, proxy.line, &title, &proxy.name);
        plan.upstreams.push(upstream(proxy, name.clone(), remarks));
        backends
            .entry(&proxy.name)
            .or_insert(Target { name, proxy });
    }
    for proxy in found
        .proxies
        .iter()
        .filter(|proxy| proxy.kind != Kind::Backend)
    {
        if shows_statistics_alone(proxy) {
            admin(&mut plan, proxy, remarks);
            continue;
        }
        if let Some(line) = proxy.settings.stats.enabled {
            let reason =
                "Weir's admin pages are on a listener of their own, 127.0.0.1:8404 by default";
            remarks.nearly(line, "stats", reason);
        }
        if proxy.binds.is_empty() {
            let reason = "it listens nowhere that Weir could";
            remarks.left_out(proxy.line, &proxy.name, reason);
            continue;
        }
        match proxy.settings.mode() {
            Mode::Tcp => tcp_listeners(&mut plan, proxy, &backends, remarks),
            Mode::Http => http_listeners(&mut plan, proxy, &backends, remarks),
        }
        connections(&mut plan, proxy);
        if let Some(line) = proxy.settings.logs
            && plan.access_log.is_none()
        {
            let what = match proxy.settings.mode() {
                Mode::Tcp => "option tcplog",
                Mode::Http => "option httplog",
            };
            remarks.nearly(
                line,
                what,
                "requests are logged in the combined format, on standard output",
            );
            plan.access_log = Some(AccessLog { line, file: None });
        }
    }
    plan.connections.limit = found.global.maxconn.filter(|count| *count > 0);
    plan.max_ttl = found.global.hold_valid;
    plan
}

/// An upstream, and the section that it was.
struct Target<'a> {
    name: String,
    proxy: &'a Proxy,
}

fn holds_servers(proxy: &Proxy) -> bool {
    matches!(proxy.kind, Kind::Backend | Kind::Listen) && !proxy.servers.is_empty()
}

fn shows_statistics_alone(proxy: &Proxy) -> bool {
    let leads_somewhere = !proxy.servers.is_empty()
        || !proxy.uses.is_empty()
        || proxy.settings.default_backend.is_some();
    proxy.settings.stats.enabled.is_some() && !leads_somewhere && !proxy.binds.is_empty()
}

fn admin(plan: &mut Plan, proxy: &Proxy, remarks: &mut Remarks) {
    for bind in &proxy.binds {
        if plan.admin.is_none() {
            plan.admin = Some(Admin {
                line: bind.line,
                listen: bind.addr,
            });
        } else {
            remarks.left_out(
                bind.line,
                &format!("bind {}", bind.addr),
                "there is one admin listener",
            );
        }
    }
}

fn tcp_listeners(
    plan: &mut Plan,
    proxy: &Proxy,
    backends: &HashMap<&str, Target<'_>>,
    remarks: &mut Remarks,
) {
    for used in &proxy.uses {
        let what = format!("use_backend {}", used.backend);
        remarks.left_out(used.line, &what, "a TCP listener leads to one upstream");
    }
    let (line, wanted) = match &proxy.settings.default_backend {
        Some((line, name)) => (*line, name.as_str()),
        None => (proxy.line, proxy.name.as_str()),
    };
    let Some(target) = backends.get(wanted) else {
        return remarks.left_out(
            line,
            &proxy.name,
            format!("there is no backend {wanted} with servers"),
        );
    };
    let timeouts = &proxy.settings.timeouts;
    for bind in &proxy.binds {
        if !plan.has_room(0) {
            remarks.left_out(bind.line, &format!("bind {}", bind.addr), TOO_MANY);
            continue;
        }
        plan.tcp.push(TcpListener {
            line: bind.line,
            listen: bind.addr,
            upstream: target.name.clone(),
            idle_timeout: timeouts.tunnel.or(timeouts.client),
            half_open_timeout: timeouts.client_fin.max(timeouts.server_fin),
            proxy_protocol_from: proxy.proxied_from.clone(),
        });
    }
}

fn http_listeners(
    plan: &mut Plan,
    proxy: &Proxy,
    backends: &HashMap<&str, Target<'_>>,
    remarks: &mut Remarks,
) {
    let mut found: Vec<Route> = Vec::new();
    for mut route in routes::routes(proxy, remarks) {
        let Some(target) = backends.get(route.upstream.as_str()) else {
            let what = format!("use_backend {}", route.upstream);
            remarks.left_out(route.line, &what, "there is no such backend with servers");
            continue;
        };
        route.upstream = target.name.clone();
        // A listen's own rules are those of both sides.
        let own = &proxy.settings;
        let backend = &target.proxy.settings;
        let is_same = std::ptr::eq(proxy, target.proxy);
        let request = [Some(&own.request), (!is_same).then_some(&backend.request)];
        let response = [(!is_same).then_some(&backend.response), Some(&own.response)];
        route.request = joined(request);
        route.response = joined(response);
        found.push(route);
    }
    for bind in &proxy.binds {
        if !plan.has_room(found.len()) {
            remarks.left_out(bind.line, &format!("bind {}", bind.addr), TOO_MANY);
            continue;
        }
        plan.http.push(HttpListener {
            line: bind.line,
            listen: bind.addr,
            routes: found.clone(),
            // HAProxy knows no limit.
            body_limit: BodyLimit::Unlimited,
            refuses_upgrades: false,
            trusted_proxies: Vec::new(),
            rate_limit: None,
        });
    }
}

fn joined(rules: [Option<&HeaderRules>; 2]) -> HeaderRules {
    let mut joined = HeaderRules::default();
    for rules in rules.into_iter().flatten() {
        joined.extend(rules);
    }
    joined
}

/// Of all sections, the longest times: they hold for every listener.
fn connections(plan: &mut Plan, proxy: &Proxy) {
    if proxy.settings.mode() == Mode::Tcp {
        return;
    }
    let timeouts = &proxy.settings.timeouts;
    let request = timeouts.http_request.or(timeouts.client);
    let idle = timeouts.http_keep_alive.or(request);
    let connections = &mut plan.connections;
    connections.header_timeout = connections.header_timeout.max(request);
    connections.idle_timeout = connections.idle_timeout.max(idle);
}

const TOO_MANY: &str = "there are too many listeners and routes";
