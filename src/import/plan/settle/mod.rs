//! Brings a plan within what Weir takes, so that its own check accepts the file.

mod bounds;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::import::{
    plan::{Admin, Backend, Plan, Scheme, State, Upstream, backend_url},
    remark::Remarks,
};
use bounds::{bound, bound_listeners, bound_upstream};

/// Bounds values, and takes out what would lead nowhere.
pub(in crate::import) fn settle(plan: &mut Plan, remarks: &mut Remarks) {
    for upstream in &mut plan.upstreams {
        keep_distinct_backends(upstream, remarks);
        bound_upstream(upstream, remarks);
    }
    bound_listeners(plan, remarks);
    refuse_loops(plan, remarks);
    drop_dead_ends(plan, remarks);
    drop_clashes(plan, remarks);
    place_admin(plan, remarks);
}

fn keep_distinct_backends(upstream: &mut Upstream, remarks: &mut Remarks) {
    let mut known = HashSet::new();
    upstream.backends.retain(|backend| {
        let url = backend_url(backend.scheme, &backend.host, backend.port);
        let Some(url) = url else {
            let what = format!("server {}:{}", backend.host, backend.port);
            remarks.left_out(
                backend.line,
                &what,
                "this is no address that Weir connects to",
            );
            return false;
        };
        let is_new = known.insert(url.clone());
        if !is_new {
            remarks.left_out(backend.line, &format!("server {url}"), "it is there twice");
        }
        is_new
    });
    if !upstream.backends.is_empty() && upstream.backends.iter().all(|backend| backend.is_backup) {
        upstream
            .backends
            .iter_mut()
            .for_each(|backend| backend.is_backup = false);
    }
    for backend in &mut upstream.backends {
        if backend.weight == 0 {
            backend.state = match backend.state {
                State::Enabled => State::Draining,
                State::Draining | State::Disabled => backend.state,
            };
            backend.weight = 1;
        }
        let what = format!("weight={}", backend.weight);
        bound(
            remarks,
            backend.line,
            &what,
            &mut backend.weight,
            &(1..=1000),
        );
    }
}

/// Takes out backends that are a listener which leads to them.
fn refuse_loops(plan: &mut Plan, remarks: &mut Remarks) {
    let mut listeners: HashMap<String, Vec<SocketAddr>> = HashMap::new();
    for tcp in &plan.tcp {
        listeners
            .entry(tcp.upstream.clone())
            .or_default()
            .push(tcp.listen);
    }
    for http in &plan.http {
        let upstreams: HashSet<&String> = http.routes.iter().map(|route| &route.upstream).collect();
        for upstream in upstreams {
            listeners
                .entry(upstream.clone())
                .or_default()
                .push(http.listen);
        }
    }
    for upstream in &mut plan.upstreams {
        let Some(listeners) = listeners.get(&upstream.name) else {
            continue;
        };
        upstream.backends.retain(|backend| {
            let leads_back = listeners
                .iter()
                .any(|listen| is_reached_by(*listen, backend));
            if leads_back {
                let what = format!("server {}:{}", backend.host, backend.port);
                remarks.left_out(backend.line, &what, "it is the listener that leads to it");
            }
            !leads_back
        });
    }
}

fn is_reached_by(listen: SocketAddr, backend: &Backend) -> bool {
    let is_everywhere = listen.ip().is_unspecified();
    let ip = backend.host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_host = match ip {
        Ok(ip) => ip == listen.ip() || is_everywhere && ip.is_loopback(),
        Err(_name) => {
            let is_local = backend.host.eq_ignore_ascii_case("localhost");
            is_local && (is_everywhere || listen.ip().is_loopback())
        }
    };
    is_host && backend.port == listen.port() && listen.port() != 0
}

/// Takes out upstreams without backends, routes to them, and listeners without routes.
fn drop_dead_ends(plan: &mut Plan, remarks: &mut Remarks) {
    plan.upstreams.retain(|upstream| {
        let has_backends = !upstream.backends.is_empty();
        if !has_backends {
            let what = format!("upstream {}", upstream.name);
            remarks.left_out(upstream.line, &what, "it has no backend that Weir can use");
        }
        has_backends
    });
    let schemes: HashMap<&str, bool> = plan
        .upstreams
        .iter()
        .map(|upstream| (upstream.name.as_str(), upstream.scheme == Scheme::Tcp))
        .collect();
    plan.tcp.retain(|tcp| {
        let leads_there = schemes.get(tcp.upstream.as_str()) == Some(&true);
        if !leads_there {
            remarks.left_out(tcp.line, &format!("listener {}", tcp.listen), LEADS_NOWHERE);
        }
        leads_there
    });
    for http in &mut plan.http {
        let mut known = HashSet::new();
        http.routes.retain(|route| {
            let leads_there = schemes.get(route.upstream.as_str()) == Some(&false);
            if !leads_there {
                remarks.left_out(
                    route.line,
                    &format!("route to {}", route.upstream),
                    LEADS_NOWHERE,
                );
            }
            // Of two with the same host and path, the first one counted.
            leads_there && known.insert((route.host.clone(), route.path.clone()))
        });
    }
    plan.http.retain(|http| {
        let has_routes = !http.routes.is_empty();
        if !has_routes {
            remarks.left_out(
                http.line,
                &format!("listener {}", http.listen),
                LEADS_NOWHERE,
            );
        }
        has_routes
    });
}

/// Takes out listeners whose address an earlier one has. `[::]` takes IPv4 connections, too.
fn drop_clashes(plan: &mut Plan, remarks: &mut Remarks) {
    let admin = plan.admin.map(|admin| admin.listen);
    let tcp = plan.tcp.iter().map(|tcp| tcp.listen);
    let mut wanted: Vec<SocketAddr> = admin.into_iter().chain(tcp).collect();
    wanted.extend(plan.http.iter().map(|http| http.listen));
    // The address that covers another one is kept: it was asked for, too.
    let is_covered = |addr: SocketAddr| {
        let covers = |other: SocketAddr| {
            let (one, other_ip) = (addr.ip(), other.ip());
            let is_wider = other_ip.is_unspecified()
                && one != other_ip
                && (other_ip.is_ipv6() || one.is_ipv4());
            addr.port() == other.port() && is_wider
        };
        wanted.iter().copied().find(|other| covers(*other))
    };
    let mut taken: HashSet<SocketAddr> = admin.into_iter().collect();
    let mut is_kept = |line: usize, listen: SocketAddr| {
        if let Some(other) = is_covered(listen) {
            let reason = format!("{other} takes its connections");
            remarks.nearly(line, &format!("listener {listen}"), reason);
            return false;
        }
        let is_new = listen.port() == 0 || taken.insert(listen);
        if !is_new {
            remarks.left_out(line, &format!("listener {listen}"), "the address is taken");
        }
        is_new
    };
    plan.tcp.retain(|tcp| is_kept(tcp.line, tcp.listen));
    plan.http.retain(|http| is_kept(http.line, http.listen));
}

/// Moves the admin listener out of the way where its default address is a listener's.
fn place_admin(plan: &mut Plan, remarks: &mut Remarks) {
    if plan.admin.is_some() {
        return;
    }
    let listeners = plan.tcp.iter().map(|tcp| (tcp.line, tcp.listen));
    let listeners = listeners.chain(plan.http.iter().map(|http| (http.line, http.listen)));
    let taken: HashMap<u16, usize> = listeners
        .map(|(line, listen)| (listen.port(), line))
        .collect();
    let Some(&line) = taken.get(&ADMIN_PORT) else {
        return;
    };
    let free = (ADMIN_PORT..).find(|port| !taken.contains_key(port));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free.unwrap_or(ADMIN_PORT)));
    remarks.nearly(
        line,
        &format!("port {ADMIN_PORT}"),
        format!("Weir's admin pages are at {listen} instead"),
    );
    plan.admin = Some(Admin { line, listen });
}

const LEADS_NOWHERE: &str = "it leads to no backend that Weir can use";
const ADMIN_PORT: u16 = 8404;
