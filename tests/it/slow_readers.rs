//! Responses to clients that read late: all of it arrives, whatever was unsent meanwhile.

use std::{io, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    End, KeptClient, RecordingBackend, TestApp, eventually, get, ok,
    raw_http2::{GET, Outcome, RawHttp2, WINDOW_UPDATE, frame, headers},
    start_balancer,
};

/// Longer than what a connection is idle for before it is parked: the time is what is tested.
const PARKED: Duration = Duration::from_millis(1300);
/// What a client takes before it reads, so that the rest must wait.
const WINDOW_BYTES: u32 = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers the head of a request by as many bytes as its target names.
async fn talkative() -> RecordingBackend {
    RecordingBackend::scripted(|mut wire| async move {
        while let Some(request) = wire.head().await {
            let body = body(request.target[1..].parse().unwrap());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            wire.send(head).await;
            wire.send(body).await;
        }
    })
    .await
}

/// It tells what is missing, and where.
fn body(bytes: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..=250).collect();
    let mut body = period.repeat(bytes / period.len() + 1);
    body.truncate(bytes);
    body
}

/// Bodies that end in different places when their reader stops: in the sockets' buffers, which
/// hold a few megabytes, in the balancer's, and behind them.
async fn sizes() -> Vec<usize> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(WINDOW_BYTES).unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(socket.connect(addr), listener.accept());
    let (_client, stream) = (client.unwrap(), accepted.unwrap().0);
    let mut held = 0;
    stream.writable().await.unwrap();
    loop {
        match stream.try_write(&[0; 16 * 1024]) {
            Ok(written) => held += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let sizes = (0..24).map(|index| held - 160 * 1024 + index * 16 * 1024);
    sizes.collect()
}

/// A client that asked and did not read for some time.
async fn asked(app: &TestApp, request: String) -> KeptClient {
    let mut client = KeptClient::connect_narrow(app.http.unwrap(), WINDOW_BYTES).await;
    client.send(request).await;
    client
}

/// Reads a response of so many bytes, with a pause before and one within.
async fn read_late(mut client: KeptClient, bytes: usize) -> KeptClient {
    sleep(PARKED).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let mut received = client.take(20_000).await;
    sleep(PARKED).await;
    received.extend(client.take(bytes - received.len()).await);
    assert!(received == body(bytes), "of {bytes} some are others");
    client
}

/// What is unsent when the call is over must not be dropped when the connection gives its buffers
/// back.
#[tokio::test]
async fn an_idle_connection_sends_all_and_goes_on() {
    let backend = talkative().await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut reading = JoinSet::new();
    for bytes in sizes().await {
        let client = asked(&app, get(&format!("/{bytes}"))).await;
        reading.spawn(async move {
            let mut client = read_late(client, bytes).await;
            // In order, and nothing between.
            client.send(get("/5")).await;
            assert_eq!(client.answer().await.body.as_bytes(), body(5), "{bytes}");
        });
    }
    assert_eq!(reading.join_all().await.len(), 24);
}

/// What hyper still holds when it is done must be written before the end.
#[tokio::test]
async fn a_last_response_is_whole() {
    let backend = talkative().await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut reading = JoinSet::new();
    for bytes in sizes().await {
        let asks = [
            format!("GET /{bytes} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            // The rest of its body never comes, and the backend does not wait for it.
            format!("POST /{bytes} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789"),
        ];
        for ask in asks {
            let client = asked(&app, ask).await;
            reading.spawn(async move {
                let mut client = read_late(client, bytes).await;
                assert_eq!(client.rest().await, (Vec::new(), End::Closed), "{bytes}");
            });
        }
    }
    assert_eq!(reading.join_all().await.len(), 48);
}

/// A balancer for whose clients a second is too long.
fn impatient(backend: &RecordingBackend) -> TestApp {
    start_balancer(
        &[backend.url()],
        "    connect_timeout: 200ms\n    response_timeout: 300ms\n    idle_timeout: 300ms\n    queue: { timeout: 100ms }\n",
        "",
        "connections: { idle_timeout: 300ms }\n",
    )
}

/// Wherever the end of a response waits, it does not wait for ever.
#[tokio::test]
async fn who_never_reads_is_closed() {
    let backend = talkative().await;
    let app = impatient(&backend);
    let mut clients = Vec::new();
    for connection in ["keep-alive", "close"] {
        for bytes in sizes().await {
            let ask =
                format!("GET /{bytes} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
            clients.push(asked(&app, ask).await);
        }
    }
    eventually("all are closed", async || app.open_connections().await == 0).await;
    let stalled = "weir_connections_closed_total{cause=\"stalled\"}";
    assert!(app.metric(stalled).await > 8);
    assert_eq!(clients.len(), 48);
    assert_eq!(app.metric("weir_calls_in_flight").await, 0);
}

/// hyper does not ask for the body of a stream without room; other streams of the connection move.
#[tokio::test]
async fn a_stream_that_takes_nothing_gives_its_backend_back() {
    for limits in ["    idle_timeout: 300ms\n", "    total_timeout: 700ms\n"] {
        let backend = RecordingBackend::scripted(|mut wire| async move {
            while let Some(request) = wire.head().await {
                if request.target == "/" {
                    wire.send(ok("fine")).await;
                    continue;
                }
                let part = "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\npart";
                wire.send(part).await;
                return wire.until_closed().await;
            }
        });
        let backend = backend.await;
        let app = start_balancer(
            &[backend.url()],
            &format!("{limits}    max_requests: 9\n"),
            "",
            "connections: { idle_timeout: 300ms }\n",
        );
        // INITIAL_WINDOW_SIZE is 0.
        let mut client = RawHttp2::connect(app.http.unwrap(), &[(4, 0)]).await;
        let stuck = [&GET[..3], &[(":path", "/stuck")]].concat();
        for stream in 0..8 {
            client.send(&headers(2 * stream + 1, true, &stuck)).await;
        }
        let name = format!("upstream=\"app\",backend=\"{}\"}}", backend.addr);
        let in_flight = format!("weir_backend_in_flight{{{name}");
        app.until_metric(&in_flight, 8).await;
        let mut stream = 15;
        let began = Instant::now();
        while app.metric(&in_flight).await > 0 {
            assert!(began.elapsed() < PATIENCE, "they are never given up");
            stream += 2;
            let window = frame(WINDOW_UPDATE, 0, stream, &1000_u32.to_be_bytes());
            client
                .send(&[headers(stream, true, &GET), window].concat())
                .await;
            assert_eq!(client.outcome(stream).await, Outcome::Status(200));
        }
        assert!(stream > 17);
    }
}

/// A switch of protocols that its client never sees: the tunnel and its connection must not keep
/// each other.
#[tokio::test]
async fn a_tunnel_that_never_begins_is_given_up() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while let Some(request) = wire.head().await {
            if !request.values("upgrade").is_empty() {
                // Longer than what is gathered before it is sent.
                let protocol = "p".repeat(20_000);
                wire.send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n")).await;
                return wire.until_closed().await;
            }
            let bytes = request.target[1..].parse().unwrap();
            wire.send(ok(&"x".repeat(bytes))).await;
        }
    });
    let backend = backend.await;
    let app = impatient(&backend);
    let mut clients = Vec::new();
    for bytes in sizes().await {
        let upgrade =
            "GET /0 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        clients.push(asked(&app, get(&format!("/{bytes}")) + upgrade).await);
    }
    eventually("some switch", async || {
        app.metric("weir_http_upgrades_total").await > 4
    })
    .await;
    eventually("all are closed", async || app.open_connections().await == 0).await;
    assert_eq!(clients.len(), 24);
    app.until_metric("weir_calls_in_flight", 0).await;
    let addr = backend.addr;
    let in_flight = format!("weir_backend_in_flight{{upstream=\"app\",backend=\"{addr}\"}}");
    app.until_metric(&in_flight, 0).await;
}

/// The calls are over when the stop comes, but not all of their responses is written.
#[tokio::test]
async fn a_stop_waits_for_those_who_read_late() {
    let backend = talkative().await;
    let drain = "drain: { lame_duck: 0s, quiet: 50ms, timeout: 20s }\n";
    let app = start_balancer(&[backend.url()], "", "", drain);
    let mut clients = Vec::new();
    for connection in ["keep-alive", "close"] {
        for bytes in sizes().await {
            let ask =
                format!("GET /{bytes} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
            let before = backend.requests().len();
            let client = asked(&app, ask).await;
            eventually("it is delivered", async || {
                backend.requests().len() > before
            })
            .await;
            let over = app.until_metric("weir_calls_in_flight", 0);
            if timeout(Duration::from_millis(500), over).await.is_err() {
                // The balancer has no room for its end.
                drop(client);
                app.until_metric("weir_calls_in_flight", 0).await;
                break;
            }
            clients.push((client, bytes));
        }
    }
    app.stop().await;
    let mut reading = JoinSet::new();
    for (client, bytes) in clients {
        reading.spawn(async move {
            let mut client = read_late(client, bytes).await;
            assert_eq!(client.rest().await, (Vec::new(), End::Closed), "{bytes}");
        });
    }
    assert!(reading.join_all().await.len() > 8);
    let report = app.stopped().await;
    assert_eq!(report.cut, 0, "{report}");
}
