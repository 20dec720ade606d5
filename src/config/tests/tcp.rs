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
