//! The directives of a section.

use std::time::Duration;

use crate::import::{
    haproxy::{
        acl, bind, headers, options,
        proxy::{Global, Mode, Proxy, Settings, UseBackend},
        sections::Section,
        server,
        units::time,
        words::Line,
    },
    plan::Balance,
    remark::Remarks,
};

/// Reads a line of a `defaults`, `frontend`, `backend` or `listen`.
pub(super) fn directive(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let settings = &mut proxy.settings;
    match line.word(0) {
        "mode" => mode(settings, line, remarks),
        "timeout" => timeout(settings, line, remarks),
        "bind" => bind::bind(proxy, line, remarks),
        "server" => server::server(proxy, line, remarks),
        "server-template" => server::template(proxy, line, remarks),
        "default-server" => server::default_server(proxy, line, remarks),
        "option" => options::option(proxy, line, remarks),
        "no" if line.word(1) == "option" => options::no_option(settings, line, remarks),
        "no" if line.word(1) == "log" => {}
        "balance" => settings.balance = balance(line, remarks),
        "hash-type" => hash_type(line, remarks),
        "hash-balance-factor" => {
            settings.hash_bound = line.word(1).parse().ok().filter(|bound| *bound > 0);
        }
        "default_backend" => {
            settings.default_backend = Some((line.number, line.word(1).to_owned()));
        }
        "use_backend" => use_backend(proxy, line, remarks),
        "acl" => acl::define(&mut proxy.acls, line, remarks),
        "http-request" => headers::rule(&mut settings.request, line, remarks),
        "http-response" => headers::rule(&mut settings.response, line, remarks),
        "http-check" => settings.check.http_check(line, remarks),
        "tcp-check" => settings.check.tcp_check(line, remarks),
        "tcp-request" => tcp_request(proxy, line, remarks),
        "stats" => settings.stats.read(line, remarks),
        "stick" => stick(settings, line, remarks),
        _ => other(line, remarks),
    }
}

/// Reads `global`.
pub(super) fn global(section: &Section, global: &mut Global, remarks: &mut Remarks) {
    for line in &section.lines {
        match line.word(0) {
            "maxconn" => match line.word(1).parse() {
                Ok(count) => global.maxconn = Some(count),
                Err(_no_number) => remarks.left_out(line.number, &line.text(), "this is no number"),
            },
            "daemon" | "master-worker" | "nbproc" | "nbthread" | "cpu-map" | "user" | "group"
            | "uid" | "gid" | "chroot" | "pidfile" | "ulimit-n" | "maxpipes" | "spread-checks"
            | "description" | "node" => {
                let reason =
                    "the service manager's part: users, limits, restarts; workers sets the threads";
                remarks.not_needed(line.number, line.word(0), reason);
            }
            "log" | "log-send-hostname" | "log-tag" => {
                remarks.left_out(line.number, &line.text(), "events go to standard output");
            }
            "stats" => {
                remarks.left_out(
                    line.number,
                    &line.head(2),
                    "the admin API changes a running Weir",
                );
            }
            _ => remarks.left_out(line.number, &line.head(2), "Weir has no equivalent"),
        }
    }
}

/// Reads `resolvers`.
pub(super) fn resolvers(section: &Section, global: &mut Global, remarks: &mut Remarks) {
    for line in &section.lines {
        match (line.word(0), line.word(1), time(line.word(2))) {
            ("hold", "valid", Some(time)) => global.hold_valid = Some(time),
            _ => remarks.not_needed(
                line.number,
                &line.text(),
                "Weir uses the system's name servers",
            ),
        }
    }
}

fn mode(settings: &mut Settings, line: &Line, remarks: &mut Remarks) {
    match line.word(1) {
        "tcp" => settings.mode = Some(Mode::Tcp),
        "http" => settings.mode = Some(Mode::Http),
        _ => remarks.left_out(line.number, &line.text(), "Weir balances http and tcp"),
    }
}

fn timeout(settings: &mut Settings, line: &Line, remarks: &mut Remarks) {
    let timeouts = &mut settings.timeouts;
    let slot: &mut Option<Duration> = match line.word(1) {
        "connect" => &mut timeouts.connect,
        "client" => &mut timeouts.client,
        "server" => &mut timeouts.server,
        "queue" => &mut timeouts.queue,
        "check" => &mut timeouts.check,
        "http-request" => &mut timeouts.http_request,
        "http-keep-alive" => &mut timeouts.http_keep_alive,
        "tunnel" => &mut timeouts.tunnel,
        "client-fin" => &mut timeouts.client_fin,
        "server-fin" => &mut timeouts.server_fin,
        _ => return remarks.left_out(line.number, &line.text(), "Weir has no such timeout"),
    };
    match time(line.word(2)) {
        Some(time) if !time.is_zero() => *slot = Some(time),
        // It means none at all.
        Some(_zero) => *slot = Some(FOREVER),
        None => remarks.left_out(line.number, &line.text(), "this is no time such as 5s"),
    }
}

fn balance(line: &Line, remarks: &mut Remarks) -> Option<Balance> {
    let hashed = |by: String| Balance::ConsistentHash {
        by,
        bound_percent: None,
    };
    let algorithm = line.word(1);
    let argument = algorithm
        .split_once('(')
        .map(|(_, rest)| rest.trim_end_matches(')'));
    Some(match algorithm.split('(').next().unwrap_or_default() {
        "roundrobin" | "static-rr" => Balance::RoundRobin,
        "leastconn" => Balance::LeastConnections,
        "random" => Balance::RandomTwo,
        "first" => {
            remarks.nearly(line.number, &line.text(), "backends take turns");
            Balance::RoundRobin
        }
        "source" => hashed("client_address".to_owned()),
        "uri" => {
            if line.words.len() > 2 {
                remarks.nearly(line.number, &line.text(), "the whole path is hashed");
            }
            hashed("path".to_owned())
        }
        "hdr" if argument.is_some_and(|name| http::HeaderName::try_from(name).is_ok()) => {
            hashed(format!("header:{}", argument.unwrap_or_default()))
        }
        _ => {
            let reason = "backends take turns; Weir hashes the client's address, the path, a header or a cookie";
            remarks.left_out(line.number, &line.text(), reason);
            return None;
        }
    })
}

fn hash_type(line: &Line, remarks: &mut Remarks) {
    match line.word(1) {
        "consistent" => remarks.nearly(
            line.number,
            &line.text(),
            "the ring is nginx's, so keys move once",
        ),
        _ => remarks.nearly(
            line.number,
            &line.text(),
            "the hash is consistent, so keys move once",
        ),
    }
}

fn use_backend(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let backend = line.word(1);
    let is_literal = !backend.contains(['%', '[']);
    let matches = match line.word(2) {
        "" => Some(vec![acl::Match::any()]),
        "if" => acl::condition(&proxy.acls, line, line.rest(3), remarks),
        _ => None,
    };
    match matches.filter(|_| is_literal) {
        Some(matches) => proxy.uses.push(UseBackend {
            line: line.number,
            backend: backend.to_owned(),
            matches,
        }),
        None => {
            let reason =
                "Weir's routes look at host and path alone: these requests take the next route";
            remarks.left_out(line.number, &line.text(), reason);
        }
    }
}

/// `tcp-request connection expect-proxy layer4 if { src NETWORK… }`
fn tcp_request(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let begins = ["connection", "expect-proxy", "layer4", "if", "{", "src"];
    let words = line.rest(1);
    let networks = match words.split_at_checked(begins.len()) {
        Some((head, [networks @ .., end])) if head == begins && end == "}" => networks,
        _ => return remarks.left_out(line.number, &line.text(), "Weir has no equivalent"),
    };
    for network in networks {
        let is_network =
            network.parse::<ipnet::IpNet>().is_ok() || network.parse::<std::net::IpAddr>().is_ok();
        match is_network && proxy.proxied_from.len() < NETWORKS_MAX {
            true => proxy.proxied_from.push(network.clone()),
            false => remarks.left_out(
                line.number,
                network,
                "this is no network such as 10.0.0.0/8",
            ),
        }
    }
}

fn stick(settings: &mut Settings, line: &Line, remarks: &mut Remarks) {
    match (line.word(1), line.word(2), line.words.len()) {
        ("on" | "store-request" | "match", "src", 3) => {
            settings.sticks = Some(line.number);
            let reason =
                "clients are kept by a consistent hash of their addresses, without a table";
            remarks.nearly(line.number, &line.text(), reason);
        }
        _ => remarks.left_out(line.number, &line.text(), "Weir keeps no stick tables"),
    }
}

fn other(line: &Line, remarks: &mut Remarks) {
    let number = line.number;
    match line.word(0) {
        "retries" | "retry-on" => {
            let reason =
                "Weir tries other backends within retry_budget, and never sends a POST twice";
            remarks.not_needed(number, &line.text(), reason);
        }
        "maxconn" => remarks.left_out(
            number,
            &line.text(),
            "connections.limit holds for all listeners",
        ),
        "fullconn" => remarks.left_out(
            number,
            &line.text(),
            "max_requests does not grow with the load",
        ),
        "log" | "log-format" | "log-tag" | "log-format-sd" | "error-log-format" => {
            remarks.left_out(
                number,
                &line.head(2),
                "events go to standard output, requests to access_log",
            );
        }
        "stick-table" => {
            remarks.left_out(
                number,
                &line.text(),
                "Weir keeps no stick tables; see rate_limit for request rates",
            );
        }
        "cookie" => {
            let reason = "Weir sets no cookies; hash_by: cookie:NAME keeps clients by one of yours";
            remarks.left_out(number, &line.head(2), reason);
        }
        "redirect" => {
            remarks.left_out(number, &line.text(), "Weir's balancer answers no redirects")
        }
        "errorfile" | "errorloc" | "errorloc302" | "errorloc303" | "http-error" | "errorfiles" => {
            remarks.left_out(
                number,
                &line.head(2),
                "Weir's answers to errors are its own",
            );
        }
        "http-reuse" => {
            remarks.not_needed(number, &line.text(), "Weir keeps connections by itself")
        }
        "compression" | "filter" => {
            remarks.left_out(number, &line.text(), "Weir changes no bodies")
        }
        "description" | "id" | "enabled" | "backlog" | "load-server-state-from-file" => {
            remarks.not_needed(number, line.word(0), "Weir has no such switch");
        }
        _ => remarks.left_out(number, &line.text(), "Weir has no equivalent"),
    }
}

/// More than any of Weir's bounds, which say what is written instead.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
const NETWORKS_MAX: usize = 100;
