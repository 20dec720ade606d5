//! A process without files for connections to its backends: its own fault, and no backend's.

use std::time::{Duration, Instant};

use crate::support::{KeptClient, Process, RecordingBackend, metric};

/// What is on the metrics page after a while without files, and how many requests were refused.
async fn without_files(upstream: &str) -> (String, u64, String) {
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
        "admin: {{ hosts: [web.example] }}\nhttp:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [\"{url}\"]\n{upstream}"
    );
    std::fs::write(&path, yaml).unwrap();
    let config = path.to_str().unwrap();
    let process = Process::start(&["--cdn-host=cdn.example", "--workers=1", "--config", config]);
    let mut client = KeptClient::connect(process.http.unwrap()).await;
    let mut admin = KeptClient::connect(process.admin).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(admin.get("/metrics").await.status, 200);
    process.take_files_away();
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut refused = 0;
    while Instant::now() < deadline {
        assert_eq!(client.get("/").await.status, 503);
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
    let page = admin.get("/metrics").await.body;
    let of_backend = format!("{{upstream=\"app\",backend=\"{}\"}}", backend.addr);
    (page, refused, of_backend)
}

#[tokio::test]
async fn requests_without_files_eject_no_backend() {
    let policy = "    ejection: { consecutive_failures: 3, base_time: 60s }\n";
    let (page, refused, of_backend) = without_files(policy).await;
    let local = metric(&page, "weir_http_faults_total{cause=\"local_resources\"}");
    assert_eq!(local, refused);
    for name in ["ejected", "ejections_total"] {
        let name = format!("weir_backend_{name}{of_backend}");
        assert_eq!(metric(&page, &name), 0, "{name}");
    }
}

#[tokio::test]
async fn checks_without_files_find_no_backend_unhealthy() {
    let check =
        "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 1 }\n";
    let (page, _, of_backend) = without_files(check).await;
    let healthy = metric(&page, &format!("weir_backend_healthy{of_backend}"));
    let falls = metric(&page, &format!("weir_backend_falls_total{of_backend}"));
    assert_eq!((healthy, falls), (1, 0));
}
