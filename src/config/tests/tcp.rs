//! Faults of `tcp` and of `tcp://` backends.

use super::*;

#[test]
fn faults_of_the_tcp_balancer_have_their_places() {
    let yaml = "tcp:\n  - { listen: 0.0.0.0:5433, upstream: web }\n  - { listen: 0.0.0.0:5434, upstream: db, idle_timeout: 1 }\n  - {}\n\
        http: [{ listen: 0.0.0.0:8080, routes: [{ upstream: db }] }]\nupstreams:\n  web: { backends: [http://a], max_connections: 5 }\n  \
        db: { backends: [tcp://a:1, http://b, tcp://c], max_requests: 5, response_timeout: 5s }\n";
    check_faults(
        yaml,
        &[
            "2:39: tcp[1].upstream \"web\" has no tcp:// backends, which this listener needs",
            "3:57: tcp[2].idle_timeout \"1\" is not a duration with a unit such as 500ms, 2s or 30m; write 1s for seconds",
            "4:5: tcp[3].listen is missing, for example 0.0.0.0:5433",
            "4:5: tcp[3].upstream is missing",
            "5:53: http[1].routes[1].upstream \"db\" has tcp:// backends, which a listener of `tcp` needs",
            "7:32: upstreams.web.max_connections is for tcp:// backends",
            "8:31: upstreams.db.backends[2] is of another kind; tcp:// backends need an upstream of their own",
            "8:41: upstreams.db.backends[3] \"tcp://c\" is not a backend such as http://127.0.0.1:8081: a tcp:// URL needs a port",
            "8:51: upstreams.db.max_requests is for backends that speak HTTP",
            "8:68: upstreams.db.response_timeout is for backends that speak HTTP",
        ],
    );
}

#[test]
fn faults_of_server_checks_have_their_places() {
    for (check, fault) in [
        (
            "{ postgres: primary }",
            "3:48: postgres: primary and postgres: replica need a user, as only a session knows the role",
        ),
        (
            "{ postgres: primary, user: a, max_lag: 1s }",
            "3:76: max_lag needs postgres: any or replica, as a primary does not lag",
        ),
        (
            "{ postgres: any, max_lag: 1s }",
            "3:63: max_lag needs a user, as only a session knows the position",
        ),
        (
            "{ postgres: any, password: a }",
            "3:63: password needs user",
        ),
        ("{ redis: any, user: a }", "3:60: user needs password"),
        (
            "{ redis: any, max_lag: 1s }",
            "3:60: max_lag needs postgres: any or replica",
        ),
        (
            "{ mysql: true, user: a, password: b }",
            "3:70: password is for postgres and redis; the user of a MySQL check has none",
        ),
        (
            "{ mysql: false }",
            "3:48: health_check.mysql must be true; write health_check: off for no checks",
        ),
        (
            "{ http: /, user: a }",
            "3:57: user needs postgres, redis or mysql",
        ),
        (
            "{ tcp: true, send: a }",
            "3:59: send needs expect, the answer that is good",
        ),
        ("{ expect: a }", "3:48: expect needs tcp: true"),
        (
            "{ redis: any, mysql: true }",
            "3:46: health_check is one of http, tcp, grpc, postgres, redis, mysql",
        ),
        (
            "{ postgres: any, port: 0 }",
            "3:69: upstreams.db.health_check.port \"0\" must be a whole number from 1 to 65535",
        ),
    ] {
        let yaml = format!(
            "tcp: [{{ listen: 0.0.0.0:5433, upstream: db }}]\nupstreams:\n  db: {{ backends: [tcp://a:1], health_check: {check} }}\n"
        );
        check_faults(&yaml, &[fault]);
    }
    let yaml = "tcp: [{ listen: 0.0.0.0:5433, upstream: db }]\nupstreams:\n  db:\n    backends: [tcp://a:1]\n    \
        health_check: { postgres: primary, user: a }\n    when_all_down: any\n";
    check_faults(
        yaml,
        &["6:5: when_all_down: any would send writes to servers that are not the primary"],
    );
}
