//! Connections that switch to another protocol behind the balancer.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::support::{
    Authority, End, Http2Backend, Http2Script, KeptClient, RecordingBackend, Reply, TestApp,
    TlsFront, eventually, get, ok, start_balancer,
};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: abc\r\n\r\n";
const IN_FLIGHT: &str = "weir_calls_in_flight";
const UPGRADES: &str = "weir_http_upgrades_total";

fn asking_for(protocol: &str) -> String {
    format!(
        "GET /tunnel HTTP/1.1\r\nHost: web.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Key: key\r\n\r\n"
    )
}

/// Switches where it is asked to, and then says everything back; answers other requests.
async fn echo() -> RecordingBackend {
    RecordingBackend::scripted(|mut wire| async move {
        while let Some(request) = wire.head().await {
            if request.values("upgrade").is_empty() {
                wire.send(ok("plain")).await;
                continue;
            }
            wire.send(SWITCHED).await;
            while let Some(bytes) = wire.bytes().await {
                wire.send(bytes).await;
            }
        }
    })
    .await
}

/// A client whose connection has switched.
async fn tunnel(app: &TestApp) -> KeptClient {
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(asking_for("websocket")).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    client
}

async fn echoes(client: &mut KeptClient, text: &str) {
    client.send(text).await;
    assert_eq!(client.text(text.len()).await, text);
}

#[tokio::test]
async fn bytes_flow_both_ways_once_both_sides_agreed() {
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(asking_for("WebSocket")).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: abc",
    ] {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"));
    for text in ["a", "GET / HTTP/1.1\r\n\r\n", "\0\r\n", &"x".repeat(1000)] {
        echoes(&mut client, text).await;
    }
    let head = backend.received().concat();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(
        head.contains("connection: upgrade\r\n") && head.contains("sec-websocket-key: key\r\n")
    );
    app.until_metric(UPGRADES, 1).await;
    app.until_metric(
        "weir_http_responses_total{upstream=\"app\",class=\"1xx\"}",
        1,
    )
    .await;
    app.until_metric(IN_FLIGHT, 1).await;
    drop(client);
    app.until_metric(IN_FLIGHT, 0).await;
}

#[tokio::test]
async fn much_flows_both_ways_at_once() {
    const BYTES: usize = 8 << 20;
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let client = tunnel(&app).await;
    let (mut reader, mut writer) = client.stream.into_split();
    let sent: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move { writer.write_all(&sent).await.map(|()| writer) });
    let mut received = vec![0; BYTES];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut received)
        .await
        .unwrap();
    assert!(received == expected, "the bytes are others");
    let _writer = sending.await.unwrap().unwrap();
}

/// The body belongs to the request, and what follows it to the tunnel.
#[tokio::test]
async fn a_request_to_switch_may_have_a_body() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        )
        .await;
        while let Some(bytes) = wire.bytes().await {
            wire.send(bytes).await;
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "    upgrades: [tcp]\n", "");
    let body = "{\"Detach\":false,\"Tty\":true}";
    let mut cases = 0;
    for framing in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
    ] {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client
            .send(format!(
                "POST /exec HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
                 Content-Type: application/json\r\n{framing}"
            ))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        for text in ["a", "GET / HTTP/1.1\r\n\r\n"] {
            echoes(&mut client, text).await;
        }
        let received = backend.received().pop().unwrap();
        let received = String::from_utf8(received).unwrap();
        assert!(received.contains(body), "{received}");
        assert!(
            received.ends_with("\r\n\r\naGET / HTTP/1.1\r\n\r\n")
                || received.ends_with("}aGET / HTTP/1.1\r\n\r\n"),
            "{received}"
        );
        cases += 1;
    }
    assert_eq!(cases, 2);
}

/// CVE-2026-2833: what comes behind the head waits until the backend agreed.
#[tokio::test]
async fn nothing_behind_the_head_goes_on_before_the_backend_agreed() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let backend = RecordingBackend::scripted(move |mut wire| {
        let gate = Arc::clone(&opened);
        async move {
            wire.head().await;
            // Reads whatever comes while it thinks.
            tokio::select! {
                () = wire.until_closed() => return,
                permit = gate.acquire() => permit.unwrap().forget(),
            }
            wire.send(SWITCHED).await;
            wire.send("welcome").await;
            wire.until_closed().await;
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(asking_for("websocket") + "early").await;
    eventually("the head is there", async || !backend.received().is_empty()).await;
    // Time for bytes that should not come.
    for part in [" and", " earlier"] {
        sleep(Duration::from_millis(100)).await;
        client.send(part).await;
    }
    sleep(Duration::from_millis(200)).await;
    let before = backend.received().concat();
    assert!(before.ends_with(b"\r\n\r\n"), "{before:?}");
    gate.add_permits(1);
    assert!(client.head().await.starts_with("http/1.1 101"));
    assert_eq!(client.text(7).await, "welcome");
    client.send("!").await;
    eventually("all of it comes", async || {
        backend.received().concat()[before.len()..] == *b"early and earlier!"
    })
    .await;
}

#[tokio::test]
async fn when_one_side_ends_the_other_may_go_on() {
    let listens = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send(SWITCHED).await;
        wire.until_closed().await;
        wire.send("farewell").await;
    });
    let listens = listens.await;
    let app = start_balancer(&[listens.url()], "", "", "");
    let mut client = tunnel(&app).await;
    client.send("last words").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, (b"farewell".to_vec(), End::Closed));
    assert!(listens.received().concat().ends_with(b"last words"));

    let leaves = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send(SWITCHED).await;
        wire.send("farewell").await;
        wire.end_sending().await;
        wire.until_closed().await;
    });
    let leaves = leaves.await;
    let app = start_balancer(&[leaves.url()], "", "", "");
    let mut client = tunnel(&app).await;
    assert_eq!(client.rest().await, (b"farewell".to_vec(), End::Closed));
    app.until_metric(IN_FLIGHT, 1).await;
    client.send("last words").await;
    eventually("they come", async || {
        leaves.received().concat().ends_with(b"last words")
    })
    .await;
    client.stream.shutdown().await.unwrap();
    app.until_metric(IN_FLIGHT, 0).await;
}

#[tokio::test]
async fn an_idle_tunnel_is_closed_and_a_busy_one_is_not() {
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "    idle_timeout: 400ms\n", "", "");
    let mut client = tunnel(&app).await;
    for _ in 0..6 {
        // All in all longer than the timeout.
        sleep(Duration::from_millis(100)).await;
        echoes(&mut client, "busy").await;
    }
    let began = Instant::now();
    let (rest, end) = client.rest().await;
    assert!(rest.is_empty() && end != End::Open, "{rest:?} {end:?}");
    let took = began.elapsed();
    let expected = Duration::from_millis(390)..Duration::from_secs(3);
    assert!(expected.contains(&took), "{took:?}");
    let closed = "weir_connections_closed_total{cause=\"idle_timeout\"}";
    app.until_metric(closed, 1).await;
    app.until_metric(IN_FLIGHT, 0).await;
}

#[tokio::test]
async fn a_refused_switch_is_a_plain_response() {
    for status in ["200 OK", "403 Forbidden", "426 Upgrade Required"] {
        let backend = RecordingBackend::scripted(move |mut wire| async move {
            while wire.request().await.is_some() {
                wire.send(format!(
                    "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"
                ))
                .await;
            }
        });
        let backend = backend.await;
        let app = start_balancer(&[backend.url()], "", "", "");
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        // The second in the same write: a request like any other.
        client.send(asking_for("websocket") + &get("/second")).await;
        for _ in 0..2 {
            let answer = client.answer().await;
            assert_eq!(answer.status.to_string(), status[..3]);
            assert_eq!(answer.body, "no");
        }
        assert_eq!(client.get("/third").await.body, "no");
        let requests = backend.requests();
        let targets: Vec<&str> = requests.iter().map(|seen| seen.target.as_str()).collect();
        assert_eq!(targets, ["/tunnel", "/second", "/third"], "{status}");
        assert_eq!(requests[0].value("upgrade"), "websocket");
        app.until_metric(IN_FLIGHT, 0).await;
        assert_eq!(app.metric(UPGRADES).await, 0);
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_listed_is_not_asked_for() {
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "", "    upgrades: [Own/1]\n", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    for protocol in ["websocket", "h2c", "own/2", "own/1, websocket"] {
        client.send(asking_for(protocol)).await;
        assert_eq!(client.answer().await.body, "plain", "{protocol}");
    }
    for request in backend.requests() {
        assert_eq!(request.values("upgrade"), Vec::<&str>::new());
        assert_eq!(request.values("connection"), Vec::<&str>::new());
    }
    // This one is asked for, but the backend agrees to another.
    client.send(asking_for("own/1")).await;
    assert_eq!(client.answer().await.status, 502);
    assert_eq!(app.metric(UPGRADES).await, 0);
}

/// Both ways, as for any other request: a header that must not leave must not leave with a 101.
#[tokio::test]
async fn the_rules_of_a_route_hold_for_a_switch_too() {
    let backend = echo().await;
    let rules = "request_headers: { set: { X-Set: new } }, response_headers: { set: { X-Set: new }, remove: [Sec-WebSocket-Accept] }";
    let sections = format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app, {rules} }}]\nupstreams:\n  app: {{ backends: [\"{}\"] }}\n",
        backend.url()
    );
    let app = TestApp::start("", &sections);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(asking_for("websocket")).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    let request = String::from_utf8(backend.received().concat()).unwrap();
    assert!(request.contains("x-set: new"), "{request}");
    assert!(head.contains("x-set: new"), "{head}");
    assert!(!head.contains("sec-websocket-accept"), "{head}");
}

fn draining(timeout: &str) -> String {
    format!("drain: {{ lame_duck: 0s, quiet: 50ms, timeout: {timeout} }}\n")
}

#[tokio::test]
async fn a_tunnel_is_in_flight_until_the_drain_is_over() {
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "", "", &draining("700ms"));
    let mut client = tunnel(&app).await;
    echoes(&mut client, "before").await;
    let began = Instant::now();
    app.stop().await;
    sleep(Duration::from_millis(200)).await;
    echoes(&mut client, "meanwhile").await;
    let report = app.stopped().await;
    assert!(began.elapsed() >= Duration::from_millis(650));
    assert_eq!((report.in_flight, report.cut), (1, 1), "{report}");
    let (rest, end) = client.rest().await;
    assert!(rest.is_empty() && end != End::Open, "{rest:?} {end:?}");
}

#[tokio::test]
async fn a_drain_ends_with_the_last_tunnel() {
    let backend = echo().await;
    let app = start_balancer(&[backend.url()], "", "", &draining("20s"));
    let mut client = tunnel(&app).await;
    let began = Instant::now();
    app.stop().await;
    sleep(Duration::from_millis(200)).await;
    echoes(&mut client, "meanwhile").await;
    drop(client);
    let report = app.stopped().await;
    assert_eq!((report.in_flight, report.cut), (1, 0), "{report}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// HTTP/2 cannot switch, so the tunnel has a connection of its own on which it was not offered.
#[tokio::test]
async fn behind_tls_a_tunnel_goes_over_http1() {
    let authority = Authority::new();
    let (plain, tunnels) = (
        Http2Backend::start(Http2Script::Reply(Reply::body("h2"))).await,
        echo().await,
    );
    let identity = authority.certify("127.0.0.1");
    let front = TlsFront::start(identity, Some(tunnels.addr), Some(plain.addr)).await;
    let app = start_balancer(&[front.url()], &authority.trusted(), "", "workers: 1\n");
    for _ in 0..2 {
        let mut other = KeptClient::connect(app.http.unwrap()).await;
        assert_eq!(other.get("/").await.status, 200);
        let mut client = tunnel(&app).await;
        echoes(&mut client, "through TLS").await;
    }
    assert_eq!((plain.requests().len(), tunnels.connections()), (2, 2));
}

/// A server that refuses a frame closes with input unread, which resets its connection. The client
/// learns of that at once, not when the tunnel was idle for too long.
#[tokio::test]
async fn a_backend_that_resets_ends_the_tunnel_at_once() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        // Health checks ask nothing.
        if wire.head().await.is_none() {
            return;
        }
        wire.send(SWITCHED).await;
        wire.bytes().await;
        wire.send("bye").await;
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "    idle_timeout: 10m\n", "", "");
    for _ in 0..20 {
        let mut client = tunnel(&app).await;
        client.send("x".repeat(300_000)).await;
        let (_bye, end) = client.rest().await;
        assert_ne!(end, End::Open);
    }
    app.until_metric(IN_FLIGHT, 0).await;
}
