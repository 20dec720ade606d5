//! HTTP/2 bodies whose end comes in a frame of its own, behind all that was announced.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{
    Ask, Protocol, RecordingBackend, ask,
    raw_http2::{self, END_HEADERS, HEADERS, Outcome, POST, RawHttp2, data, headers},
    start_balancer,
};

/// One worker, so that there is one set of kept connections.
const ONE_WORKER: &str = "workers: 1\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a `POST` with all of its body, and its end behind.
async fn post(client: &mut RawHttp2, stream: u32) {
    let fields = [&POST[..], &[("content-length", "5")]].concat();
    let frames = [
        headers(stream, false, &fields),
        data(stream, false, b"whole"),
        data(stream, true, b""),
    ];
    client.send(&frames.concat()).await;
}

#[tokio::test]
async fn an_upload_that_ends_late_keeps_the_connection() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    for stream in [1, 3, 5, 7] {
        post(&mut client, stream).await;
        assert_eq!(client.outcome(stream).await, Outcome::Status(200));
    }
    let requests = backend.requests();
    assert!(requests.iter().all(|request| request.body == b"whole"));
    assert_eq!((requests.len(), backend.connections()), (4, 1));
}

/// The backend has all of it, so its own limit holds, and not the upload's.
#[tokio::test]
async fn an_upload_that_ends_late_is_answered_in_time() {
    let backend = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let backend = backend.await;
    let limits = "    response_timeout: 300ms\n    idle_timeout: 60s\n";
    let app = start_balancer(&[backend.url()], limits, "", ONE_WORKER);
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    post(&mut client, 1).await;
    let outcome = timeout(PATIENCE, client.outcome(1)).await;
    assert_eq!(outcome.expect("no answer"), Outcome::Status(504));
}

#[tokio::test]
async fn a_response_that_ends_late_is_no_fault() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.speak_http2(&[], |_nth, stream| {
            let fields = raw_http2::block(&[(":status", "200"), ("content-length", "5")]);
            let frames = [
                raw_http2::frame(HEADERS, END_HEADERS, stream, &fields),
                data(stream, false, b"whole"),
                data(stream, true, b""),
            ];
            vec![frames.concat()]
        })
        .await;
    });
    let backend = backend.await;
    let url = format!("h2c://{}", backend.addr);
    let app = start_balancer(&[url], "", "", ONE_WORKER);
    for client in [Protocol::Http1, Protocol::Http2] {
        for _ in 0..4 {
            let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
            let seen = (answer.status, answer.is_whole, answer.body.as_slice());
            assert_eq!(seen, (200, true, &b"whole"[..]), "{client:?}");
        }
    }
    let closed = "weir_http_faults_total{cause=\"client_closed\"}";
    assert_eq!(app.metric(closed).await, 0);
}
