//! HTTP/1.1 connections that have been idle for so long that they hold no buffers.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use crate::support::{
    End, KeptClient, RecordingBackend, TestApp, eventually, gated, get, ok, start_balancer,
};

/// Longer than what a connection is idle for before it is parked: the time is what is tested.
const PARKED: Duration = Duration::from_millis(1300);

fn closed(cause: &str) -> String {
    format!("weir_connections_closed_total{{cause=\"{cause}\"}}")
}

/// Connections that have asked once and were parked since.
async fn parked(app: &TestApp, count: usize) -> Vec<KeptClient> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        assert_eq!(client.get("/before").await.status, 200);
        clients.push(client);
    }
    sleep(PARKED).await;
    clients
}

#[tokio::test]
async fn the_next_request_works_in_whatever_parts_it_comes() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut clients = parked(&app, 6).await;
    assert_eq!(clients[0].get("/whole").await.body, "fine");
    // Byte by byte, with a beginning that HTTP/2's preface has, too.
    let post = "POST /bytes HTTP/1.1\r\nHost: web.example\r\nContent-Length: 4\r\n\r\nbody";
    for byte in post.bytes() {
        clients[1].send([byte]).await;
        yield_now().await;
    }
    assert_eq!(clients[1].answer().await.body, "fine");
    clients[2].send(get("/one") + &get("/two")).await;
    for _ in 0..2 {
        assert_eq!(clients[2].answer().await.body, "fine");
    }
    let last = get("/last").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    clients[3].send(last).await;
    let answer = clients[3].answer().await;
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert_eq!(clients[3].rest().await, (Vec::new(), End::Closed));
    // What is no request is refused as ever, and so is a preface that comes late.
    clients[4].send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(clients[4].answer().await.status, 400);
    clients[5].send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_ne!(clients[5].rest().await.1, End::Open);
    // Twice, as it is made anew each time.
    sleep(PARKED).await;
    for client in &mut clients[..3] {
        assert_eq!(client.get("/again").await.body, "fine");
    }
    let requests = backend.requests();
    let of = |target: &str| requests.iter().filter(|seen| seen.target == target).count();
    for (target, count) in [
        ("/before", 6),
        ("/whole", 1),
        ("/bytes", 1),
        ("/one", 1),
        ("/two", 1),
        ("/last", 1),
        ("/again", 3),
    ] {
        assert_eq!(of(target), count, "{target}");
    }
    let bytes = requests
        .iter()
        .find(|seen| seen.target == "/bytes")
        .unwrap();
    assert_eq!(bytes.body, b"body");
}

#[tokio::test]
async fn a_parked_connection_may_still_become_anything() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while let Some(request) = wire.request().await {
            if request.values("upgrade").is_empty() {
                wire.send(ok(&"x".repeat(request.body.len()))).await;
                continue;
            }
            wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
            while let Some(bytes) = wire.bytes().await {
                wire.send(bytes).await;
            }
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut clients = parked(&app, 2).await;
    let body = "y".repeat(1 << 20);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    clients[0].send(head + &body).await;
    assert_eq!(clients[0].answer().await.body.len(), body.len());
    clients[1]
        .send("GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(clients[1].head().await.starts_with("http/1.1 101"));
    clients[1].send("hello").await;
    assert_eq!(clients[1].text(5).await, "hello");
}

#[tokio::test]
async fn idle_time_counts_from_the_last_answer() {
    let backend = RecordingBackend::replying("fine").await;
    let limits = "connections: { idle_timeout: 3s, header_timeout: 500ms }\n";
    let app = start_balancer(&[backend.url()], "", "", limits);
    let mut clients = parked(&app, 3).await;
    let mut leaves = clients.pop().unwrap();
    assert_eq!(clients[0].get("/").await.status, 200);
    let began = Instant::now();
    // A head that begins late has the time of any other.
    leaves.send("GET /slow").await;
    assert_ne!(leaves.rest().await.1, End::Open);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    app.until_metric(&closed("header_timeout"), 1).await;
    let (rest, end) = clients[1].rest().await;
    assert_eq!((rest, end), (Vec::new(), End::Closed));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2800), "{took:?}");
    let (rest, end) = clients[0].rest().await;
    assert_eq!((rest, end), (Vec::new(), End::Closed));
    let took = began.elapsed();
    let expected = Duration::from_millis(2900)..Duration::from_secs(6);
    assert!(expected.contains(&took), "{took:?}");
    app.until_metric(&closed("idle_timeout"), 2).await;
    eventually("none is open", async || app.open_connections().await == 0).await;
}

/// Some clients end a body by a line break that is no part of it: no head begins by it.
#[tokio::test]
async fn a_line_break_is_no_head() {
    let backend = RecordingBackend::replying("fine").await;
    let limits = "connections: { header_timeout: 300ms }\n";
    let app = start_balancer(&[backend.url()], "", "", limits);
    let mut clients = parked(&app, 2).await;
    // One of them is not parked.
    assert_eq!(clients[0].get("/").await.status, 200);
    for client in &mut clients {
        client.send("\r\n").await;
    }
    sleep(PARKED).await;
    for client in &mut clients {
        assert_eq!(client.get("/after").await.body, "fine");
    }
    app.until_metric(&closed("header_timeout"), 0).await;
}

#[tokio::test]
async fn a_parked_connection_that_the_client_closes_is_gone() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut clients = parked(&app, 2).await;
    drop(clients.pop());
    clients[0].stream.set_zero_linger().unwrap();
    drop(clients);
    eventually("none is open", async || app.open_connections().await == 0).await;
}

/// While the drain waits for a call, parked connections may ask, and learn that it was the last
/// time; the others are closed when it is over.
#[tokio::test]
async fn a_drain_serves_parked_connections_and_closes_them_last() {
    let (backend, gate) = gated("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    gate.add_permits(3);
    let mut clients = parked(&app, 3).await;
    let mut busy = KeptClient::connect(app.http.unwrap()).await;
    busy.send(get("/held")).await;
    eventually("it is delivered", async || backend.requests().len() == 4).await;
    let http = app.http.unwrap();
    app.stop().await;
    eventually("nobody listens", async || {
        tokio::net::TcpStream::connect(http).await.is_err()
    })
    .await;
    clients[0].send(get("/late")).await;
    eventually("it is delivered", async || backend.requests().len() == 5).await;
    gate.add_permits(1);
    gate.add_permits(1);
    for client in [&mut busy, &mut clients[0]] {
        let answer = client.answer().await;
        assert_eq!(answer.body, "fine");
        assert!(answer.head.contains("connection: close"), "{answer:?}");
    }
    for client in &mut clients {
        assert_eq!(client.rest().await, (Vec::new(), End::Closed));
    }
    assert_eq!(app.stopped().await.cut, 0);
}

/// What was sent before the connection's end was seen is answered.
#[tokio::test]
async fn a_stop_loses_no_request_of_parked_connections() {
    let backend = RecordingBackend::replying("fine").await;
    let drain = "drain: { lame_duck: 500ms, quiet: 500ms, timeout: 10s }\n";
    let app = start_balancer(&[backend.url()], "", "", drain);
    let mut clients = parked(&app, 40).await;
    app.stop().await;
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{index}"))).await;
        sleep(Duration::from_millis(10)).await;
    }
    let mut answers = 0;
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
        answers += 1;
    }
    assert_eq!(answers, 40);
    let report = app.stopped().await;
    assert_eq!(report.cut, 0, "{report}");
}

#[tokio::test]
async fn the_redirect_listener_parks_too() {
    let app = TestApp::start("", "connections: { idle_timeout: 3s }\n");
    let call = get("/redirect?video=http://s1.origin-cluster/video/1.m3u8");
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = KeptClient::connect(app.redirect).await;
        client.send(&call).await;
        let status = client.answer().await.status;
        assert!((300..400).contains(&status), "{status}");
        clients.push(client);
    }
    sleep(PARKED).await;
    for byte in call.bytes() {
        clients[0].send([byte]).await;
        yield_now().await;
    }
    clients[1].send(call.repeat(2)).await;
    clients[2]
        .send(call.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        .await;
    for index in [0, 1, 1, 2] {
        let status = clients[index].answer().await.status;
        assert!((300..400).contains(&status), "{status}");
    }
    assert_eq!(clients[2].rest().await, (Vec::new(), End::Closed));
    assert_eq!(clients[3].rest().await, (Vec::new(), End::Closed));
    app.until_metric(&closed("idle_timeout"), 1).await;
    app.stop().await;
    for client in &mut clients[..2] {
        assert_eq!(client.rest().await, (Vec::new(), End::Closed));
    }
    assert_eq!(app.stopped().await.cut, 0);
}

/// Some clients end a body by a line break that is no part of it (RFC 9112 section 2.2), and some
/// write a head in parts: what was read before the connection was parked is not lost.
#[tokio::test]
async fn what_came_before_the_parking_is_not_lost() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut clients = parked(&app, 2).await;
    let post = "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 4\r\n\r\nbody\r\n";
    clients[0].send(post).await;
    let second = get("/second");
    let (begin, rest) = second.split_at(10);
    clients[1].send(get("/first") + begin).await;
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
    sleep(PARKED).await;
    assert_eq!(clients[0].get("/behind").await.body, "fine");
    clients[1].send(rest).await;
    assert_eq!(clients[1].answer().await.body, "fine");
    assert_eq!(backend.requests().len(), 6);
}
