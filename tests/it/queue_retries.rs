//! Requests that a queue let go to a backend which did not take them.

use futures_util::future::join_all;

use crate::support::{Ask, FakeBackend, Protocol, RecordingBackend, ask, start_balancer};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Nothing was sent, so nothing is lost: the request is tried elsewhere before those that wait.
#[tokio::test]
async fn a_refused_connection_fails_no_queued_request() {
    const REQUESTS: usize = 60;
    let refusing = format!("http://{}", FakeBackend::refusing().await);
    let alive = RecordingBackend::replying("alive").await;
    // No ejection, so that the refusing backend is tried again and again.
    let upstream = "    max_requests: 1\n    queue: { length: 100, timeout: 20s }\n    ejection: { consecutive_failures: 0 }\n";
    for workers in [1, 2] {
        let before = alive.requests().len();
        let urls = [refusing.clone(), alive.url()];
        let app = start_balancer(&urls, upstream, "", &format!("workers: {workers}\n"));
        let http = app.http.unwrap();
        let requests = [Ask::get("/"), Ask::post("/", "body")];
        let asks = (0..REQUESTS).map(|index| ask(CLIENTS[index % 2], http, &requests[index / 2 % 2]));
        for answer in join_all(asks).await {
            assert_eq!((answer.status, answer.body), (200, b"alive".to_vec()));
        }
        assert_eq!(alive.requests().len() - before, REQUESTS);
        let refused = "weir_http_retries_total{cause=\"connect_refused\"}";
        assert!(app.metric(refused).await > 0);
        let queue = "weir_upstream_queue{upstream=\"app\"}";
        assert_eq!(app.metric(queue).await, 0);
    }
}
