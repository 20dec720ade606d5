//! The admin listener: probes get through, and scrapers get the format that they read.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{Process, TestApp, http1};

#[tokio::test]
async fn idle_and_unfinished_connections_keep_no_probe_out() {
    let app = TestApp::plain();
    let mut held = Vec::new();
    for index in 0..200 {
        let mut stream = TcpStream::connect(app.admin).await.unwrap();
        if index % 2 == 0 {
            stream.write_all(b"GET /readyz HTT").await.unwrap();
        }
        held.push(stream);
    }
    assert_eq!(app.readiness().await, 200);
    assert_eq!(held.len(), 200);
}

#[tokio::test]
async fn the_metrics_page_has_the_format_that_is_asked_for() {
    let app = TestApp::plain();
    let page = async |accept: &str| {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}Connection: close\r\n\r\n"
        );
        http1(app.admin, &request).await
    };
    let (head, body) = page("").await;
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(
        body.contains("# TYPE weir_redirects_total counter\n"),
        "{body}"
    );
    assert!(
        !body.contains("# EOF") && !body.contains(" info\n"),
        "{body}"
    );
    let (head, body) = page("Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(
        body.contains("# TYPE weir_redirects counter\n") && body.ends_with("# EOF\n"),
        "{body}"
    );
}

/// A web page can make its own name resolve to this address and read what the listener answers.
#[tokio::test]
async fn a_host_that_is_not_named_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    std::fs::write(&file, "admin: { hosts: [Weir.internal.] }\n").unwrap();
    let process = Process::start(&["--cdn-host=cdn", "--config", file.to_str().unwrap()]);
    let status = async |host: &str| {
        let request = format!("GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let (head, _) = http1(process.admin, &request).await;
        head.split(' ').nth(1).unwrap().to_owned()
    };
    for host in [
        "localhost",
        "LocalHost:8404",
        "127.0.0.1:8404",
        "[::1]",
        "10.0.0.1",
        "weir.internal:80",
        "weir.internal.",
    ] {
        assert_eq!(status(host).await, "200", "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "weir",
        "",
        "127.0.0.1.evil.example:8404",
        "[evil.example",
    ] {
        assert_eq!(status(host).await, "403", "{host}");
    }
}
