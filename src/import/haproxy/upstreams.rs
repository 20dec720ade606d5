//! From a backend's servers and settings to an upstream.

use std::time::Duration;

use crate::import::{
    haproxy::{
        proxy::{Mode, Proxy, Settings},
        server::{Server, ServerSettings},
    },
    plan::{Backend, Balance, Check, Ejection, Scheme, State, Upstream},
    remark::Remarks,
};

/// The upstream of a backend or listen.
pub(super) fn upstream(proxy: &Proxy, name: String, remarks: &mut Remarks) -> Upstream {
    let settings = &proxy.settings;
    let first = proxy.servers.first().map(|server| &server.settings);
    let server = first.cloned().unwrap_or_default();
    tell_differences(proxy, &server, remarks);
    tell_of_backups(proxy, remarks);
    let mode = settings.mode();
    let timeouts = &settings.timeouts;
    let is_http = mode == Mode::Http;
    let mut upstream = Upstream::new(proxy.line, name, scheme(mode, &server));
    upstream.balance = balance(settings);
    upstream.backends = backends(proxy, remarks);
    upstream.check = check(proxy, remarks);
    upstream.ejection = ejection(&server);
    upstream.slow_start = server.slowstart;
    upstream.connect_timeout = timeouts.connect;
    upstream.response_timeout = timeouts.server;
    // A tunnel's time takes the place of the others once bytes go both ways.
    upstream.idle_timeout = match is_http {
        true => timeouts.server.max(timeouts.tunnel),
        false => timeouts.tunnel.or(timeouts.server),
    };
    if is_http && timeouts.tunnel > timeouts.server && timeouts.tunnel.is_some() {
        let reason =
            "idle_timeout holds for exchanges and tunnels alike, and is the longer of the two";
        remarks.nearly(proxy.line, "timeout tunnel", reason);
    }
    if timeouts.server.is_none() || timeouts.connect.is_none() {
        let reason = "HAProxy waits forever without timeout connect and timeout server, Weir for its defaults";
        remarks.nearly(
            proxy.line,
            &format!("{} without timeouts", proxy.name),
            reason,
        );
    }
    upstream.max_sessions = server.maxconn;
    // Without one, requests wait as long as a connection may take.
    upstream.queue_timeout = match server.maxconn {
        Some(_) => timeouts.queue.or(timeouts.connect),
        None => timeouts.queue,
    };
    if !is_http {
        upstream.send_proxy_protocol = server.send_proxy;
        upstream.closes_sessions = server.closes_sessions;
    } else if server.send_proxy.is_some() {
        remarks.left_out(
            proxy.line,
            "send-proxy",
            "backends that speak HTTP get X-Forwarded-For",
        );
    }
    upstream.ca_file = server.ca_file.filter(|file| file.starts_with('/'));
    upstream.server_name = server.server_name;
    upstream
}

fn scheme(mode: Mode, server: &ServerSettings) -> Scheme {
    match mode {
        Mode::Tcp => Scheme::Tcp,
        Mode::Http if server.is_tls => Scheme::Https,
        Mode::Http if server.is_h2 => Scheme::H2c,
        Mode::Http => Scheme::Http,
    }
}

fn balance(settings: &Settings) -> Balance {
    let hashed = |by: String| Balance::ConsistentHash {
        by,
        bound_percent: settings.hash_bound,
    };
    match settings.balance.clone() {
        Some(Balance::ConsistentHash { by, .. }) => hashed(by),
        _ if settings.sticks.is_some() => hashed("client_address".to_owned()),
        Some(other) => other,
        None => Balance::RoundRobin,
    }
}

fn backends(proxy: &Proxy, remarks: &mut Remarks) -> Vec<Backend> {
    let mode = proxy.settings.mode();
    let mut backends = Vec::with_capacity(proxy.servers.len());
    for server in &proxy.servers {
        let what = format!("server {}", server.name);
        let Some(port) = server.addr.port else {
            let reason = "Weir needs a port, and takes none over from the client's connection";
            remarks.left_out(server.line, &what, reason);
            continue;
        };
        if mode == Mode::Tcp && server.settings.is_tls {
            remarks.left_out(server.line, &what, "Weir wraps no sessions in TLS");
            continue;
        }
        backends.push(Backend {
            line: server.line,
            host: server.addr.host.clone(),
            port,
            scheme: scheme(mode, &server.settings),
            weight: server.settings.weight.unwrap_or(1),
            state: match server.settings.is_disabled {
                true => State::Disabled,
                false => State::Enabled,
            },
            is_backup: server.settings.is_backup,
        });
    }
    backends
}

/// HAProxy uses the first backup that is up, Weir all of them.
fn tell_of_backups(proxy: &Proxy, remarks: &mut Remarks) {
    let mut backups = proxy
        .servers
        .iter()
        .filter(|server| server.settings.is_backup);
    if let Some(second) = backups.nth(1).filter(|_| !proxy.settings.uses_all_backups) {
        let what = format!("server {} backup", second.name);
        remarks.nearly(
            second.line,
            &what,
            "all backups are used alike, not the first one that is up",
        );
    }
}

fn check(proxy: &Proxy, remarks: &mut Remarks) -> Option<Check> {
    let options = &proxy.settings.check;
    let checked: Vec<&Server> = proxy
        .servers
        .iter()
        .filter(|server| server.settings.is_checked)
        .collect();
    let Some(first) = checked.first() else {
        if let Some(line) = options.line
            && !proxy.servers.is_empty()
        {
            let reason = "no server has `check`, so nothing is checked";
            remarks.left_out(line, &format!("check of {}", proxy.name), reason);
        }
        return None;
    };
    if checked.len() < proxy.servers.len() {
        let reason = "all backends of an upstream are checked, also servers without `check`";
        remarks.nearly(first.line, &format!("server {}", first.name), reason);
    }
    let probe = options.probe();
    if options.is_shortened() {
        let shortened = "one text is sent, and one is awaited";
        let line = options.line.unwrap_or(first.line);
        remarks.nearly(line, &format!("check of {}", proxy.name), shortened);
    }
    let interval = first.settings.inter.unwrap_or(INTER);
    Some(Check {
        probe,
        interval,
        timeout: proxy
            .settings
            .timeouts
            .check
            .unwrap_or(interval)
            .min(interval),
        rise: first.settings.rise.unwrap_or(2),
        fall: first.settings.fall.unwrap_or(3),
        port: first.settings.check_port,
    })
}

/// Without `observe`, HAProxy does not look at what requests come to.
fn ejection(server: &ServerSettings) -> Option<Ejection> {
    let is_on = server.observes && server.marks_down_on_error;
    let interval = server.inter.unwrap_or(INTER);
    is_on.then(|| Ejection {
        consecutive_failures: server.error_limit.unwrap_or(10),
        // It is down until as many checks are good as `rise` says.
        base_time: interval * server.rise.unwrap_or(2).clamp(1, 1_000),
    })
}

/// What is a server's own in HAProxy and the upstream's in Weir.
fn tell_differences(proxy: &Proxy, first: &ServerSettings, remarks: &mut Remarks) {
    for server in proxy.servers.iter().skip(1) {
        let own = &server.settings;
        let other = ServerSettings {
            is_checked: first.is_checked,
            weight: first.weight,
            is_backup: first.is_backup,
            is_disabled: first.is_disabled,
            ..own.clone()
        };
        if other != *first {
            let reason = "all backends of an upstream have the settings of the first one";
            remarks.nearly(server.line, &format!("server {}", server.name), reason);
        }
    }
}

/// HAProxy's own.
const INTER: Duration = Duration::from_secs(2);
