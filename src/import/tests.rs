//! Whole files in, YAML and remarks out; whatever comes in, what goes out is valid.

use proptest::prelude::*;

use super::*;
use crate::config::{Config, Environment, Flags};

/// What an import gives of a text.
fn run(text: &str, dialect: Dialect) -> Imported {
    import("in", text, Some(dialect))
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.remarks()))
}

#[track_caller]
fn check_valid(yaml: &str) {
    let environment = Environment::read([]);
    if let Err(faults) = Config::check_text(yaml, &Flags::default(), &environment) {
        panic!("{faults}\n{yaml}");
    }
}

/// Checks that the YAML has these lines, whatever is around them.
#[track_caller]
fn check(dialect: Dialect, text: &str, expected: &[&str], remarks: &[&str]) {
    let imported = run(text, dialect);
    check_valid(&imported.yaml);
    for line in expected {
        assert!(imported.yaml.contains(line), "{line}\n{}", imported.yaml);
    }
    let said: Vec<String> = imported.remarks.iter().map(Remark::to_string).collect();
    for remark in remarks {
        let is_said = said.iter().any(|said| said.starts_with(remark));
        assert!(is_said, "{remark}\n{said:#?}");
    }
}

fn haproxy(text: &str, expected: &[&str], remarks: &[&str]) {
    check(Dialect::Haproxy, text, expected, remarks);
}

fn nginx(text: &str, expected: &[&str], remarks: &[&str]) {
    check(Dialect::Nginx, text, expected, remarks);
}

#[test]
fn servers_without_check_are_not_checked() {
    haproxy(
        "listen a\n bind :1\n server s 127.0.0.2:2 weight 0\n server t 127.0.0.2:3 disabled\n server u 127.0.0.2:4 weight 3 backup\n",
        &[
            "health_check: off",
            "ejection: off",
            "{ url: \"tcp://127.0.0.2:2\", state: draining }",
            "{ url: \"tcp://127.0.0.2:3\", state: disabled }",
            "{ url: \"tcp://127.0.0.2:4\", weight: 3, backup: true }",
        ],
        &["1: a without timeouts: nearly"],
    );
}

#[test]
fn defaults_are_inherited_by_name_and_by_place() {
    haproxy(
        "defaults fast\n timeout connect 1s\n timeout server 2s\ndefaults slow from fast\n timeout server 9s\n\
         listen a from fast\n bind :1\n server s 127.0.0.2:9\nlisten b\n bind :2\n server s 127.0.0.2:9\n",
        &[
            "connect_timeout: 1s\n    idle_timeout: 2s\n  b:",
            "connect_timeout: 1s\n    idle_timeout: 9s\n",
        ],
        &[],
    );
}

#[test]
fn conditions_of_host_and_path_are_routes() {
    let backends = "backend api\n server s 127.0.0.2:2\nbackend app\n server s 127.0.0.2:3\nbackend web\n server s 127.0.0.2:4\n";
    haproxy(
        &format!(
            "defaults\n mode http\nfrontend f\n bind :1\n acl shop hdr(host) -i shop.example.com\n acl v1 path_beg /v1/\n \
             use_backend api if v1\n use_backend app if shop\n use_backend web if {{ path /x }} {{ src 10.0.0.0/8 }}\n default_backend web\n{backends}"
        ),
        &[
            "- path: /v1/  # in:7\n        upstream: api",
            // HAProxy's first line comes first for the shop, too.
            "- host: shop.example.com  # in:8\n        path: /v1/\n        upstream: api",
            "- host: shop.example.com  # in:8\n        path: /\n        upstream: app",
            "- path: /  # in:10\n        upstream: web",
        ],
        &["9: use_backend web if { path /x } { src 10.0.0.0/8 }: left out"],
    );
}

#[test]
fn earlier_lines_shadow_later_ones() {
    haproxy(
        "defaults\n mode http\nfrontend f\n bind :1\n use_backend a if { path_beg /a/ }\n use_backend b if { path_beg /a/b/ } or { hdr(host) b.example.com:80 }\n\
         backend a\n server s 127.0.0.2:2\nbackend b\n server s 127.0.0.2:3\n",
        &["- host: b.example.com  # in:6\n        path: /\n        upstream: b"],
        &["6: use_backend b: left out, line 5 takes its requests"],
    );
}

#[track_caller]
fn check_checks(rows: &[(&str, &str, &str, &str)]) {
    for (lines, mode, expected, remark) in rows {
        let file =
            format!("listen a\n mode {mode}\n bind :1\n{lines} server s 127.0.0.2:2 check\n");
        let remarks = [*remark];
        let remarks: &[&str] = if remark.is_empty() { &[] } else { &remarks };
        haproxy(&file, &[expected], remarks);
    }
}

#[test]
fn checks_are_what_haproxy_asks() {
    check_checks(&[
        (
            "",
            "tcp",
            "tcp: true\n      interval: 2s\n      timeout: 2s\n      rise: 2\n      fall: 3",
            "",
        ),
        (
            " option httpchk GET /health HTTP/1.1\\r\\nHost:\\ app\n",
            "http",
            "http: /health\n      method: GET\n      host: app",
            "",
        ),
        (
            " option httpchk /ping\n http-check expect rstatus ^[23]\n",
            "http",
            "http: /ping\n      method: OPTIONS\n      status: 200-399",
            "",
        ),
        (
            " option httpchk\n http-check send meth HEAD uri /x hdr X-A 1\n http-check expect status 204\n",
            "http",
            "http: /x\n      method: HEAD\n      headers:\n        X-A: \"1\"\n      status: 204",
            "",
        ),
    ]);
}

#[test]
fn checks_of_servers_are_what_haproxy_asks() {
    check_checks(&[
        (" option pgsql-check user x\n", "tcp", "postgres: any", ""),
        (" option redis-check\n", "tcp", "redis: any", ""),
        (
            " option mysql-check user x\n",
            "tcp",
            "mysql: true\n      user: x",
            "",
        ),
        (
            " option mysql-check\n",
            "tcp",
            "mysql: true\n      interval",
            "",
        ),
        (
            " option tcp-check\n tcp-check connect\n tcp-check send PING\\r\\n\n tcp-check expect string +PONG\n",
            "tcp",
            "redis: any",
            "",
        ),
        (
            " option tcp-check\n tcp-check send QUIT\\r\\n\n tcp-check expect string 221\n",
            "tcp",
            "tcp: true\n      send: \"QUIT\\r\\n\"\n      expect: \"221\"",
            "",
        ),
        (
            " option tcp-check\n tcp-check send QUIT\\r\\n\n",
            "tcp",
            "tcp: true\n      interval",
            "",
        ),
        (
            " option httpchk GET /primary\n default-server port 8008\n",
            "tcp",
            "http: /primary\n      method: GET\n      port: 8008",
            "",
        ),
        (
            " option smtpchk\n",
            "tcp",
            "tcp: true",
            "4: option smtpchk: nearly, a TCP connect is checked",
        ),
    ]);
}

#[test]
fn what_haproxy_alone_can_do_is_named() {
    haproxy(
        "global\n maxconn 1000\n stats socket /run/x\nlisten a\n mode http\n bind :1 accept-proxy\n bind :443 ssl crt /x.pem\n cookie S insert\n \
         http-request deny if { path /x }\n http-request set-header X-P video\n option forwardfor\n balance hdr(X-User)\n hash-type consistent\n \
         timeout server 30h\n server s 127.0.0.2:2 observe layer7 error-limit 5 on-error mark-down send-proxy\n",
        &[
            "limit: 1000",
            "set:\n            X-P: video",
            "hash_by: header:X-User\n    load_bound: 10000%",
            "ejection: { consecutive_failures: 5, base_time: 4s, max_time: 4s, max_percent: 100% }",
            "response_timeout: 24h",
            "body_limit: none",
        ],
        &[
            "3: stats socket: left out",
            "6: bind :1 accept-proxy: left out",
            "7: bind :443 ssl: left out, Weir takes no TLS",
            "8: cookie S: left out",
            "9: http-request deny if { path /x }: left out",
            "11: option forwardfor: not needed, Weir always sends X-Forwarded-For",
            "4: a: response_timeout: nearly, 30h becomes 24h",
        ],
    );
}

#[test]
fn the_first_server_is_nginx_s_default() {
    nginx(
        "server { listen 81; server_name a.example.com; location / { proxy_pass http://127.0.0.2:2; } }\n\
         server { listen 81; server_name b.example.com *.c.example.com; location /b/ { proxy_pass http://127.0.0.2:3/; } }\n\
         server { listen [::]:81; server_name d.example.com; location /d { proxy_pass http://127.0.0.2:3; } }\n",
        &[
            "listen: \"[::]:81\"",
            "- path: /  # in:1\n        upstream: \"127.0.0.2-2\"",
            "- host: b.example.com  # in:2\n        path: /b/\n        upstream: \"127.0.0.2-3\"\n        strip_prefix: true",
            "- host: d.example.com  # in:3\n        path: /d",
            "Host: \"127.0.0.2:2\"",
            "upgrades: []",
            "body_limit: 1MiB",
            "ejection: { consecutive_failures: 1, base_time: 10s, max_time: 10s, max_percent: 100% }",
            "connect_timeout: 60s",
        ],
        &[
            "2: server_name *.c.example.com: left out",
            "3: location /d: nearly, whole segments match",
        ],
    );
}

#[test]
fn upstreams_of_nginx_keep_their_servers() {
    nginx(
        "http { upstream app { least_conn; server 127.0.0.2:2 weight=2 max_fails=0; server 127.0.0.2:3 backup; server 127.0.0.2:4 down; keepalive 8; }\n\
         upstream other { server 127.0.0.2:9; }\nupstream keys { hash $http_x_user consistent; server 127.0.0.2 max_conns=7; }\n\
         server { listen 82; proxy_read_timeout 5s; location / { proxy_pass http://app; proxy_set_header Host $host; proxy_set_header X-A b; }\n\
         location /k/ { proxy_read_timeout 9; proxy_pass http://keys/k/; } location /g/ { grpc_pass grpc://127.0.0.2:5; }\n location ~ \\.php$ { proxy_pass http://app; } } }",
        &[
            "balance: least_connections",
            "{ url: \"http://127.0.0.2:2\", weight: 2 }",
            "{ url: \"http://127.0.0.2:4\", state: disabled }",
            "h2c://127.0.0.2:5",
            "hash_by: header:x-user",
            "max_requests: 7\n    queue: { length: 0 }",
            "response_timeout: 9s",
            "request_headers:\n          set:\n            X-A: b",
        ],
        &[
            "1: server 127.0.0.2:3 backup: nearly, all backends",
            "1: keepalive 8: not needed",
            "2: upstream other: left out, nothing that was imported leads to it",
            "6: location ~ \\.php$: left out, routes know no regular expressions",
        ],
    );
}

#[test]
fn a_zone_that_all_routes_share_is_one_limit() {
    let zone = "limit_req_zone $binary_remote_addr zone=a:1m rate=10r/s;\n";
    let location = |path: &str, more: &str| {
        format!("location {path} {{ {more} proxy_pass http://127.0.0.2:2; }}")
    };
    let all = format!(
        "{zone}limit_req zone=a burst=99 nodelay;\nserver {{ listen 83; {} }}",
        location("/", "")
    );
    nginx(
        &all,
        &["\nrate_limit: { capacity: 100, rate_per_sec: 10 }"],
        &[],
    );
    let some = format!(
        "{zone}server {{ listen 83; {} {} }}",
        location("/", ""),
        location("/s/", "limit_req zone=a;")
    );
    nginx(
        &some,
        &["\n        rate_limit: { capacity: 1, rate_per_sec: 10 }"],
        &[],
    );
}

#[test]
fn sessions_of_nginx_are_tcp_listeners() {
    nginx(
        "stream { upstream db { server 127.0.0.2:2; server 127.0.0.2:3 backup; }\n\
         server { listen 5433; proxy_pass db; proxy_connect_timeout 5s; proxy_timeout 50s; proxy_protocol on; }\n\
         server { listen 53 udp; proxy_pass db; } }",
        &[
            "- listen: 0.0.0.0:5433  # in:2\n    upstream: db\n    idle_timeout: 50s",
            "connect_timeout: 5s\n    idle_timeout: 50s\n    send_proxy_protocol: v1",
        ],
        &["3: listen 53 udp: left out"],
    );
}

#[track_caller]
fn check_fails(text: &str, expected: &str) {
    let error = import("in", text, None).unwrap_err();
    let found = match &error {
        ImportError::Syntax(fault) => format!("{}: {error}", fault.line),
        ImportError::TooLong
        | ImportError::UnknownDialect
        | ImportError::Nothing(_)
        | ImportError::ResultTooLong => error.to_string(),
    };
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn what_cannot_be_read_is_told() {
    check_fails("listen a\n bind \"x\n", "2: a quote \" has no end");
    check_fails(
        "listen a\n bind :1\nbackand b\n server s 127.0.0.2:1\n",
        "3: \"backand\" is no section; there are: global",
    );
    check_fails("listen a from b\n", "1: there is no defaults section \"b\"");
    check_fails(
        "http {\n server {\n }\n",
        "1: the block of \"http\" has no } at its end",
    );
    check_fails("hello\n", "this looks neither like");
    check_fails("", "this looks neither like");
    check_fails("global\n daemon\n", "nothing to import");
    check_fails(
        &"# \n".repeat(SIZE_MAX),
        "the file has more than 1048576 bytes",
    );
}

#[test]
fn a_text_at_the_limit_is_read_in_good_time() {
    for (pattern, dialect) in [
        (" bind :1\n", Dialect::Haproxy),
        (" use_backend a if { path_beg /a }\n", Dialect::Haproxy),
        (" server a 127.0.0.2:1 check\n", Dialect::Haproxy),
        (" acl a path_beg /a /b\n", Dialect::Haproxy),
        (
            "server { location / { proxy_pass http://127.0.0.2:1; } }\n",
            Dialect::Nginx,
        ),
        (
            "location /a { proxy_pass http://127.0.0.2:1; }\n",
            Dialect::Nginx,
        ),
        ("proxy_set_header A b;\n", Dialect::Nginx),
        ("{", Dialect::Nginx),
    ] {
        let head = match dialect {
            Dialect::Haproxy => "listen a\n mode http\n",
            Dialect::Nginx => "",
        };
        let mut text = head.to_owned();
        text.push_str(&pattern.repeat((SIZE_MAX - head.len()) / pattern.len()));
        let _whatever = import("in", &text, Some(dialect));
    }
}

/// Lines and words that files are made of, and some that they are not.
fn pieces(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop::sample::select(of).prop_map(str::to_owned);
    let any = prop_oneof![9 => piece, 1 => "[ -~\n]{0,12}"];
    prop::collection::vec(any, 0..40).prop_map(|pieces| pieces.join(" "))
}

const OF_HAPROXY: &[&str] = &[
    "\nlisten a\n",
    "\nfrontend f\n",
    "\nbackend backends\n",
    "\nbackend a b\n",
    "\ndefaults\n",
    "\nglobal\n",
    " mode http\n",
    " bind :8404\n",
    " bind *:80,:::80\n",
    " bind 127.0.0.1:80\n",
    " server a 127.0.0.2:1 check weight 2000\n",
    " server b [::1]:80 backup ssl verify none\n",
    " server c a_b.example.com:80 inter 1us rise 0\n",
    " server d localhost:80 maxconn 0 weight 0\n",
    " default_backend a\n",
    " default_backend backends\n",
    " use_backend a if { path_beg /a } !x or TRUE\n",
    " acl x hdr(host) a.b ${X}\n",
    " use_backend backends if x { path /%2e%2e }\n",
    " timeout server 0\n",
    " timeout tunnel 999999999s\n",
    " option httpchk GET /x\n",
    " http-check send hdr Host a hdr \"${X}\" b\n",
    " http-request set-header A \"${B} #\"\n",
    " http-request del-header Host\n",
    " option tcplog\n",
    " balance hdr(a)\n",
    " balance uri\n",
    " stats enable\n",
    " stick on src\n",
    " hash-balance-factor 1\n",
    " default-server slowstart 9d on-marked-down shutdown-sessions send-proxy-v2\n",
    " option pgsql-check\n",
];
const OF_NGINX: &[&str] = &[
    "http {",
    "stream {",
    "upstream a {",
    "upstream backends {",
    "server {",
    "}",
    "}",
    "}",
    "location / {",
    "location = /a {",
    "location /x/../%2e {",
    "listen 80;",
    "listen [::]:80 default_server;",
    "listen 8404;",
    "server 127.0.0.2;",
    "server 127.0.0.2:1 weight=0 max_fails=9999 backup;",
    "server a:0;",
    "proxy_pass http://a;",
    "proxy_pass http://a/;",
    "proxy_pass https://[::1]:80/x;",
    "proxy_pass a;",
    "grpc_pass b_c:1;",
    "ip_hash;",
    "server_name a.b *.c ~x 1.2.3 \"\";",
    "client_max_body_size 0;",
    "proxy_read_timeout 99y;",
    "proxy_timeout 0;",
    "proxy_set_header Host \"a b\";",
    "proxy_set_header A \"${b}\";",
    "proxy_hide_header Connection;",
    "add_header A \"#: x\" always;",
    "limit_req zone=z burst=4294967295;",
    "hash $cookie_a;",
    "limit_req_zone $remote_addr zone=z:1m rate=1r/m;",
    "set_real_ip_from 10.0.0.0/8;",
    "access_log /x y;",
    "keepalive_timeout 0;",
    "large_client_header_buffers 9 9g;",
    "limit_conn a 0;",
    "proxy_ssl_name a;",
];

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<String>(), is_nginx in any::<bool>()) {
        let dialect = if is_nginx { Dialect::Nginx } else { Dialect::Haproxy };
        let _whatever = import("in", &text, Some(dialect));
        let _whatever = import("in", &text, None);
    }

    #[test]
    fn what_comes_of_haproxy_is_valid(text in pieces(OF_HAPROXY)) {
        if let Ok(imported) = import("in", &text, Some(Dialect::Haproxy)) {
            check_valid(&imported.yaml);
        }
    }

    #[test]
    fn what_comes_of_nginx_is_valid(text in pieces(OF_NGINX)) {
        if let Ok(imported) = import("in", &text, Some(Dialect::Nginx)) {
            check_valid(&imported.yaml);
        }
    }
}
