//! A process without files for connections to its backends: its own fault, and no backend's.

use std::time::{Duration, Instant};

use crate::support::{KeptClient, Process, RecordingBackend, metric};

#[tokio::test]
async fn backends_are_not_blamed_for_a_want_of_files() {
    // Every connection is closed behind its response, so each request and check wants a file.
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine")
            .await;
    });
    let backend = backend.await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    let url = backend.url();
    let yaml = format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [\"{url}\"]\n    ejection: {{ consecutive_failures: 3, base_time: 60s }}\n    \
         health_check: {{ http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 1 }}\n"
    );
    std::fs::write(&path, yaml).unwrap();
    let config = path.to_str().unwrap();
    let process = Process::start(&["--cdn-host=cdn.example", "--workers=1", "--config", config]);
    let mut client = KeptClient::connect(process.http.unwrap()).await;
    let mut admin = KeptClient::connect(process.admin).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(admin.get("/metrics").await.status, 200);
    process.take_files_away();
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut refused = 0;
    while Instant::now() < deadline {
        refused += u64::from(client.get("/").await.status == 503);
    }
    assert!(refused > 10, "{refused}");
    let page = admin.get("/metrics").await.body;
    let name = |name: &str| {
        let addr = backend.addr;
        metric(
            &page,
            &format!("weir_backend_{name}{{upstream=\"app\",backend=\"{addr}\"}}"),
        )
    };
    assert_eq!((name("healthy"), name("falls_total")), (1, 0));
    assert_eq!(name("ejected"), 0);
    let local = metric(&page, "weir_http_faults_total{cause=\"local_resources\"}");
    assert_eq!(local, refused);
    process.limit_open_files(1000);
    assert_eq!(client.get("/").await.status, 200);
}
