//! Backends that lie, break off, never end, or say nothing.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{
    Ask, End, Ending, FakeBackend, KeptClient, PairedBackend, Pairing, Protocol, RecordingBackend,
    Reply, TestApp, ask, get, ok, start_balancer, talk,
};

const PATIENCE: Duration = Duration::from_secs(20);
const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
/// One worker, so that there is one set of kept connections.
const ONE_WORKER: &str = "workers: 1\n";

/// A backend that answers each whole request with these bytes, and goes on.
async fn answering(response: impl Into<Vec<u8>>) -> RecordingBackend {
    let response = std::sync::Arc::new(response.into());
    RecordingBackend::scripted(move |mut wire| {
        let response = std::sync::Arc::clone(&response);
        async move {
            while wire.request().await.is_some() && wire.send(response.as_slice()).await {}
        }
    })
    .await
}

async fn status(app: &TestApp, client: Protocol) -> u16 {
    ask(client, app.http.unwrap(), &Ask::get("/")).await.status
}

/// An address that takes connections only until its queue is full, and so never answers.
pub async fn unreachable() -> (Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(addr)).await {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    (waiting, listener)
}

#[tokio::test]
async fn what_was_never_sent_goes_to_another_backend() {
    let dead = format!("http://{}", FakeBackend::refusing().await);
    let (_waiting, listener) = unreachable().await;
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let mut cases = 0;
    for pairing in Pairing::ALL {
        let reply = Reply::body("alive");
        let alive = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
        for other in [&dead, &silent] {
            let waits = "    connect_timeout: 100ms\n";
            let app = start_balancer(&[other.clone(), alive.url()], waits, "", "");
            for request in [Ask::get("/"), Ask::post("/", "body")] {
                for _ in 0..4 {
                    let answer = ask(pairing.client, app.http.unwrap(), &request).await;
                    assert_eq!((answer.status, answer.body), (200, b"alive".to_vec()));
                    cases += 1;
                }
            }
        }
        let seen = alive.seen();
        assert_eq!(seen.len(), 16);
        assert_eq!(seen.iter().filter(|seen| seen.body == b"body").count(), 8);
    }
    assert_eq!(cases, 16 * Pairing::ALL.len());
}

#[tokio::test]
async fn with_none_left_the_status_says_why() {
    let dead = || async { format!("http://{}", FakeBackend::refusing().await) };
    let (_waiting, listener) = unreachable().await;
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let waits = "    connect_timeout: 100ms\n";
    for client in CLIENTS {
        let app = start_balancer(&[dead().await, dead().await], waits, "", "");
        assert_eq!(status(&app, client).await, 502, "{client:?}");
        let app = start_balancer(std::slice::from_ref(&silent), waits, "", "");
        assert_eq!(status(&app, client).await, 504, "{client:?}");
    }
}

/// The keep-alive race, both ways of losing it, with a body and without.
#[tokio::test]
async fn a_lost_request_is_sent_again_only_where_that_does_no_harm() {
    for by_reset in [false, true] {
        for (request, again) in [
            (Ask::get("/second"), true),
            (
                Ask {
                    method: "DELETE",
                    ..Ask::get("/second")
                },
                true,
            ),
            (
                Ask {
                    method: "POST",
                    ..Ask::get("/second")
                },
                false,
            ),
            (Ask::post("/second", "body"), false),
            (
                Ask {
                    method: "PUT",
                    ..Ask::post("/second", "body")
                },
                true,
            ),
        ] {
            let backend = RecordingBackend::scripted(move |mut wire| async move {
                wire.request().await;
                wire.send(ok("first")).await;
                wire.request().await;
                if wire.index() > 0 {
                    wire.send(ok("again")).await;
                }
                if by_reset {
                    wire.reset();
                }
            });
            let backend = backend.await;
            let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
            let http = app.http.unwrap();
            assert_eq!(
                ask(Protocol::Http1, http, &Ask::get("/first")).await.status,
                200
            );
            let answer = ask(Protocol::Http1, http, &request).await;
            let expected = if again { 200 } else { 502 };
            assert_eq!(answer.status, expected, "{request:?}");
            let (whole, _) = backend.seen();
            let delivered = whole.iter().filter(|seen| seen.target == "/second").count();
            assert_eq!(delivered, if again { 2 } else { 1 }, "{request:?}");
        }
    }
}

#[tokio::test]
async fn interim_responses_are_forwarded_but_not_without_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let few = answering(interim.repeat(3) + &ok("fine")).await;
    let app = start_balancer(&[few.url()], "", "", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(get("/")).await;
    for _ in 0..3 {
        let interim = client.head().await;
        assert_eq!(interim, "http/1.1 103 early hints\r\nlink: </a>\r\n\r\n");
    }
    assert_eq!(client.answer().await.body, "fine");
    let answer = ask(Protocol::Http2, app.http.unwrap(), &Ask::get("/")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // HTTP/1.0 has none.
    let old = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
    let answer = talk(app.http.unwrap(), old, PATIENCE).await;
    assert_eq!(answer.statuses(), [200], "{answer:?}");
    let endless = RecordingBackend::scripted(move |mut wire| async move {
        wire.request().await;
        while wire.send(interim.repeat(100)).await {}
    });
    let endless = endless.await;
    let app = start_balancer(&[endless.url()], "", "", "");
    // Long before the response's time is up, and with the worker still there for others.
    assert_eq!(status(&app, Protocol::Http2).await, 502);
    let answers = talk(app.http.unwrap(), get("/"), PATIENCE).await;
    assert_eq!(answers.statuses().last(), Some(&502));
}

/// CVE-2026-2833: no byte of the client's goes on before the backend switched, which none may here.
#[tokio::test]
async fn an_upgrade_that_nobody_allowed_is_a_plain_request() {
    let backend = answering(ok("plain")).await;
    let app = start_balancer(&[backend.url()], "", "    upgrades: []\n", "");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for protocol in ["websocket", "h2c", "TLS/1.2", "anything"] {
        let request = format!(
            "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{smuggled}"
        );
        let talk = talk(app.http.unwrap(), request, PATIENCE).await;
        // Two requests to us, so two to the backend: both in the open, none hidden in the other.
        assert_eq!((talk.statuses(), talk.end), (vec![200, 200], End::Closed));
    }
    let seen = backend.requests();
    assert_eq!(seen.len(), 8);
    for request in &seen {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.values(name), Vec::<&str>::new(), "{request:?}");
        }
    }
    let asked = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        wire.until_closed().await;
    });
    let asked = asked.await;
    let app = start_balancer(&[asked.url()], "", "    upgrades: []\n", "");
    let request =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nafter";
    let talk = talk(app.http.unwrap(), request, Duration::from_secs(3)).await;
    assert_eq!(talk.statuses()[..1], [502]);
    assert!(!asked.received().concat().ends_with(b"after"));
}

#[tokio::test]
async fn silence_and_a_dripping_head_are_gateway_timeouts() {
    let silent = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let dripping = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        for byte in ok("late").bytes().cycle() {
            wire.pause(Duration::from_millis(50)).await;
            if !wire.send([byte]).await {
                return;
            }
        }
    });
    for backend in [silent.await, dripping.await] {
        let app = start_balancer(&[backend.url()], "    response_timeout: 300ms\n", "", "");
        for client in CLIENTS {
            let began = Instant::now();
            assert_eq!(status(&app, client).await, 504, "{client:?}");
            assert!(began.elapsed() < Duration::from_secs(3));
        }
        // Nobody waits for what comes late, and the connection is not used again.
        assert_eq!((backend.requests().len(), backend.connections()), (2, 2));
    }
}

/// The response is relayed, the rest of the upload is stopped, and both connections end.
#[tokio::test]
async fn a_response_before_the_end_of_the_upload_is_relayed() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            .await;
        wire.until_closed().await;
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let head = "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\npart";
    let talk = talk(app.http.unwrap(), head, Duration::from_secs(3)).await;
    assert_eq!((talk.statuses(), talk.end), (vec![403], End::Closed));
    assert!(talk.text().ends_with("no"));
    let second = ask(
        Protocol::Http1,
        app.http.unwrap(),
        &Ask::post("/second", "x"),
    )
    .await;
    assert_eq!(second.status, 403);
    let received = backend.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].starts_with(b"POST /second "), "{received:?}");
}

/// A failure that nobody else can make good is no retry, and takes nothing from the budget.
#[tokio::test]
async fn a_retry_that_is_not_made_is_not_counted() {
    let refusing = FakeBackend::refusing().await;
    let app = start_balancer(&[format!("http://{refusing}")], "", "", "");
    for _ in 0..5 {
        assert_eq!(status(&app, Protocol::Http1).await, 502);
    }
    let retries = "weir_http_retries_total{cause=\"connect_refused\"}";
    assert_eq!(app.metric(retries).await, 0);
    let faults = "weir_http_faults_total{cause=\"connect_refused\"}";
    assert_eq!(app.metric(faults).await, 5);
}

/// With everything down, a request costs a bounded number of attempts, and what was delivered is
/// never delivered again.
#[tokio::test]
async fn failing_backends_make_no_storm() {
    const REQUESTS: usize = 500;
    let backends = [(); 5].map(|()| {
        RecordingBackend::scripted(|mut wire| async move {
            wire.request().await;
        })
    });
    let backends = futures_util::future::join_all(backends).await;
    let urls: Vec<String> = backends.iter().map(RecordingBackend::url).collect();
    let app = start_balancer(&urls, "", "", "");
    let began = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(status(&app, Protocol::Http1).await, 502);
    }
    let seconds = began.elapsed().as_secs() as usize + 1;
    let attempts: usize = backends.iter().map(RecordingBackend::connections).sum();
    // A fifth more, and on each of two workers the fifty that are always allowed and one a second.
    assert!(
        attempts > REQUESTS && attempts <= REQUESTS * 12 / 10 + 2 * (50 + seconds),
        "{attempts} in {seconds} s"
    );
}
