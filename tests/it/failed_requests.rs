//! A request that the balancer could not serve leaves a trace without any setting: an event, and an
//! id in the answer by which the two belong together.

use serde_json::Value;

use crate::support::{
    FakeBackend, Process, RecordingBackend, error_message, eventually, http1, metric,
};

/// A balancer whose `/dead` leads to two backends that refuse connections.
struct Setup {
    _directory: tempfile::TempDir,
    process: Process,
}

impl Setup {
    async fn start(fine: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.yaml");
        let (one, other) = (FakeBackend::refusing().await, FakeBackend::refusing().await);
        let yaml = format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes:\n      - {{ path: /, upstream: fine }}\n      \
             - {{ path: /dead, upstream: dead }}\nupstreams:\n  fine: {{ backends: [\"{fine}\"] }}\n  \
             dead: {{ backends: [\"http://{one}\", \"http://{other}\"], ejection: {{ consecutive_failures: 0 }}, \
             health_check: {{ http: /, interval: 5m, timeout: 1s }}, when_all_down: any }}\n"
        );
        std::fs::write(&path, yaml).unwrap();
        let path = path.to_str().unwrap();
        let process = Process::start(&["--cdn-host=cdn.example", "--workers=1", "--config", path]);
        let setup = Self {
            _directory: directory,
            process,
        };
        eventually("readiness", async || {
            setup.ask("/", "").await.0.contains(" 200 ")
        })
        .await;
        setup
    }

    async fn ask(&self, target: &str, more: &str) -> (String, String) {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n");
        http1(self.process.http.unwrap(), &request).await
    }

    async fn metric(&self, name: &str) -> u64 {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        metric(&http1(self.process.admin, request).await.1, name)
    }
}

#[tokio::test]
async fn the_event_and_the_answer_have_one_id() {
    let fine = RecordingBackend::replying("fine").await;
    let setup = Setup::start(&fine.url()).await;
    let (head, body) = setup.ask("/dead/film?token=secret", "").await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    let event = setup.process.until_logged("request failed");
    let id = event["request_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert!(head.contains(&format!("x-request-id: {id}\r\n")), "{head}");
    assert!(body.ends_with(&format!("\nrequest ID: {id}\n")), "{body}");
    assert_eq!(event["level"], "WARN");
    assert_eq!(event["upstream"], "dead");
    assert_eq!(event["attempts"], 2);
    assert_eq!(event["cause"], "connect_refused");
    assert_eq!(event["status"], 502);
    assert_eq!(
        (&event["method"], &event["path"]),
        (&"GET".into(), &"/dead/film".into())
    );
    let backend = event["backend"].as_str().unwrap();
    assert!(backend.starts_with("127.0.0.1:"), "{event}");
    let told = event["message"].as_str().unwrap();
    assert_eq!(
        told.strip_prefix("request failed: "),
        Some(error_message(&body))
    );
}

#[tokio::test]
async fn the_clients_id_is_kept_in_every_kind_of_answer() {
    let fine = RecordingBackend::replying("fine").await;
    let setup = Setup::start(&fine.url()).await;
    let id = "X-Request-Id: mine\r\n";
    let json = format!("{id}Accept: application/json\r\n");
    let (head, body) = setup.ask("/dead", &json).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["code"], &body["request_id"]),
        (&502.into(), &"mine".into())
    );
    assert!(head.contains("x-request-id: mine\r\n"), "{head}");
    assert_eq!(
        setup.process.until_logged("request failed")["request_id"],
        "mine"
    );
    // A fault of the client is answered with the id, and is no event.
    let (_, body) = setup.ask("/%00", id).await;
    assert!(body.ends_with("\nrequest ID: mine\n"), "{body}");
    setup.ask("/dead/next", "X-Request-Id: next\r\n").await;
    assert_eq!(
        setup.process.until_logged("request failed")["request_id"],
        "next"
    );
}

#[tokio::test]
async fn an_outage_fills_no_log() {
    let fine = RecordingBackend::replying("fine").await;
    let setup = Setup::start(&fine.url()).await;
    let faults = "weir_http_faults_total{cause=\"connect_refused\"}";
    for _ in 0..200 {
        setup.ask("/dead", "").await;
    }
    let failed = setup.metric(faults).await;
    assert_eq!(failed, 200);
    let (mut events, mut unlogged) = (0, 0);
    while events + unlogged < failed {
        let event = setup
            .process
            .until_logged_any(&["request failed", "more requests failed"]);
        events += u64::from(event.get("cause").is_some());
        unlogged += event["unlogged"].as_u64().unwrap();
    }
    assert_eq!(events + unlogged, failed);
    assert!(events < failed, "{events} events for {failed} requests");
}

/// At the end of a drain, the requests that are left fail by our doing.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_stop_cuts_is_an_event() {
    let silent = RecordingBackend::scripted(|mut wire| async move {
        let _request = wire.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let yaml = format!(
        "drain: {{ lame_duck: 0s, quiet: 0s, timeout: 200ms }}\nhttp: [{{ listen: \"127.0.0.1:0\", routes: [{{ upstream: app }}] }}]\n\
         upstreams: {{ app: {{ backends: [\"{}\"], health_check: off }} }}\n",
        silent.url()
    );
    std::fs::write(&file, yaml).unwrap();
    let process = Process::start(&["--cdn-host=cdn", "--config", file.to_str().unwrap()]);
    let mut client = tokio::net::TcpStream::connect(process.http.unwrap())
        .await
        .unwrap();
    let request = b"GET /film HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client, request)
        .await
        .unwrap();
    eventually("the backend has it", async || !silent.requests().is_empty()).await;
    process.signal(rustix::process::Signal::TERM);
    let event = process.until_logged("request failed");
    assert_eq!(event["cause"], "cut");
    assert_eq!(
        (&event["upstream"], &event["request_id"]),
        (&"app".into(), &"mine".into())
    );
    assert_eq!(event["message"], "request failed: cut by the stop");
}
