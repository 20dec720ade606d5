//! A reload changes what it can, refuses what it cannot, and keeps the turns.

use crate::support::{GrpcClient, TestApp, VIDEO};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "weir_config_reloads_total{result=\"refused\"}";

#[tokio::test]
async fn a_reload_changes_the_rule_and_keeps_turns_and_connections() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for _ in 1..=5 {
        assert!(
            client
                .redirect(VIDEO)
                .await
                .address()
                .starts_with("http://cdn.example.com/")
        );
    }
    app.rewrite(
        "  cdn_host: https://new.example/vod\n  origin_clusters: [origin-cluster, elsewhere]\n",
        "",
    );
    app.reload().await;
    app.until_metric(OK, 1).await;
    assert_eq!(
        client.redirect("http://a.elsewhere/x").await.address(),
        "https://new.example/vod/a/x"
    );
    for turn in 7..=10 {
        let is_origin = client.redirect(VIDEO).await.address() == VIDEO;
        assert_eq!(is_origin, turn == 10, "turn {turn}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_and_the_old_one_serves() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    app.rewrite("  origin_evry: 3\n", "");
    app.reload().await;
    app.until_metric(REFUSED, 1).await;
    assert_eq!(app.metric("weir_config_last_reload_successful").await, 0);
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    app.rewrite("  origin_every: 2\n", "");
    app.reload().await;
    app.until_metric(OK, 1).await;
    assert_eq!(app.metric("weir_config_last_reload_successful").await, 1);
    assert_eq!(client.redirect(VIDEO).await.address(), VIDEO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_fail_no_call() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let calls = tokio::spawn(async move {
        let mut origin = 0;
        for _ in 0..5_000 {
            origin += usize::from(client.redirect(VIDEO).await.address() == VIDEO);
        }
        origin
    });
    for round in 1..=100 {
        app.rewrite(&format!("  cdn_host: cdn{round}.example\n"), "");
        app.reload().await;
        app.until_metric(OK, round).await;
    }
    assert_eq!(calls.await.unwrap(), 500);
}
