//! Answers that are there before the client has sent its whole body.

use std::time::Duration;

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use crate::support::{
    End, Http2Backend, Http2Script, KeptClient, RecordingBackend, get,
    raw_http2::{self, HEADERS},
    start_balancer,
};

/// Longer than what a connection is idle for before it is parked: the time is what is tested.
const PARKED: Duration = Duration::from_millis(1300);
const BEGUN: &str = "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0123456789";

/// Sends what looks like a request behind an answer that came early, once the connection would be
/// parked if it were idle. Nobody may take it for one.
async fn ends_without_a_second_request(url: String, body: &str) {
    let app = start_balancer(&[url], "", "", "workers: 1\n");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(BEGUN).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    sleep(PARKED).await;
    let _ended_already = client.stream.write_all(get("/smuggled").as_bytes()).await;
    let (rest, end) = client.rest().await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
    assert!(rest.contains(body), "{rest}");
    assert_ne!(end, End::Open, "{head}");
    app.until_metric("weir_calls_in_flight", 0).await;
}

#[tokio::test]
async fn the_rest_of_a_body_is_never_a_request() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.speak_http2(&[], |_nth, stream| vec![raw_http2::ok(stream)])
            .await;
    });
    let backend = backend.await;
    ends_without_a_second_request(format!("h2c://{}", backend.addr), "").await;
    let received = backend.received().concat();
    let frames = raw_http2::frames(&received);
    let heads = frames.iter().filter(|frame| frame.kind == HEADERS);
    assert_eq!(heads.count(), 1);
    let text = String::from_utf8_lossy(&received);
    assert!(!text.contains("smuggled"), "{text}");

    let early = Http2Script::ReplyEarly(Bytes::from_static(b"early"));
    let backend = Http2Backend::start(early).await;
    ends_without_a_second_request(backend.url(), "early").await;
    assert_eq!(backend.requests().len(), 1);

    let backend = RecordingBackend::scripted(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send(crate::support::ok("early")).await;
        }
    });
    let backend = backend.await;
    ends_without_a_second_request(backend.url(), "early").await;
    let received = backend.received().concat();
    let text = String::from_utf8_lossy(&received);
    assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
    assert!(!text.contains("smuggled"), "{text}");
}

/// Many clients look for an answer when they have sent everything, and a reset takes it away.
#[tokio::test]
async fn a_client_that_writes_first_gets_the_answer() {
    const BYTES: usize = 5_000_000;
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        // It answers once: kept for the next request, as it may be if the whole body was there
        // before the answer, it would be silent.
        wire.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
            .await;
        wire.until_closed().await;
    });
    let backend = backend.await;
    let listener = "    body_limit: 1MiB\n";
    let limited = start_balancer(&[backend.url()], "", listener, "");
    let open = start_balancer(&[backend.url()], "", "", "");
    let unrouted = crate::support::TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /x, upstream: app }}]\n\
             upstreams:\n  app: {{ backends: [\"{}\"] }}\n",
            backend.url()
        ),
    );
    let sized = format!("Content-Length: {BYTES}\r\n\r\n").into_bytes();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{BYTES:x}\r\n").into_bytes();
    let mut cases = 0;
    for (app, framing, status) in [
        (&unrouted, &sized, 404),
        (&unrouted, &chunked, 404),
        (&limited, &sized, 413),
        (&open, &sized, 403),
        (&open, &chunked, 403),
    ] {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\n").await;
        client.send(framing).await;
        for part in vec![b'y'; BYTES].chunks(64 * 1024) {
            client.send(part).await;
        }
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        // Of a backend's answer it is not known yet whether the rest is taken.
        let says_close = answer.head.contains("connection: close");
        assert!(says_close || status == 403, "{answer:?}");
        assert!(!answer.body.is_empty());
        if says_close {
            assert_eq!(client.rest().await, (Vec::new(), End::Closed));
        }
        cases += 1;
    }
    assert_eq!(cases, 5);
}

/// The rest of the upload stays unread, so the client must not send another request behind it.
#[tokio::test]
async fn an_early_answer_says_that_the_connection_closes() {
    let http1 = RecordingBackend::scripted(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send(crate::support::ok("early")).await;
        }
    });
    let http1 = http1.await;
    let early = Http2Script::ReplyEarly(Bytes::from_static(b"early"));
    let http2 = Http2Backend::start(early).await;
    for url in [http1.url(), http2.url()] {
        let app = start_balancer(std::slice::from_ref(&url), "", "", "");
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send(BEGUN).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{url}: {head}");
        assert_eq!(client.rest_of(&head).await, "early", "{url}");
    }
}
