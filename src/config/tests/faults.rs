//! One mistake is one fault, at its own place.

use super::{check_faults, load_file};

#[test]
fn a_broken_short_form_is_one_fault() {
    for (yaml, expected) in [
        (
            "port: 8080\nbackends: [localhost:5001]\n",
            "2:12: backends[1] \"localhost:5001\" needs a scheme; write http://localhost:5001",
        ),
        (
            "port: 8080\nbackends: [http://a/b]\n",
            "2:12: backends[1] \"http://a/b\" is not a backend such as http://127.0.0.1:8081: only SCHEME://HOST:PORT is supported",
        ),
        (
            "port: 8080\nbackends: http://a\n",
            "2:11: backends must be a list, for example [a, b]",
        ),
        (
            "port: 8080\nbackends: []\n",
            "2:1: backends is empty, for example [http://localhost:5001]",
        ),
        (
            "port: 8080\nbackend: [http://a]\n",
            "2:1: unknown key `backend`; did you mean `backends`?",
        ),
        (
            "prot: 8080\nbackends: [http://a]\n",
            "1:1: unknown key `prot`; did you mean `port`?",
        ),
        (
            "port: http\nbackends: [http://a]\n",
            "1:7: port \"http\" must be a whole number from 1 to 65535",
        ),
        (
            "workers: 1\nport: 8080\n",
            "2:1: port needs backends, for example backends: [http://localhost:5001]",
        ),
        (
            "workers: 1\nbackends: [http://a]\n",
            "2:1: backends needs a port, for example port: 8080",
        ),
    ] {
        check_faults(yaml, &[expected]);
    }
}

#[test]
fn what_is_no_map_lacks_nothing() {
    for (yaml, expected) in [
        (
            "redirect: x\n",
            "1:11: redirect must be a map of keys and values, for example { cdn_host: cdn.example.com }",
        ),
        (
            "access_log: json\nredirect: { cdn_host: a }\n",
            "1:13: access_log must be a map of keys and values, for example { format: json }",
        ),
        (
            "http: [x]\n",
            "1:8: http[1] must be a map of keys and values",
        ),
        (
            "upstreams: { app: x }\nhttp: [{ listen: 127.0.0.1:1, routes: [{ upstream: app }] }]\n",
            "1:19: upstreams.app must be a map of keys and values, for example { backends: [http://localhost:5001] }",
        ),
        (
            "upstreams: x\nhttp: [{ listen: 127.0.0.1:1, routes: [{ upstream: app }] }]\n",
            "1:12: upstreams must be a map of keys and values",
        ),
    ] {
        check_faults(yaml, &[expected]);
    }
}

/// Checks the one fault of an upstream with one more key.
#[track_caller]
fn check_upstream(key: &str, expected: &str) {
    let yaml = format!("upstreams:\n  app:\n    backends: [http://a]\n    {key}\n");
    check_faults(&yaml, &[expected]);
}

#[test]
fn a_mistake_in_one_key_is_no_fault_of_another() {
    for (key, expected) in [
        (
            "health_check: /health",
            "4:19: upstreams.app.health_check must be a map of keys and values, for example { http: /health }",
        ),
        (
            "health_check: { htp: /health }",
            "4:21: unknown key `htp` in upstreams.app.health_check; did you mean `http`?",
        ),
        (
            "health_check: { status: 200 }",
            "4:21: status needs http: PATH",
        ),
        (
            "health_check: { status: 200, http: x }",
            "4:40: upstreams.app.health_check.http \"x\" is not a path such as /health",
        ),
        (
            "health_check: { tcp: true, interval: 10, timeout: 5s }",
            "4:42: upstreams.app.health_check.interval \"10\" is not a duration with a unit such as 500ms, 2s or 30m; write 10s for seconds",
        ),
        (
            "health_check: { tcp: true, intervl: 10s, timeout: 5s }",
            "4:32: unknown key `intervl` in upstreams.app.health_check; did you mean `interval`?",
        ),
        (
            "ejection: { base_time: 3, max_time: 5s }",
            "4:28: upstreams.app.ejection.base_time \"3\" is not a duration with a unit such as 500ms, 2s or 30m; write 3s for seconds",
        ),
        (
            "balance: random\n    hash_by: path",
            "4:14: upstreams.app.balance \"random\" must be round_robin, least_connections, random_two or consistent_hash",
        ),
        (
            "balace: consistent_hash\n    hash_by: path",
            "4:5: unknown key `balace` in upstreams.app; did you mean `balance`?",
        ),
        (
            "slow_start: 1s\n    load_bound: 150%",
            "5:5: load_bound needs balance: consistent_hash",
        ),
        (
            "load_bound: 150%\n    hash_by: path",
            "5:5: hash_by needs balance: consistent_hash",
        ),
    ] {
        check_upstream(key, expected);
    }
}

#[test]
fn an_upstream_needs_backends() {
    for (upstream, expected) in [
        (
            "{ balance: round_robin }",
            "1:19: upstream app has no backends",
        ),
        ("{ backends: [] }", "1:21: upstreams.app.backends is empty"),
        (
            "{ backends: x }",
            "1:31: upstreams.app.backends must be a list, for example [a, b]",
        ),
        (
            "{ backend: [http://a] }",
            "1:21: unknown key `backend` in upstreams.app; did you mean `backends`?",
        ),
        (
            "{ backends: [[http://a]] }",
            "1:32: upstreams.app.backends[1] must be a map of keys and values, for example { url: http://localhost:5001 }",
        ),
    ] {
        let yaml = format!("upstreams: {{ app: {upstream} }}\nredirect: {{ cdn_host: a }}\n");
        check_faults(&yaml, &[expected]);
    }
}

fn with_routes(routes: &str) -> String {
    format!(
        "upstreams: {{ app: {{ backends: [http://a] }} }}\nhttp:\n  - listen: 127.0.0.1:1\n    routes: {routes}\n"
    )
}

/// Checks the faults of these routes.
#[track_caller]
fn check_routes(routes: &str, expected: &[&str]) {
    check_faults(&with_routes(routes), expected);
}

#[test]
fn a_bad_route_is_like_no_other() {
    for (routes, expected) in [
        (
            "x",
            "4:13: http[1].routes must be a list, for example [a, b]",
        ),
        (
            "[x]",
            "4:14: http[1].routes[1] must be a map of keys and values, for example { path: /, upstream: app }",
        ),
        (
            "[{ upstream: app }, { host: a b, upstream: app }]",
            "4:41: http[1].routes[2].host \"a b\" is not a host name",
        ),
        (
            "[{ upstream: app }, { path: x, upstream: app }]",
            "4:41: http[1].routes[2].path \"x\" is not a path prefix such as /api",
        ),
        (
            "[{ upstream: app }, { pth: /x, upstream: app }]",
            "4:35: unknown key `pth` in http[1].routes[2]; did you mean `path`?",
        ),
        (
            "[{ upstram: app }]",
            "4:16: unknown key `upstram` in http[1].routes[1]; did you mean `upstream`?",
        ),
    ] {
        check_routes(routes, &[expected]);
    }
}

#[test]
fn a_second_route_of_the_same_kind_is_the_fault() {
    let routes = "\n      - { upstream: app }\n      - { path: /x, host: a, upstream: app }\n      \
                  - { path: /, upstream: app }\n      - { path: /x, host: A, upstream: app }";
    check_routes(
        routes,
        &[
            "7:9: http[1].routes[3] has the same host and path as an earlier route",
            "8:9: http[1].routes[4] has the same host and path as an earlier route",
        ],
    );
}

#[test]
fn an_upstream_that_is_not_there_is_named() {
    let listener = "http: [{ listen: 127.0.0.1:1, routes: [{ upstream: a }] }]\n";
    check_faults(
        listener,
        &["1:52: http[1].routes[1].upstream \"a\" is not an upstream; there is none"],
    );
    let misspelled = format!("{listener}upstrems: {{ a: {{ backends: [http://a] }} }}\n");
    check_faults(
        &misspelled,
        &["2:1: unknown key `upstrems`; did you mean `upstreams`?"],
    );
}

#[test]
fn an_access_log_that_cannot_be_opened_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().display();
    let check = |format: &str, file: &str, fault: Option<&str>| {
        let yaml = format!(
            "redirect: {{ cdn_host: a }}\naccess_log:\n  format: {format}\n  file: \"{file}\"\n"
        );
        match fault {
            None => drop(load_file(&yaml).unwrap()),
            Some(fault) => check_faults(
                &yaml,
                &[&format!("4:9: access_log.file \"{file}\" {fault}")],
            ),
        }
    };
    check("json", &format!("{directory}/a.log"), None);
    check("json", "a.log", None);
    check("json", "", Some("is not the path of a file"));
    check("json", &directory.to_string(), Some("is a directory"));
    check(
        "json",
        &format!("{directory}/a.log/"),
        Some("is a directory"),
    );
    let missing = format!("cannot be created: {directory}/none is no directory");
    check(
        "combined",
        &format!("{directory}/none/a.log"),
        Some(&missing),
    );
    // What is off is not opened.
    check("off", &format!("{directory}/none/a.log"), None);
}

#[test]
fn a_path_that_no_request_has_is_refused() {
    for (path, fault) in [
        ("/v1/*", "is a prefix as it is; leave the * out"),
        ("/*/x", "is a prefix as it is; leave the * out"),
        ("/a//b", "is another way to write /a/b; write that"),
        ("//", "is another way to write /; write that"),
        ("/a/../b", "is another way to write /b; write that"),
        ("/%61dmin", "is another way to write /admin; write that"),
        ("/%%zz", "is no path: the path has a malformed escape"),
        ("/../a", "is no path: the path climbs above the root"),
        ("/a?b", "is not a path prefix such as /api"),
    ] {
        let expected = format!("4:22: http[1].routes[1].path \"{path}\" {fault}");
        check_routes(
            &format!("[{{ path: \"{path}\", upstream: app }}]"),
            &[&expected],
        );
    }
    let fine = ["/", "/a/", "/.a/b..", "/...", "/a%20b/", "/~a:@!$&'()+,;="];
    let routes = fine.map(|path| format!("{{ path: \"{path}\", upstream: app }}"));
    let yaml = with_routes(&format!("[{}]", routes.join(", ")));
    assert_eq!(load_file(&yaml).unwrap().http.len(), 1);
}

#[test]
fn header_rules_must_not_contradict_each_other() {
    for (rules, expected) in [
        (
            "{ remove: [Host] }",
            "4:59: http[1].routes[1].request_headers.remove[1] \"Host\" is Host, which every request needs",
        ),
        (
            "{ set: { host: \"\" } }",
            "4:63: http[1].routes[1].request_headers.set.host is not a host such as app.internal:8080",
        ),
        (
            "{ set: { host: user@a } }",
            "4:63: http[1].routes[1].request_headers.set.host is not a host such as app.internal:8080",
        ),
        (
            "{ set: { X-A: b, x-a: c } }",
            "4:70: http[1].routes[1].request_headers.set.x-a is set twice, as upper and lower case are the same",
        ),
        (
            "{ remove: [X-A], set: { x-a: b } }",
            "4:77: http[1].routes[1].request_headers.set.x-a is removed, too; to set it is enough, as that replaces what came",
        ),
        (
            "{ remove: [Connection] }",
            "4:59: http[1].routes[1].request_headers.remove[1] \"Connection\" belongs to the connection; the balancer sets it itself",
        ),
    ] {
        check_routes(
            &format!("[{{ upstream: app, request_headers: {rules} }}]"),
            &[expected],
        );
    }
    let fine = "[{ upstream: app, request_headers: { set: { Host: \"[::1]:80\" } } }]";
    assert_eq!(load_file(&with_routes(fine)).unwrap().http.len(), 1);
}

#[test]
fn an_upgrade_is_a_protocol() {
    let routes = "[{ upstream: app }]\n    upgrades";
    check_routes(
        &format!("{routes}: [web socket, \"\", [a], a/b/c, h2/]"),
        &[
            "5:16: http[1].upgrades[1] \"web socket\" is not the name of a protocol such as websocket",
            "5:28: http[1].upgrades[2] \"\" is not the name of a protocol such as websocket",
            "5:32: http[1].upgrades[3] \"\" is not the name of a protocol such as websocket",
            "5:37: http[1].upgrades[4] \"a/b/c\" is not the name of a protocol such as websocket",
            "5:44: http[1].upgrades[5] \"h2/\" is not the name of a protocol such as websocket",
        ],
    );
    let fine = with_routes(&format!("{routes}: [WebSocket, TLS/1.0]"));
    assert_eq!(
        load_file(&fine).unwrap().http[0].upgrades,
        ["websocket", "tls/1.0"]
    );
}

/// An old name is no unknown key: the message says the new one.
#[test]
fn renamed_keys_name_their_successors() {
    check_upstream(
        "in_flight_limit: 3",
        "4:5: upstreams.app.in_flight_limit is now called max_requests",
    );
    check_upstream(
        "ejection: { failures: 3 }",
        "4:17: upstreams.app.ejection.failures is now called consecutive_failures",
    );
    let file = "redirect: { cdn_host: a }\nconnections: { streams_limit: 3, age_limit: 1s }\n";
    check_faults(
        file,
        &[
            "2:16: connections.streams_limit is now called max_concurrent_streams",
            "2:34: connections.age_limit is now called max_connection_age",
        ],
    );
}

#[test]
fn faults_show_what_was_written() {
    check_upstream(
        "total_timeout: never",
        "4:20: upstreams.app.total_timeout \"never\" is not a duration with a unit such as 500ms, 2s or 30m, or none",
    );
    check_upstream(
        "max_requests: many",
        "4:19: upstreams.app.max_requests \"many\" must be a whole number from 1 to 1000000, or none",
    );
}

#[test]
fn a_flood_of_faults_is_cut_short() {
    let backends: Vec<String> = (0..1000).map(|index| format!("ftp://a{index}")).collect();
    let errors =
        load_file(&format!("port: 80\nbackends: [{}]\n", backends.join(", "))).unwrap_err();
    let [.., last] = errors.diagnostics() else {
        panic!("{errors}");
    };
    assert_eq!(errors.diagnostics().len(), 101);
    assert_eq!(last.message, "there are 900 more faults");
}
