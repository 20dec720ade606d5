//! Checks that speak the protocol of the servers behind the TCP load balancer.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{FakeBackend, Link, MariaDb, Redis, TestApp, eventually};

/// A listener before one server.
fn sections(server: SocketAddr, more: &str, check: &str) -> String {
    format!(
        "tcp:\n  - {{ listen: 127.0.0.1:0, upstream: db }}\nupstreams:\n  db:\n    backends: [\"tcp://{server}\"]\n    {more}\n    \
         health_check: {{ {check}, interval: 200ms, timeout: 200ms, rise: 1, fall: 2 }}\n"
    )
}

async fn available(app: &TestApp) -> u64 {
    app.metric("weir_upstream_available{upstream=\"db\"}").await
}

async fn until_available(app: &TestApp, wanted: u64) {
    eventually("the check has noticed", async || {
        app.readiness().await == 200 && available(app).await == wanted
    })
    .await;
}

/// A server that answers each connection by this, once it has got so many bytes.
async fn talker(expects: &'static [u8], answers: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut got = vec![0; expects.len()];
                if client.read_exact(&mut got).await.is_ok() && got == expects {
                    let _gone = client.write_all(answers).await;
                }
                let _end = client.read(&mut [0]).await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_tcp_check_sends_and_expects_text() {
    let server = talker(b"HELO weir\r\n", b"220 mail\r\n250 hello weir\r\n").await;
    for (check, is_up) in [
        (
            r#"tcp: true, send: "HELO weir\r\n", expect: "250 hello""#,
            1,
        ),
        (
            r#"tcp: true, send: "HELO weir\r\n", expect: "250 goodbye""#,
            0,
        ),
        (r#"tcp: true, expect: "220""#, 0),
    ] {
        let app = TestApp::start("", &sections(server, "", check));
        until_available(&app, is_up).await;
    }
    let greeter = talker(b"", b"220 mail\r\n").await;
    let check = r#"tcp: true, expect: "220""#;
    let app = TestApp::start("", &sections(greeter, "", check));
    until_available(&app, 1).await;
}

/// A server that sends without end is not read without end.
#[tokio::test]
async fn a_tcp_check_reads_no_more_than_it_may() {
    static MUCH: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let server = talker(b"", &MUCH).await;
    let check = r#"tcp: true, expect: "y""#;
    let app = TestApp::start("", &sections(server, "", check));
    until_available(&app, 0).await;
}

/// A server behind a listener that demands the PROXY protocol sees no broken connections.
#[tokio::test]
async fn a_check_announces_itself_where_sessions_do() {
    for (version, header) in [
        ("v1", b"PROXY UNKNOWN\r\n".as_slice()),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ] {
        let server = talker(header, b"220 ready\r\n").await;
        let more = format!("send_proxy_protocol: {version}");
        let check = r#"tcp: true, expect: "220""#;
        let app = TestApp::start("", &sections(server, &more, check));
        until_available(&app, 1).await;
    }
}

/// As Patroni tells the health of a server of PostgreSQL.
#[tokio::test]
async fn another_port_tells_the_health_of_a_server() {
    let server = talker(b"", b"hello").await;
    let teller = FakeBackend::replying("{}").await;
    let check = format!("http: /primary, port: {}", teller.addr.port());
    let app = TestApp::start("", &sections(server, "", &check));
    until_available(&app, 1).await;
    let mut session = TcpStream::connect(app.tcp.unwrap()).await.unwrap();
    let mut hello = [0; 5];
    session.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    assert!(teller.heads()[0].starts_with("GET /primary HTTP/1.1"));
}

#[tokio::test]
async fn a_redis_check_knows_the_primary() {
    let Some(primary) = Redis::start("a_redis_check_knows_the_primary").await else {
        return;
    };
    let replica = Redis::start("a_redis_check_knows_the_primary")
        .await
        .unwrap();
    let link = Link::start(replica.socket()).await;
    let (replica, follower) = (link, replica);
    let primary = Link::start(primary.socket()).await;
    let port = primary.addr.port();
    follower.run(&format!("REPLICAOF 127.0.0.1 {port}")).await;
    for (server, check, is_up) in [
        (primary.addr, "redis: any", 1),
        (primary.addr, "redis: primary", 1),
        (replica.addr, "redis: any", 1),
        (replica.addr, "redis: primary", 0),
        (primary.addr, "redis: any, password: wrong", 0),
    ] {
        let app = TestApp::start("", &sections(server, "", check));
        until_available(&app, is_up).await;
    }
}

/// With a user, checks are no failed connections, after which the server would refuse this host.
#[tokio::test]
async fn a_mysql_check_logs_in() {
    let Some(server) = MariaDb::start("a_mysql_check_logs_in").await else {
        return;
    };
    server.run("CREATE USER weir_check").await;
    let link = Link::start(server.socket()).await;
    for (check, is_up) in [
        ("mysql: true, user: weir_check", 1),
        ("mysql: true, user: nobody_known", 0),
        ("mysql: true", 1),
    ] {
        let before = server.aborted().await;
        let app = TestApp::start("", &sections(link.addr, "", check));
        until_available(&app, is_up).await;
        if check.contains("weir_check") {
            assert_eq!(server.aborted().await, before);
        }
    }
}

/// A server of another protocol is none of these.
#[tokio::test]
async fn a_check_of_another_protocol_fails() {
    let server = talker(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    for check in ["mysql: true", "redis: any", "postgres: any"] {
        let app = TestApp::start("", &sections(server, "", check));
        until_available(&app, 0).await;
    }
}
