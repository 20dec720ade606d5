//! A backend that is the balancer's own listener.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::support::{Ask, Protocol, TestApp, ask, eventually};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn sections(backend: &str) -> String {
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app: {{ backends: [\"{backend}\"] }}\n"
    )
}

#[tokio::test]
async fn a_loop_ends_in_508_and_few_connections() {
    const REQUESTS: usize = 10;
    let mut cases = 0;
    for scheme in ["http", "h2c"] {
        let app = TestApp::start("", &sections("http://127.0.0.1:9"));
        let http = app.http.unwrap();
        app.rewrite("", &sections(&format!("{scheme}://{http}")));
        app.reload().await;
        app.until_metric("weir_config_reloads_total{result=\"ok\"}", 1)
            .await;
        let began = Instant::now();
        for client in CLIENTS {
            let request = Ask::get("/");
            let asks = (0..REQUESTS).map(|_| ask(client, http, &request));
            let answers = timeout(Duration::from_secs(20), join_all(asks)).await;
            for answer in answers.expect("the loop goes on") {
                assert_eq!(answer.status, 508, "{scheme} {client:?} {answer:?}");
            }
            cases += 1;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{scheme}");
        let open = app.open_connections().await;
        assert!(open <= 200, "{scheme}: {open} connections");
        let looped = app.metric("weir_http_faults_total{cause=\"forwarding_loop\"}");
        assert_eq!(looped.await, 2 * REQUESTS as u64, "{scheme}");
        eventually("nothing goes round", async || {
            app.metric("weir_calls_in_flight").await == 0
        })
        .await;
    }
    assert_eq!(cases, 4);
}
