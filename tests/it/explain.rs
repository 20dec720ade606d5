//! `/api/v1/explain`: what would happen, without a trace.

use serde_json::{Value, json};

use crate::support::{AdminAnswer, FakeBackend, GrpcClient, TestApp, VIDEO, admin, http1};

async fn explain(app: &TestApp, query: &str) -> AdminAnswer {
    admin(
        app.admin,
        "GET",
        &format!("/api/v1/explain?{query}"),
        "",
        "",
    )
    .await
}

#[tokio::test]
async fn a_redirect_is_explained_and_takes_no_turn() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for turn in 1..=20 {
        let explained = explain(&app, &format!("video={VIDEO}")).await;
        assert_eq!(explained.status, 200, "{explained:?}");
        let redirect = &explained.body["redirect"];
        assert_eq!(redirect["turn"], turn);
        assert_eq!(redirect["redirect"], client.redirect(VIDEO).await.address());
        let target = if turn % 10 == 0 { "origin" } else { "cdn" };
        assert_eq!(redirect["target"], target);
    }
    let refused = explain(&app, "video=http://evil.example/x").await.body;
    assert_eq!(refused["redirect"]["is_accepted"], false);
    assert_eq!(refused["redirect"]["reason"], "host_not_allowed");
    let counted = "weir_redirect_rejected_total{reason=\"host_not_allowed\"}";
    assert_eq!(app.metric(counted).await, 0);
}

struct Balanced {
    app: TestApp,
    names: [String; 2],
    _backends: [FakeBackend; 2],
}

async fn balanced() -> Balanced {
    let backends = [
        FakeBackend::replying("a").await,
        FakeBackend::replying("b").await,
    ];
    let names = [0, 1].map(|index: usize| backends[index].addr.to_string());
    let app = TestApp::start(
        "",
        &format!(
            "rate_limit: {{ capacity: 5, rate_per_sec: 0.001 }}\nhttp:\n  - listen: 127.0.0.1:0\n    routes:\n      - {{ path: /, upstream: app }}\n      - {{ path: /dear, upstream: app, rate_limit: {{ cost: 4 }} }}\n      - {{ path: /free, host: a.example, upstream: app, strip_prefix: true, rate_limit: off }}\nupstreams:\n  app: {{ backends: [\"http://{}\", \"http://{}\"] }}\n",
            names[0], names[1]
        ),
    );
    Balanced {
        app,
        names,
        _backends: backends,
    }
}

async fn get(app: &TestApp, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, body) = http1(app.http.unwrap(), &request).await;
    (head[9..12].parse().unwrap(), body)
}

#[tokio::test]
async fn a_request_is_explained_and_takes_no_token() {
    let balanced = balanced().await;
    let app = &balanced.app;
    for _ in 0..3 {
        let explained = explain(app, "path=/x").await.body;
        let request = &explained["request"];
        assert_eq!(request["route"], "*/");
        assert_eq!(
            (&request["upstream"], &request["policy"]),
            (&json!("app"), &json!("round_robin"))
        );
        assert_eq!(request["available"], json!(balanced.names));
        let (_, name) = get(app, "/x").await;
        let index = usize::from(name == "b");
        assert_eq!(request["backend"], balanced.names[index], "{explained}");
    }
    // Three of five are used.
    let limits = &explain(app, "path=/x").await.body["request"]["limits"];
    assert_eq!(
        *limits,
        json!([{"limit": "default", "mode": "enforce", "capacity": 5, "rate_per_sec": 0.001, "cost": 1, "tokens": 2, "admits": true}])
    );
    let dear = explain(app, "path=/dear/x").await.body;
    assert_eq!(
        (&dear["request"]["status"], &dear["request"]["backend"]),
        (&json!(429), &Value::Null)
    );
    assert_eq!(get(app, "/dear/x").await.0, 429);
    let other = explain(app, "path=/dear&client=192.0.2.7").await.body;
    assert_eq!(other["request"]["status"], Value::Null);
    let free = explain(app, "path=/y/../free/z&host=a.example").await.body;
    assert_eq!(
        (&free["request"]["route"], &free["request"]["limits"]),
        (&json!("a.example/free"), &json!([]))
    );
    assert!(free["why"].to_string().contains("without /free"), "{free}");
    let climbs = explain(app, "path=/../x").await.body;
    assert_eq!(climbs["request"]["status"], 400);
}

#[tokio::test]
async fn what_cannot_be_explained_is_said() {
    let balanced = balanced().await;
    let app = &balanced.app;
    for (query, status, detail) in [
        ("video=x&path=/", 400, "either a video"),
        ("listener=10.0.0.1:80", 404, "there are: 127.0.0.1:"),
        ("client=x", 400, "is no IP address"),
        ("color=red", 400, "color"),
    ] {
        let answer = explain(app, query).await;
        assert_eq!(answer.status, status, "{query} {answer:?}");
        assert!(
            answer.body["detail"].as_str().unwrap().contains(detail),
            "{answer:?}"
        );
    }
    let app = TestApp::plain();
    assert_eq!(explain(&app, "path=/").await.status, 404);
}
