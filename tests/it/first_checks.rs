//! Requests that come before a backend's first health check has its result.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Ask, Protocol, RecordingBackend, ask, eventually, ok, start_balancer};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const CHECKED: &str = "    health_check: { http: /health, interval: 10s, timeout: 5s }\n";
const SLOW: Duration = Duration::from_millis(600);

/// Takes its time for checks, and answers them by this.
async fn checked_slowly(status: &'static str) -> RecordingBackend {
    RecordingBackend::scripted(move |mut wire| async move {
        while let Some(request) = wire.request().await {
            if request.target == "/health" {
                wire.pause(SLOW).await;
                wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
                    .await;
            } else {
                wire.send(ok("fine")).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_waits_for_the_first_check() {
    for client in CLIENTS {
        let backend = checked_slowly("200 OK").await;
        let app = start_balancer(&[backend.url()], CHECKED, "", "");
        let began = Instant::now();
        let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
        assert_eq!((answer.status, answer.body), (200, b"fine".to_vec()));
        // It is not that the check was fast.
        let waited = began.elapsed();
        assert!(waited > SLOW / 2, "{waited:?}");
        let requests = backend.requests();
        assert_eq!(requests[0].target, "/health");
    }
}

#[tokio::test]
async fn a_request_is_refused_soon_after_the_first_check_fails() {
    for client in CLIENTS {
        let backend = checked_slowly("500 Internal Server Error").await;
        let app = start_balancer(&[backend.url()], CHECKED, "", "");
        let began = Instant::now();
        let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
        let waited = began.elapsed();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(waited < Duration::from_secs(4), "{waited:?}");
        assert!(waited > SLOW / 2, "{waited:?}");
        eventually("only checks", async || {
            backend
                .requests()
                .iter()
                .all(|seen| seen.target == "/health")
        })
        .await;
        let no_backend = "weir_http_faults_total{cause=\"no_backend\"}";
        assert_eq!(app.metric(no_backend).await, 1);
    }
}
