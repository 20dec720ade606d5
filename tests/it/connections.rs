//! Connections that misbehave: silent, slow, idle, too many, flooding.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use weir::proto;

use crate::support::{
    GrpcClient, Process, TestApp, VIDEO, eventually, framed_call, grpc_request, http1, read,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PATIENCE: Duration = Duration::from_secs(20);

fn limits(connections: &str) -> String {
    format!("connections: {{ {connections} }}\n")
}

fn closed(cause: &str) -> String {
    format!("weir_connections_closed_total{{cause=\"{cause}\"}}")
}

/// Waits until the server closes, whatever it sends before.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    // A reset is an end, too.
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .expect("never closed");
    received
}

#[tokio::test]
async fn ten_thousand_silent_connections_are_closed_and_disturb_nobody() {
    raise_own_limit();
    let (_directory, config) = config_file("connections: { first_byte_timeout: 3s }\n");
    let process = Process::start(&["--cdn-host=cdn.example.com", "--config", &config]);
    let silent = flood(&process, 10_000).await;
    assert_eq!(
        silent.len(),
        10_000,
        "this test needs a limit of 12,000 open files"
    );
    let client = GrpcClient::connect(process.redirect).await;
    for _ in 0..100 {
        assert_eq!(client.redirect(VIDEO).await.code(), 0);
    }
    for mut stream in silent {
        assert!(until_closed(&mut stream).await.is_empty());
    }
    let (_, page) = http1(
        process.admin,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(
        crate::support::metric(&page, &closed("first_byte_timeout")),
        10_000
    );
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn half_a_preface_is_closed_in_time() {
    let app = TestApp::start("", &limits("first_byte_timeout: 200ms"));
    let mut stream = TcpStream::connect(app.redirect).await.unwrap();
    stream.write_all(&PREFACE[..10]).await.unwrap();
    assert!(until_closed(&mut stream).await.is_empty());
    app.until_metric(&closed("first_byte_timeout"), 1).await;
}

#[tokio::test]
async fn preface_and_head_may_come_byte_by_byte() {
    let app = TestApp::plain();
    let request =
        format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (bytes, expected) in [
        ([PREFACE, EMPTY_SETTINGS].concat(), &[0, 0][..]),
        (request.into_bytes(), b"HTTP/1.1 302"),
    ] {
        let mut stream = TcpStream::connect(app.redirect).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in bytes {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut start = vec![0; expected.len()];
        timeout(PATIENCE, stream.read_exact(&mut start))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(start, expected);
    }
}

#[tokio::test]
async fn a_slow_head_is_closed_though_bytes_keep_coming() {
    let app = TestApp::start("", &limits("header_timeout: 300ms"));
    let mut stream = TcpStream::connect(app.redirect).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        writer
            .write_all(b"GET /redirect HTTP/1.1\r\n")
            .await
            .unwrap();
        while writer.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut received = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = reader.read_to_end(&mut received) => {}
    }
    let received = String::from_utf8(received).unwrap();
    assert!(received.starts_with("HTTP/1.1 408 "), "{received:?}");
    app.until_metric(&closed("header_timeout"), 1).await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_http2_gets_a_goaway() {
    let app = TestApp::start("", &limits("idle_timeout: 200ms"));
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    let mut stream = TcpStream::connect(app.redirect).await.unwrap();
    stream
        .write_all(b"GET /redirect HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(until_closed(&mut stream).await.starts_with(b"HTTP/1.1 400"));
    // GOAWAY without an error is a good end for the client.
    timeout(PATIENCE, client.connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    app.until_metric(&closed("idle_timeout"), 2).await;
}

#[tokio::test]
async fn old_connections_are_asked_to_leave_and_finish_their_calls() {
    let app = TestApp::start(
        "",
        &limits("max_connection_age: 1s, max_connection_age_grace: 10s"),
    );
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    // No new call is taken: the GOAWAY has come.
    let mut next = client.requests.clone();
    eventually("a GOAWAY", async || {
        let mut probe = next.clone();
        match std::future::poll_fn(|cx| probe.poll_ready(cx)).await {
            Err(_going_away) => true,
            Ok(()) => probe
                .send_request(grpc_request(proto::REDIRECT_PATH), true)
                .is_err(),
        }
    })
    .await;
    let _ = &mut next;
    // The call in flight survives its connection's age.
    send.send_data(framed_call(VIDEO), true).unwrap();
    assert_eq!(read(response.await.unwrap()).await.unwrap().code(), 0);
    drop((requests, next));
    timeout(PATIENCE, client.connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    app.until_metric(&closed("age_limit"), 1).await;
}

#[tokio::test]
async fn an_aged_connection_that_stays_is_cut_after_the_grace() {
    let app = TestApp::start(
        "",
        &limits("max_connection_age: 1s, max_connection_age_grace: 200ms"),
    );
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    assert!(timeout(PATIENCE, response).await.unwrap().is_err());
    app.until_metric(&closed("age_limit"), 1).await;
}

#[tokio::test]
async fn a_connection_whose_calls_all_hang_is_closed() {
    // The client's window is shut, so no answer can leave.
    let app = TestApp::start("  call_timeout: 200ms\n", &limits("idle_timeout: 300ms"));
    let stream = TcpStream::connect(app.redirect).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (requests, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let (response, mut send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    send.send_data(framed_call(VIDEO), true).unwrap();
    let _head = response.await.unwrap();
    let _ended = timeout(PATIENCE, connection).await.expect("never closed");
    app.until_metric(&closed("stalled"), 1).await;
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// A call's own deadline comes before its connection counts as stalled, however short that is.
#[tokio::test]
async fn a_slow_call_ends_by_its_deadline_and_its_connection_lives_on() {
    let app = TestApp::start("  call_timeout: 400ms\n", &limits("idle_timeout: 200ms"));
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    assert_eq!(read(response.await.unwrap()).await.unwrap().code(), 4);
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

/// Closing a kept-alive HTTP/1.1 connection for its age would race with the next request.
#[tokio::test]
async fn http1_connections_have_no_age_limit() {
    let app = TestApp::start("", &limits("max_connection_age: 1s"));
    let mut stream = TcpStream::connect(app.redirect).await.unwrap();
    let request = format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\n\r\n");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the connection was closed"));
        }
        assert!(head.starts_with(b"HTTP/1.1 302"));
    }
}

#[tokio::test]
async fn settings_carry_the_stream_limit() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    for (keys, expected) in [("", 256), ("max_concurrent_streams: 7", 7)] {
        let app = TestApp::start("", &limits(keys));
        let mut stream = TcpStream::connect(app.redirect).await.unwrap();
        stream
            .write_all(&[PREFACE, EMPTY_SETTINGS].concat())
            .await
            .unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "the first frame is SETTINGS");
        let mut settings = vec![0; usize::from(head[2])];
        stream.read_exact(&mut settings).await.unwrap();
        let limit = settings
            .chunks_exact(6)
            .find(|setting| u16::from_be_bytes([setting[0], setting[1]]) == MAX_CONCURRENT_STREAMS)
            .map(|setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
        assert_eq!(limit, Some(expected));
    }
}

#[tokio::test]
async fn rapid_reset_ends_in_a_goaway() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let mut resets = 0;
    let ended = loop {
        // Requests and resets pile up in one packet, as an attacker sends them.
        for _ in 0..100 {
            let Ok(mut requests) = client.requests.clone().ready().await else {
                break;
            };
            let Ok((_response, mut send)) =
                requests.send_request(grpc_request(proto::REDIRECT_PATH), false)
            else {
                break;
            };
            send.send_reset(Reason::CANCEL);
            resets += 1;
        }
        if client.connection.is_finished() {
            break client.connection.await.unwrap();
        }
        assert!(resets < 100_000, "never ended");
        tokio::task::yield_now().await;
    };
    let error = ended.expect_err("an attacker gets no good end");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error}");
    app.until_metric("weir_calls_in_flight", 0).await;
    assert_eq!(
        GrpcClient::connect(app.redirect)
            .await
            .redirect(VIDEO)
            .await
            .code(),
        0
    );
}

/// MadeYouReset (CVE-2025-8671): frames that make us reset our own streams.
#[tokio::test]
async fn resets_that_a_client_provokes_end_in_a_goaway() {
    const GOAWAY: u8 = 7;
    let app = TestApp::plain();
    let mut stream = TcpStream::connect(app.redirect).await.unwrap();
    stream
        .write_all(&[PREFACE, EMPTY_SETTINGS].concat())
        .await
        .unwrap();
    let (mut reader, mut writer) = stream.split();
    let attack = async {
        for index in 0..5_000u32 {
            let id = (2 * index + 1).to_be_bytes();
            // :method POST, :scheme http, :path /, from HPACK's static table.
            let head = [&[0, 0, 3, 1, 4][..], &id, &[0x83, 0x86, 0x84]].concat();
            // A window beyond 2^31-1 is an error of the stream, not of the connection.
            let update = [&[0, 0, 4, 8, 0][..], &id, &[0x7f, 0xff, 0xff, 0xff]].concat();
            if writer.write_all(&[head, update].concat()).await.is_err() {
                return;
            }
        }
    };
    let mut received = Vec::new();
    let until_end = async {
        let _reset = reader.read_to_end(&mut received).await;
    };
    let both = async { tokio::join!(attack, until_end) };
    timeout(PATIENCE, both)
        .await
        .expect("the connection was never ended");
    let mut reasons = Vec::new();
    let mut rest = received.as_slice();
    while let [high, middle, low, kind, ..] = *rest {
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind == GOAWAY {
            // After the frame's head and the last stream's number.
            reasons.push(u32::from_be_bytes(rest[13..17].try_into().unwrap()));
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    assert_eq!(reasons, [u32::from(Reason::ENHANCE_YOUR_CALM)]);
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_accept() {
    let app = TestApp::start("", &limits("limit: 3"));
    let mut open = Vec::new();
    for _ in 0..3 {
        let client = GrpcClient::connect(app.redirect).await;
        assert_eq!(client.redirect(VIDEO).await.code(), 0);
        open.push(client);
    }
    let mut excess = TcpStream::connect(app.redirect).await.unwrap();
    assert!(until_closed(&mut excess).await.is_empty());
    app.until_metric(&closed("connection_limit"), 1).await;
    let freed = open.pop().unwrap();
    freed.connection.abort();
    drop(freed);
    eventually("a freed place", async || app.open_connections().await == 2).await;
    assert_eq!(
        GrpcClient::connect(app.redirect)
            .await
            .redirect(VIDEO)
            .await
            .code(),
        0
    );
}

/// Opens connections until nobody takes them any more.
async fn flood(process: &Process, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        match timeout(
            Duration::from_millis(200),
            TcpStream::connect(process.redirect),
        )
        .await
        {
            Ok(Ok(stream)) => streams.push(stream),
            // The backlog is full, or we have no more files ourselves.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    streams
}

/// Writes a configuration file; it goes with the directory.
fn config_file(yaml: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    std::fs::write(&file, yaml).unwrap();
    (directory, file.to_str().unwrap().to_owned())
}

/// Lets this process hold as many connections as a flood needs.
fn raise_own_limit() {
    weir::net::raise_open_files_limit();
}

async fn recovers(process: &Process) {
    let recovered = async {
        let client = GrpcClient::connect(process.redirect).await;
        client
            .try_call(grpc_request(proto::REDIRECT_PATH), vec![framed_call(VIDEO)])
            .await
    };
    let answer = timeout(Duration::from_secs(5), recovered)
        .await
        .expect("does not recover")
        .unwrap();
    assert_eq!(answer.code(), 0);
}

/// The share of one core that a process uses over a second.
async fn busy_share(process: &Process) -> f64 {
    let (before, since) = (process.cpu_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    (process.cpu_time() - before).as_secs_f64() / since.elapsed().as_secs_f64()
}

#[tokio::test]
async fn the_connection_limit_keeps_files_free_in_a_flood() {
    raise_own_limit();
    // A limit that is too high is lowered to what there are files for.
    let (_directory, config) = config_file("connections: { limit: 100000 }\n");
    let arguments = [
        "--cdn-host=cdn.example.com",
        "--workers=2",
        "--config",
        &config,
    ];
    let process = Process::start_with_open_files(256, &arguments);
    let streams = flood(&process, 2_000).await;
    assert_eq!(streams.len(), 2_000);
    // The control plane answers all the while.
    let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metric =
        async |name: &str| crate::support::metric(&http1(process.admin, ask).await.1, name);
    eventually("most are closed at accept", async || {
        metric(&closed("connection_limit")).await > 1_000
    })
    .await;
    assert_eq!(
        metric("weir_accept_faults_total{fault=\"exhausted\"}").await,
        0
    );
    let busy = busy_share(&process).await;
    assert!(busy < 0.2, "spins: {busy:.2} of a core");
    drop(streams);
    recovers(&process).await;
}

#[tokio::test]
async fn an_accept_loop_without_files_pauses_and_recovers() {
    raise_own_limit();
    let process = Process::start(&["--cdn-host=cdn.example.com", "--workers=2"]);
    // Taken away while it runs, so that its own reserve is no help.
    process.limit_open_files(64);
    let streams = flood(&process, 2_000).await;
    process.until_logged("cannot accept connections");
    let busy = busy_share(&process).await;
    assert!(busy < 0.2, "spins: {busy:.2} of a core");
    drop(streams);
    recovers(&process).await;
    process.until_logged("accepting connections again");
}
