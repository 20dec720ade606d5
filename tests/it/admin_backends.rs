//! Changes of backends and reloads through the admin API.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{AdminAnswer, FakeBackend, JSON, TestApp, admin, eventually, http1};

struct Backends(Vec<FakeBackend>);

impl Backends {
    async fn start() -> Self {
        let mut backends = Vec::new();
        for name in ["a", "b"] {
            backends.push(FakeBackend::replying(name).await);
        }
        Self(backends)
    }

    /// A configuration with them; `a_keys` are further keys of the first.
    fn sections(&self, database: Option<&Path>, a_keys: &str) -> String {
        let [a, b] = &self.0[..] else {
            unreachable!("there are two");
        };
        let database = database.map(|path| format!("database: \"sqlite://{}\"\n", path.display()));
        format!(
            "{}http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app:\n    backends:\n      - {{ url: \"http://{}\"{a_keys} }}\n      - http://{}\n",
            database.unwrap_or_default(),
            a.addr,
            b.addr
        )
    }

    fn path(&self) -> String {
        format!("/api/v1/upstreams/app/backends/{}", self.0[0].addr)
    }
}

async fn get(app: &TestApp, path: &str) -> AdminAnswer {
    admin(app.admin, "GET", path, "", "").await
}

async fn patch(app: &TestApp, path: &str, body: Value) -> AdminAnswer {
    admin(app.admin, "PATCH", path, JSON, &body.to_string()).await
}

/// Who answers requests, in their order.
async fn answered_by(app: &TestApp, requests: usize) -> String {
    let mut names = String::new();
    for _ in 0..requests {
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        names.push_str(&http1(app.http.unwrap(), request).await.1);
    }
    names
}

async fn share_of_a(app: &TestApp, requests: usize) -> usize {
    answered_by(app, requests).await.matches('a').count()
}

#[tokio::test]
async fn a_backend_is_drained_weighted_and_given_back() {
    let backends = Backends::start().await;
    let app = TestApp::start("", &backends.sections(None, ""));
    let path = backends.path();
    assert_eq!(share_of_a(&app, 4).await, 2);
    let drained = patch(&app, &path, json!({"state": "draining"})).await;
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(
        (&drained.body["state"], &drained.body["file_state"]),
        (&json!("draining"), &json!("enabled"))
    );
    assert_eq!(share_of_a(&app, 4).await, 0);
    let listed = get(&app, "/api/v1/upstreams").await.body;
    assert_eq!(listed["upstreams"][0]["available"], 1);
    assert_eq!(listed["upstreams"][0]["backends"][0]["state"], "draining");
    assert_eq!(
        listed["upstreams"][0]["backends"][0]["condition"],
        "draining"
    );

    let weighted = patch(&app, &path, json!({"state": null, "weight": 3})).await;
    assert_eq!(
        (&weighted.body["state"], &weighted.body["weight"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(share_of_a(&app, 8).await, 6);
    let overrides = get(&app, "/api/v1/overrides").await.body;
    assert_eq!(overrides["overrides"].as_array().unwrap().len(), 1);
    assert_eq!(overrides["overrides"][0]["file_weight"], 1);

    patch(&app, &path, json!({"weight": null})).await;
    assert_eq!(share_of_a(&app, 4).await, 2);
    let overrides = get(&app, "/api/v1/overrides").await.body;
    assert_eq!(overrides["overrides"], json!([]));
}

#[tokio::test]
async fn a_time_ends_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let backends = Backends::start().await;
    let app = TestApp::start(
        "",
        &backends.sections(Some(&directory.path().join("weir.db")), ""),
    );
    eventually("it is ready", async || app.readiness().await == 200).await;
    let body = json!({"state": "disabled", "ttl": "1s"});
    assert_eq!(patch(&app, &backends.path(), body).await.status, 200);
    assert_eq!(share_of_a(&app, 2).await, 0);
    eventually("it is back", async || share_of_a(&app, 4).await == 2).await;
    let recorded = async || {
        let audit = get(&app, "/api/v1/audit?action=override.expired")
            .await
            .body;
        audit["entries"][0]["actor"] == "ttl"
    };
    eventually("that is recorded", recorded).await;
}

#[tokio::test]
async fn a_change_survives_a_restart_and_gives_way_to_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("weir.db");
    let backends = Backends::start().await;
    let sections = |a_keys: &str| backends.sections(Some(&database), a_keys);
    let app = TestApp::start("", &sections(""));
    eventually("it is ready", async || app.readiness().await == 200).await;
    assert_eq!(
        patch(&app, &backends.path(), json!({"weight": 3}))
            .await
            .status,
        200
    );
    assert_eq!(share_of_a(&app, 4).await, 3);
    drop(app);

    let app = TestApp::start("", &sections(""));
    eventually("the change is read", async || {
        share_of_a(&app, 4).await == 3
    })
    .await;
    // A reload that changes something else keeps it.
    app.rewrite(
        "",
        &format!(
            "{}rate_limit: {{ capacity: 1000, rate_per_sec: 1 }}\n",
            sections("")
        ),
    );
    let reload = admin(app.admin, "POST", "/api/v1/reload", JSON, "{}").await;
    assert_eq!(
        (reload.status, &reload.body["is_reloaded"]),
        (200, &json!(true)),
        "{reload:?}"
    );
    assert_eq!(share_of_a(&app, 4).await, 3);
    // One that changes the weight wins.
    app.rewrite("", &sections(", weight: 7"));
    admin(app.admin, "POST", "/api/v1/reload", JSON, "{}").await;
    assert_eq!(share_of_a(&app, 8).await, 7);
    let recorded = async || {
        let audit = get(&app, "/api/v1/audit?action=override.superseded")
            .await
            .body;
        audit["entries"][0]["old_value"]["weight"] == 3
    };
    eventually("that is recorded", recorded).await;
    assert_eq!(
        get(&app, "/api/v1/overrides").await.body["overrides"],
        json!([])
    );
    let audit = get(&app, "/api/v1/audit?action=backend.override")
        .await
        .body;
    let subject = format!("backend/app/{}", backends.0[0].addr);
    assert_eq!(audit["entries"][0]["subject"], json!(subject));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let backends = Backends::start().await;
    let app = TestApp::start("", &backends.sections(None, ""));
    let good = backends.path();
    for (path, body, status, pointer) in [
        (&*good, json!({"weight": 0}), 422, "#/weight"),
        (&good, json!({"weight": 1001}), 422, "#/weight"),
        (&good, json!({"weight": "2"}), 422, "#/weight"),
        (&good, json!({"state": "down"}), 422, "#/state"),
        (
            &good,
            json!({"state": "draining", "ttl": "0s"}),
            422,
            "#/ttl",
        ),
        (
            &good,
            json!({"state": "draining", "ttl": "10"}),
            422,
            "#/ttl",
        ),
        (&good, json!({"wieght": 2}), 422, "#/wieght"),
        (&good, json!([]), 422, "#"),
        (
            "/api/v1/upstreams/none/backends/x",
            json!({"weight": 2}),
            404,
            "",
        ),
        (
            "/api/v1/upstreams/app/backends/x",
            json!({"weight": 2}),
            404,
            "",
        ),
    ] {
        let answer = patch(&app, path, body.clone()).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        let named = answer.body["errors"][0]["pointer"].as_str().unwrap_or("");
        assert_eq!(named, pointer, "{body} {answer:?}");
    }
    assert_eq!(share_of_a(&app, 4).await, 2);
}

#[tokio::test]
async fn a_refused_reload_shows_the_faults() {
    let backends = Backends::start().await;
    let app = TestApp::start("", &backends.sections(None, ""));
    app.rewrite("", &backends.sections(None, ", wieght: 7"));
    let refused = admin(app.admin, "POST", "/api/v1/reload", JSON, "{}").await;
    assert_eq!(
        (refused.status, &refused.body["is_reloaded"]),
        (422, &json!(false))
    );
    let fault = &refused.body["diagnostics"][0];
    assert_eq!(fault["severity"], "error");
    assert!(
        fault["message"].as_str().unwrap().contains("weight"),
        "{refused:?}"
    );
    assert!(fault["line"].as_u64().unwrap() > 1, "{refused:?}");
    assert_eq!(share_of_a(&app, 4).await, 2);
    app.rewrite("", &format!("{}workers: 3\n", backends.sections(None, "")));
    let reload = admin(app.admin, "POST", "/api/v1/reload", JSON, "{}").await;
    assert_eq!(
        reload.body["need_restart"],
        json!(["workers"]),
        "{reload:?}"
    );
}
