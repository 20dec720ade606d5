//! What becomes of connections to backends that do not go as they should.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::time::timeout;

use crate::support::{
    GrpcClient, KeptClient, RecordingBackend, eventually, get, ok,
    raw_http2::{self, HEADERS},
    start_balancer,
};

/// One worker, so that there is one set of connections.
const ONE_WORKER: &str = "workers: 1\n";

/// Answers the requests of a connection, counted from 1, that it `answers`, and says nothing to
/// the others.
fn only(answers: impl Fn(usize) -> bool) -> impl Fn(usize, u32) -> Vec<Vec<u8>> {
    move |nth, stream| match answers(nth) {
        true => vec![raw_http2::ok(stream)],
        false => Vec::new(),
    }
}

/// The requests on each connection of a backend that speaks HTTP/2.
fn requests(backend: &RecordingBackend) -> Vec<usize> {
    let received = backend.received();
    let of_one = |bytes: &Vec<u8>| {
        let frames = raw_http2::frames(bytes);
        frames.iter().filter(|frame| frame.kind == HEADERS).count()
    };
    received.iter().map(of_one).collect()
}

/// As after a host died: nothing says that the connection is gone.
#[tokio::test]
async fn a_connection_that_went_silent_costs_one_timeout() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        let is_first = wire.index() == 0;
        wire.speak_http2(&[], only(|request| !is_first || request == 1))
            .await;
    });
    let backend = backend.await;
    let url = format!("h2c://{}", backend.addr);
    let app = start_balancer(&[url], "    response_timeout: 500ms\n", "", ONE_WORKER);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(statuses, [200, 504, 200, 200, 200, 200, 200, 200]);
    assert_eq!(requests(&backend), [2, 6]);
}

/// Once it is known that a connection takes one stream at a time, nobody waits behind another.
#[tokio::test]
async fn what_a_connection_has_no_room_for_takes_another() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        let is_first = wire.index() == 0;
        // MAX_CONCURRENT_STREAMS is 1.
        let settings = [0, 3, 0, 0, 0, 1];
        wire.speak_http2(&settings, only(|request| !is_first || request == 1))
            .await;
    });
    let backend = backend.await;
    let app = start_balancer(&[format!("h2c://{}", backend.addr)], "", "", ONE_WORKER);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    assert_eq!(client.get("/").await.status, 200);
    let mut slow = KeptClient::connect(app.http.unwrap()).await;
    slow.send(get("/slow")).await;
    eventually("it is delivered", async || requests(&backend) == [2]).await;
    for _ in 0..5 {
        let answer = timeout(Duration::from_secs(5), client.get("/"));
        assert_eq!(answer.await.expect("it waits").status, 200);
    }
    assert_eq!(requests(&backend), [2, 5]);
}

/// What is too long to be kept cannot be sent again; the client must know that it was delivered.
#[tokio::test]
async fn a_long_upload_on_a_stale_connection_is_nobodys_failure() {
    const BYTES: usize = 100_000;
    const ROUNDS: usize = 5;
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send(ok("kept")).await;
        if wire.head().await.is_none() {
            return;
        }
        let mut read = 0;
        while read < BYTES / 2 {
            match wire.bytes().await {
                Some(bytes) => read += bytes.len(),
                None => return,
            }
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let put = format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {BYTES}\r\n\r\n");
    for _ in 0..ROUNDS {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        assert_eq!(client.get("/").await.body, "kept");
        client.send(&put).await;
        client.send(vec![b'x'; BYTES]).await;
        assert_eq!(client.answer().await.status, 502);
    }
    let received = backend.received().concat();
    let text = String::from_utf8_lossy(&received);
    assert_eq!(text.matches("PUT / HTTP/1.1").count(), ROUNDS);
    let stale = app.metric("weir_http_faults_total{cause=\"stale_connection\"}");
    assert_eq!(stale.await, ROUNDS as u64);
    let addr = backend.addr;
    let failures = format!("weir_backend_failures_total{{upstream=\"app\",backend=\"{addr}\"}}");
    assert_eq!(app.metric(&failures).await, 0);
}

/// A backend that keeps idle connections for less than usual says so.
#[tokio::test]
async fn a_connection_is_kept_no_longer_than_its_backend_wants() {
    for (said, connections) in [("max=9", 1), ("timeout=20, max=9", 1), ("timeout=0", 4)] {
        let answer = ok("fine").replacen("\r\n", &format!("\r\nKeep-Alive: {said}\r\n"), 1);
        let backend = RecordingBackend::scripted(move |mut wire| {
            let answer = answer.clone();
            async move {
                while wire.request().await.is_some() {
                    wire.send(&answer).await;
                }
            }
        });
        let backend = backend.await;
        let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        for _ in 0..4 {
            let answer = client.get("/").await;
            assert_eq!(answer.body, "fine");
            assert!(!answer.head.contains("keep-alive:"), "{}", answer.head);
        }
        assert_eq!(backend.connections(), connections, "{said}");
    }
}

#[tokio::test]
async fn trailers_do_not_cost_the_connection() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let client = GrpcClient::connect(app.http.unwrap()).await;
    for _ in 0..5 {
        let request = Request::post("http://web.example/").body(()).unwrap();
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (response, mut sending) = requests.send_request(request, false).unwrap();
        sending.send_data(Bytes::from_static(b"up"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        sending.send_trailers(trailers).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "fine");
        assert!(body.data().await.is_none());
    }
    let bodies: Vec<_> = backend
        .requests()
        .into_iter()
        .map(|seen| seen.body)
        .collect();
    assert_eq!(bodies, [b"up"; 5]);
    assert_eq!(backend.connections(), 1);
}
