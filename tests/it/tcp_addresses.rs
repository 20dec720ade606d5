//! Who the client of a TCP session is: the PROXY protocol, the access log, consistent hashing.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{
    support::{Process, TestApp, eventually, weir},
    tcp::{TcpBackend, connect, end, hears, is_refused, says, sections},
};

const TRUSTING: &str = "proxy_protocol_from: [127.0.0.0/8]";
const TOLD: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 5433\r\n";

#[tokio::test]
async fn a_backend_learns_who_the_client_is() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start(
        "",
        &sections("", &[backend.addr], "    send_proxy_protocol: v1\n"),
    );
    let mut client = connect(&app).await;
    let (addr, listener) = (client.local_addr().unwrap(), app.tcp.unwrap());
    let mut session = backend.session().await;
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        addr.port(),
        listener.port()
    );
    hears(&mut session, &expected).await;
    says(&mut client, "hello").await;
    hears(&mut session, "hello").await;
}

/// What a trusted proxy says is passed on, in either version.
#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start(
        "",
        &sections(TRUSTING, &[backend.addr], "    send_proxy_protocol: v1\n"),
    );
    let version_2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x15, 0x39],
    ]
    .concat();
    for header in [TOLD.as_bytes(), &version_2] {
        let mut client = connect(&app).await;
        let bytes = [header, b"hello"].concat();
        tokio::io::AsyncWriteExt::write_all(&mut client, &bytes)
            .await
            .unwrap();
        let mut session = backend.session().await;
        hears(&mut session, TOLD).await;
        hears(&mut session, "hello").await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_must_say_it_and_nobody_else_can() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections(TRUSTING, &[backend.addr], ""));
    let mut client = connect(&app).await;
    says(&mut client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(end(&mut client).await.is_err());
    app.until_metric("weir_tcp_faults_total{cause=\"proxy_header\"}", 1)
        .await;
    assert!(backend.is_idle());
    let other = "proxy_protocol_from: [10.0.0.0/8]";
    let app = TestApp::start("", &sections(other, &[backend.addr], ""));
    let mut client = connect(&app).await;
    says(&mut client, TOLD).await;
    hears(&mut backend.session().await, TOLD).await;
}

#[tokio::test]
async fn a_client_always_gets_the_same_backend_by_hash() {
    let mut backends = [TcpBackend::start().await, TcpBackend::start().await];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let keys = "    balance: consistent_hash\n    send_proxy_protocol: v1\n";
    let app = TestApp::start("", &sections(TRUSTING, &addrs, keys));
    let mut used = Vec::new();
    for client in (1..=40).chain(1..=40) {
        let mut stream = connect(&app).await;
        let told = format!("PROXY TCP4 203.0.113.{client} 192.0.2.1 4711 5433\r\n");
        says(&mut stream, &told).await;
        let [first, second] = &mut backends;
        let index = tokio::select! {
            mut session = first.session() => { hears(&mut session, &told).await; 0 }
            mut session = second.session() => { hears(&mut session, &told).await; 1 }
        };
        used.push(index);
    }
    assert_eq!(used[..40], used[40..]);
    assert!(used.contains(&0) && used.contains(&1), "{used:?}");
}

fn access_log(format: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let section = format!(
        "access_log: {{ file: \"{}\", format: {format} }}\n",
        path.display()
    );
    (directory, section)
}

async fn line(directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("access.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("a line is written", async || read().contains('\n')).await;
    read()
}

async fn one_session(format: &str) -> (String, SocketAddr, SocketAddr) {
    let mut backend = TcpBackend::start().await;
    let (directory, section) = access_log(format);
    let sections = format!("{section}{}", sections(TRUSTING, &[backend.addr], ""));
    let app = TestApp::start("", &sections);
    let mut client = connect(&app).await;
    says(&mut client, &format!("{TOLD}hello")).await;
    let mut session = backend.session().await;
    hears(&mut session, "hello").await;
    says(&mut session, "hi").await;
    hears(&mut client, "hi").await;
    drop(session);
    end(&mut client).await.unwrap();
    drop(client);
    (line(&directory).await, app.tcp.unwrap(), backend.addr)
}

#[tokio::test]
async fn a_session_has_a_line_in_json() {
    let (line, _listener, backend) = one_session("json").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    for (key, value) in [
        ("client", Value::from("203.0.113.7")),
        ("client_port", 4711.into()),
        ("protocol", "TCP".into()),
        ("listener", "127.0.0.1:0".into()),
        ("upstream", "db".into()),
        ("backend", format!("tcp://{backend}").into()),
        ("attempts", 1.into()),
        ("bytes_received", 5.into()),
        ("bytes_sent", 2.into()),
        ("cause", "ok".into()),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    for key in ["connect_seconds", "total_seconds"] {
        assert!(line[key].is_f64(), "{key} in {line}");
    }
}

#[tokio::test]
async fn a_session_has_a_line_beside_those_of_nginx() {
    let (line, _listener, backend) = one_session("combined").await;
    let (client, rest) = line.split_once(" - - [").unwrap();
    assert_eq!(client, "203.0.113.7");
    let (_time, rest) = rest.split_once("] ").unwrap();
    let expected = format!("\"TCP 127.0.0.1:0\" 5 2 db tcp://{backend} 1 ok 0.");
    assert!(rest.starts_with(&expected), "{rest}");
}

#[tokio::test]
async fn a_session_without_a_backend_is_logged() {
    let mut backend = TcpBackend::start().await;
    let addr = backend.addr;
    backend.stop().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let sections = sections("", &[addr], "    health_check: off\n");
    std::fs::write(&file, sections).unwrap();
    let mut command = weir();
    command.arg("--cdn-host=cdn.example.com");
    command.arg("--config").arg(&file);
    let process = Process::spawn(command);
    assert!(is_refused(process.tcp.unwrap()).await);
    let event = process.until_logged("session failed: connecting to upstream db failed");
    for (key, value) in [
        ("upstream", "db"),
        ("cause", "connect_refused"),
        ("client", "127.0.0.1"),
        ("listener", "127.0.0.1:0"),
    ] {
        assert_eq!(event[key], value, "{event}");
    }
}
