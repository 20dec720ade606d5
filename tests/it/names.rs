//! Backends that are named rather than addressed.

use crate::support::{MoodyBackend, SteadyClient, TestApp, error_message, eventually};

fn start(named: &str, other: &str, checks: &str) -> TestApp {
    TestApp::start("", &sections(named, other, checks))
}

fn sections(named: &str, other: &str, checks: &str) -> String {
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}, {{ path: /other, upstream: other }}]\n\
         upstreams:\n  app:\n    backends: [\"{named}\"]\n{checks}  other:\n    backends: [\"{other}\"]\n"
    )
}

#[tokio::test]
async fn a_named_backend_is_there_when_the_process_is_ready() {
    let check = "    health_check: { http: /health, interval: 100ms }\n";
    for checks in ["", check] {
        let backend = MoodyBackend::start("named").await;
        let named = format!("http://localhost:{}", backend.addr.port());
        let app = start(&named, &backend.url(), checks);
        eventually("readiness", async || app.readiness().await == 200).await;
        let mut client = SteadyClient::new(app.http.unwrap());
        for _ in 0..5 {
            assert_eq!(client.body().await, "named");
        }
        let name = format!(
            "weir_backend_responses_total{{upstream=\"app\",backend=\"localhost:{}/127.0.0.1\"}}",
            backend.addr.port()
        );
        assert_eq!(app.metric(&name).await, 5);
        for (name, expected) in [
            ("weir_upstream_available{upstream=\"app\"}", 1),
            (
                "weir_name_lookup_failures_total{upstream=\"app\",host=\"localhost\"}",
                0,
            ),
        ] {
            assert_eq!(app.metric(name).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_holds_nothing_up() {
    let other = MoodyBackend::start("other").await;
    let app = start("http://does-not-exist.invalid:80", &other.url(), "");
    let mut client = SteadyClient::new(app.http.unwrap());
    // Those that need no name are served meanwhile.
    let said = client.get("/other").await;
    assert_eq!(said, Ok((200, "other".to_owned())));
    eventually("readiness", async || app.readiness().await == 200).await;
    for fault in 1..=2 {
        let (status, body) = client.get("/").await.unwrap();
        assert_eq!(
            (status, error_message(&body)),
            (
                503,
                "upstream app has no backend: none of its names has an address"
            )
        );
        let faults = "weir_http_faults_total{cause=\"no_backend\"}";
        assert_eq!(app.metric(faults).await, fault);
    }
    assert_eq!(client.get("/other").await, Ok((200, "other".to_owned())));
    // It has no backend that could tell, so the upstream does.
    for (name, expected) in [("app", 0), ("other", 1)] {
        let name = format!("weir_upstream_available{{upstream=\"{name}\"}}");
        assert_eq!(app.metric(&name).await, expected, "{name}");
    }
    let host = "upstream=\"app\",host=\"does-not-exist.invalid\"";
    let failures = format!("weir_name_lookup_failures_total{{{host}}}");
    assert!(app.metric(&failures).await >= 1);
}

/// The name comes with a reload: what it replaces serves on until then, and it is looked up
/// without anybody's request waiting for it.
#[tokio::test]
async fn a_reload_brings_a_name_and_takes_it_away() {
    let backend = MoodyBackend::start("x").await;
    let app = start(&backend.url(), &backend.url(), "");
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.body().await, "x");
    let sections = |named: &str| {
        format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app:\n    backends: [\"{}\", \"{named}\"]\n",
            backend.url()
        )
    };
    let port = backend.addr.port();
    app.rewrite("", &sections(&format!("http://localhost:{port}")));
    app.reload().await;
    let name = format!(
        "weir_backend_available{{upstream=\"app\",backend=\"localhost:{port}/127.0.0.1\"}} 1"
    );
    let client = tokio::sync::Mutex::new(client);
    eventually("the name is found", async || {
        client.lock().await.body().await;
        app.metrics().await.contains(&name)
    })
    .await;
    app.rewrite("", &sections("http://does-not-exist.invalid"));
    app.reload().await;
    eventually("the name is gone", async || {
        client.lock().await.body().await;
        !app.metrics().await.contains("localhost")
    })
    .await;
}

/// The address that the operator took away gets no further request and no further probe.
#[tokio::test]
async fn a_reload_to_an_unknown_name_takes_the_old_address_away() {
    let (old, other) = (
        MoodyBackend::start("old").await,
        MoodyBackend::start("other").await,
    );
    let app = start(&old.url(), &other.url(), "");
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.get("/").await, Ok((200, "old".to_owned())));
    app.rewrite(
        "",
        &sections("http://does-not-exist.invalid:80", &other.url(), ""),
    );
    app.reload().await;
    eventually("no backend", async || {
        let mut client = SteadyClient::new(app.http.unwrap());
        let (status, body) = client.get("/").await.unwrap();
        status == 503 && body.starts_with("upstream app has no backend: none of its names")
    })
    .await;
}
