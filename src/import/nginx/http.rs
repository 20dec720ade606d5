//! `http`: servers that share an address become one listener.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::import::{
    nginx::{
        location::Context,
        rate_limits,
        server::Server,
        settings::Settings,
        tree::Directive,
        units::{size, time},
        upstream::Definition,
    },
    plan::{AccessLog, BodyLimit, HttpListener, Names, Plan, Route},
    remark::Remarks,
};

/// Reads what stands in `http`.
pub(super) fn read(
    directives: &[&Directive],
    plan: &mut Plan,
    names: &mut Names,
    remarks: &mut Remarks,
) {
    let mut context = Context::default();
    for directive in directives {
        match directive.name.as_str() {
            "upstream" => {
                let definition = Definition::read(directive, remarks);
                context
                    .targets
                    .define(directive.argument(0), definition, remarks);
            }
            "limit_req_zone" => context.zones.define(directive, remarks),
            _ => {}
        }
    }
    let mut settings = Settings::default();
    settings.read(directives.iter().copied(), is_of_http, remarks);
    let of_servers = directives
        .iter()
        .filter(|directive| directive.name == "server");
    let servers: Vec<Server> = of_servers
        .map(|directive| Server::read(directive, &settings, &mut context, names, remarks))
        .collect();
    // What holds for all connections may stand in a server, too.
    for directive in directives {
        process_wide(plan, directive, remarks);
        for inner in directive
            .children()
            .iter()
            .filter(|_| directive.name == "server")
        {
            process_wide(plan, inner, remarks);
        }
    }
    context.targets.tell_unused(remarks);
    plan.upstreams.append(&mut context.targets.upstreams);
    for group in groups(&servers) {
        listener(plan, &group, remarks);
    }
    if !plan.http.is_empty() {
        // nginx's own, where nothing else is said.
        plan.connections
            .header_timeout
            .get_or_insert(Duration::from_secs(60));
    }
    rate_limits::hoist(plan, remarks);
}

/// What [`read`] reads itself.
fn is_of_http(directive: &Directive) -> bool {
    matches!(
        directive.name.as_str(),
        "upstream" | "limit_req_zone" | "server"
    )
}

/// The servers of an address.
struct Group<'a> {
    line: usize,
    addr: SocketAddr,
    servers: Vec<&'a Server>,
    /// The place of the one that takes requests for unknown hosts.
    default: usize,
}

/// Servers by address, in the order of the file. To Weir `[::]` is all addresses, so those of `0.0.0.0`
/// are among its.
fn groups(servers: &[Server]) -> Vec<Group<'_>> {
    let all = servers.iter().flat_map(|server| &server.listens);
    let of_both: std::collections::HashSet<u16> = all
        .filter(|listen| listen.addr.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED))
        .map(|listen| listen.addr.port())
        .collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<SocketAddr, usize> = HashMap::new();
    for server in servers {
        for listen in &server.listens {
            let is_everywhere = listen.addr.ip().is_unspecified();
            let addr = match is_everywhere && of_both.contains(&listen.addr.port()) {
                true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, listen.addr.port())),
                false => listen.addr,
            };
            let at = *known.entry(addr).or_insert_with(|| {
                groups.push(Group {
                    line: listen.line,
                    addr,
                    servers: Vec::new(),
                    default: 0,
                });
                groups.len() - 1
            });
            let Some(group) = groups.get_mut(at) else {
                continue;
            };
            let is_there = group
                .servers
                .last()
                .is_some_and(|last| std::ptr::eq(*last, server));
            if !is_there {
                group.servers.push(server);
            }
            if listen.is_default {
                group.default = group.servers.len() - 1;
            }
        }
    }
    groups
}

fn listener(plan: &mut Plan, group: &Group<'_>, remarks: &mut Remarks) {
    let mut found = HttpListener {
        line: group.line,
        listen: group.addr,
        routes: Vec::new(),
        body_limit: BodyLimit::Bytes(0),
        refuses_upgrades: true,
        trusted_proxies: Vec::new(),
        rate_limit: None,
    };
    let mut limits = Vec::new();
    for (index, server) in group.servers.iter().enumerate() {
        let hosts: Vec<Option<&String>> = match index == group.default {
            true => vec![None],
            false => server.hosts.iter().map(Some).collect(),
        };
        if index != group.default {
            for pattern in &server.patterns {
                let reason =
                    "a route's host is a whole name: these requests go to the default server";
                remarks.left_out(server.line, &format!("server_name {pattern}"), reason);
            }
        }
        if !plan.has_room(found.routes.len() + hosts.len() * server.routes.len()) {
            remarks.left_out(
                server.line,
                "server",
                "there are too many listeners and routes",
            );
            continue;
        }
        if index != group.default && !hosts.is_empty() {
            tell_fallback(server, group, remarks);
        }
        for route in &server.routes {
            limits.push((route.route.line, route.body_limit));
            found.refuses_upgrades &= !route.upgrades;
            let of_hosts = hosts.iter().map(|host| Route {
                host: host.cloned(),
                ..route.route.clone()
            });
            found.routes.extend(of_hosts);
        }
        if found.trusted_proxies.is_empty() {
            found.trusted_proxies.clone_from(&server.trusted);
        }
    }
    found.body_limit = body_limit(&limits, remarks);
    plan.http.push(found);
}

/// A host's paths that no route of its own takes go to routes of any host.
fn tell_fallback(server: &Server, group: &Group<'_>, remarks: &mut Remarks) {
    let default = group.servers.get(group.default);
    let has_default = default.is_some_and(|default| !default.routes.is_empty());
    let takes_all = server.routes.iter().any(|route| route.route.path == "/");
    if has_default && !takes_all {
        let what = format!("server_name {}", server.hosts.join(" "));
        let reason = "paths that it has no route for take the default server's routes";
        remarks.nearly(server.line, &what, reason);
    }
}

/// A listener has one limit: the largest.
fn body_limit(limits: &[(usize, BodyLimit)], remarks: &mut Remarks) -> BodyLimit {
    let largest = limits.iter().map(|(_, limit)| *limit).max();
    let largest = largest.unwrap_or(BodyLimit::Bytes(1 << 20));
    for (line, _) in limits.iter().filter(|(_, limit)| *limit != largest) {
        remarks.nearly(
            *line,
            "client_max_body_size",
            "a listener has one body_limit, here the largest of its routes",
        );
    }
    largest
}

/// Reads what Weir knows once for all listeners.
fn process_wide(plan: &mut Plan, directive: &Directive, remarks: &mut Remarks) {
    let value = directive.argument(0);
    let what = directive.text();
    match directive.name.as_str() {
        "client_header_timeout" => {
            plan.connections.header_timeout = plan.connections.header_timeout.max(time(value));
        }
        "keepalive_timeout" => match time(value) {
            Some(time) if !time.is_zero() => {
                plan.connections.idle_timeout = plan.connections.idle_timeout.max(Some(time));
            }
            _ => remarks.left_out(directive.line, &what, "connections are kept"),
        },
        "large_client_header_buffers" => {
            let bytes = value.parse::<u64>().ok().zip(size(directive.argument(1)));
            let bytes = bytes.and_then(|(count, size)| count.checked_mul(size));
            plan.connections.max_header_size = plan.connections.max_header_size.max(bytes);
        }
        "limit_conn" => {
            plan.connections.per_client_limit = directive
                .argument(1)
                .parse()
                .ok()
                .filter(|count| *count > 0);
            let reason =
                "connections.per_client_limit holds for all listeners, and counts connections";
            remarks.nearly(directive.line, &what, reason);
        }
        "access_log" if value == "off" => {}
        "access_log"
            if plan.access_log.is_none() && value.starts_with('/') && !value.contains('$') =>
        {
            remarks.nearly(
                directive.line,
                &what,
                "lines are combined, with further fields behind",
            );
            plan.access_log = Some(AccessLog {
                line: directive.line,
                file: Some(value.to_owned()),
            });
        }
        "access_log" => remarks.left_out(directive.line, &what, "there is one access_log"),
        _ => {}
    }
}
