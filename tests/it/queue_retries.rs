//! Requests that a queue let go to a backend which did not take them.

use futures_util::future::join_all;

use crate::{
    hostile_backends::unreachable,
    support::{
        Ask, FakeBackend, KeptClient, Protocol, RecordingBackend, ask, eventually, gated, get,
        start_balancer,
    },
};

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
        let asks =
            (0..REQUESTS).map(|index| ask(CLIENTS[index % 2], http, &requests[index / 2 % 2]));
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

/// It has waited for longer than those in the queue.
#[tokio::test]
async fn a_request_that_was_not_delivered_goes_before_those_that_wait() {
    let (_waiting, listener) = unreachable().await;
    let silent = listener.local_addr().unwrap();
    let (alive, gate) = gated("alive").await;
    let upstream = "    max_requests: 1\n    queue: { length: 10, timeout: 20s }\n    connect_timeout: 500ms\n    ejection: { consecutive_failures: 0 }\n";
    let urls = [alive.url(), format!("http://{silent}")];
    let app = start_balancer(&urls, upstream, "", "workers: 1\n");
    let name = |name: &str| format!("weir_backend_{name}{{upstream=\"app\",backend=\"{silent}\"}}");
    let asking = async |target: &str| {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send(get(target)).await;
        client
    };
    let mut clients = vec![asking("/in-flight").await];
    eventually("one is in flight", async || alive.requests().len() == 1).await;
    let failures = app.metric(&name("failures_total")).await;
    clients.push(asking("/undelivered").await);
    app.until_metric(&name("in_flight"), 1).await;
    for (target, waiting) in [("/third", 1), ("/fourth", 2)] {
        clients.push(asking(target).await);
        app.until_metric("weir_upstream_queue{upstream=\"app\"}", waiting)
            .await;
    }
    eventually("it is not delivered", async || {
        app.metric(&name("failures_total")).await > failures
    })
    .await;
    gate.add_permits(1);
    eventually("the next arrives", async || alive.requests().len() == 2).await;
    assert_eq!(alive.requests()[1].target, "/undelivered");
    gate.add_permits(clients.len());
    for client in &mut clients {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "alive"));
    }
}
