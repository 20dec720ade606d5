//! For whom a request is: one host, and one that everybody reads alike.

use crate::support::Table;

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn hosts_that_are_none_are_refused() {
    let mut table = Table::start("").await;
    let hosts: Vec<&str> = NO_HOSTS.lines().chain(["", "a\tb", "a\u{e4}"]).collect();
    for host in &hosts {
        table
            .refuses(get(&format!("Host: {host}\r\n")), &[400])
            .await;
    }
    let several = [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: a\r\n",
        "Host:\r\nHost: a\r\n",
        "X-Host: a\r\n",
    ];
    for host in several {
        table.refuses(get(host), &[400]).await;
    }
    assert_eq!(hosts.len(), 62);
    table.finish(62 + several.len());
}

#[tokio::test]
async fn hosts_arrive_as_they_came() {
    let mut table = Table::start("").await;
    let hosts: Vec<&str> = HOSTS.lines().collect();
    for host in &hosts {
        let request = get(&format!("Host: {host}\r\n"));
        table.forwards(request, ["GET", "/", host, ""]).await;
    }
    table.finish(15);
}

/// RFC 3986 allows them in a name that no DNS knows: refused, or sent on as they came.
#[tokio::test]
async fn odd_names_have_no_second_reading() {
    let mut table = Table::start("").await;
    for host in ["a;b", "a=b", "a'b", "(a)", "a!b", "a$b", "a&b", "*", "a:"] {
        let request = get(&format!("Host: {host}\r\n"));
        let before = table.backend.requests().len();
        let statuses = table.talk(&request).await.statuses();
        let requests = table.backend.requests();
        let seen: Vec<_> = requests[before..]
            .iter()
            .map(|seen| seen.value("host").trim_end_matches(':'))
            .collect();
        let holds = match statuses[..] {
            [200] => seen == [host.trim_end_matches(':')],
            [400] => seen.is_empty(),
            _ => false,
        };
        table.note(&request, holds, (statuses, seen));
    }
    table.finish(9);
}

#[tokio::test]
async fn targets_that_are_none_are_refused() {
    let mut table = Table::start("").await;
    for line in NO_TARGETS.lines() {
        let request = format!("{line} HTTP/1.1\r\nHost: web.example\r\n\r\n");
        table.refuses(request, &[400]).await;
    }
    for line in [
        "CONNECT a:80",
        "CONNECT /",
        "CONNECT http://a/",
        "CONNECT *",
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: a:80\r\n\r\n");
        table.refuses(request, &[400, 405, 501]).await;
    }
    table.finish(20 + 4);
}

/// RFC 9112 section 3.2.2: the target wins over the Host header, which must be one all the same.
#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let mut table = Table::start("").await;
    for (target, expected) in [
        ("http://web.example/x?y", ["GET", "/x?y", "web.example", ""]),
        ("http://web.example:81/", ["GET", "/", "web.example:81", ""]),
        ("http://web.example", ["GET", "/", "web.example", ""]),
        ("HTTP://web.example/", ["GET", "/", "web.example", ""]),
        // Two slashes are a path, not a host.
        ("//evil/x", ["GET", "//evil/x", "other", ""]),
        ("/http://evil/", ["GET", "/http://evil/", "other", ""]),
        ("/@evil", ["GET", "/@evil", "other", ""]),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n");
        table.forwards(request, expected).await;
    }
    for hosts in ["Host: b\r\nHost: c\r\n", "Host: b@c\r\n", ""] {
        let request = format!("GET http://a/ HTTP/1.1\r\n{hosts}\r\n");
        table.refuses(request, &[400]).await;
    }
    table.finish(7 + 3);
}

/// After nginx's `http_host.t`: neither names, nor ports, nor addresses.
const NO_HOSTS: &str = r#":
:80
..
.
a..b
.a
a b
a,b
a, b
a/b
a\b
a?b
a#b
a@b
@a
a@
user:pw@a
http://a
a/
//a
a%
a%zz
%00
a%2fb
a%0d%0ab
"a"
<a>
a|b
a^b
a`b
{a}
a:b
a:80b
a:-1
a:+80
a:65536
a:99999999999
a:80:80
a::80
a: 80
a:0x50
a:8 0
[
]
[]
[::1
::1]
::1
[::1]a
[::1]:x
[::1]:65536
[[::1]]
[1.2.3.4]
[::g]
[a]
[1::2::3]
a[::1]
[::1%25eth0]
[1:2:3:4:5:6:7:8:9]"#;

const HOSTS: &str = "a
A.Example
www.abcd-ef.g02.xyz
www.abcd-ef.g02.xyz.
a_b.example
xn--bcher-kva.example
127.0.0.1
127.0.0.1:8080
a:80
a:1
a:65535
[::1]
[::1]:80
[::ffff:1.2.3.4]:8080
0-9.a";

const NO_TARGETS: &str = "GET *
GET admin
GET admin/
GET ?a
GET @a
GET a:80
OPTIONS */x
OPTIONS a
POST *
GET ..
GET http://
GET http:///x
GET http:x
GET http://a@b/
GET http://a:b/
GET http://a:65536/
GET http://a..b/
GET http://a,b/
GET :80/
GET [::1]";
