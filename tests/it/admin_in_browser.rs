//! The admin listener in a real browser: the page that shows its API, and what pages of others may
//! not do.

use serde_json::json;
use tokio::task::spawn_blocking;

use crate::support::{BrowsedPage, FakeBackend, JSON, Script, TestApp, admin, browse, eventually};

async fn open(test: &'static str, url: String) -> Option<BrowsedPage> {
    spawn_blocking(move || browse(test, &url)).await.unwrap()
}

/// Every operation of the document is on the page, and the page loads nothing that its policy
/// refuses. Addresses in the query have no effect.
#[tokio::test]
async fn the_page_shows_each_operation() {
    let other = FakeBackend::replying("{}").await;
    let app = TestApp::start("", "");
    let document = admin(app.admin, "GET", "/api/openapi.json", "", "")
        .await
        .body;
    for path in [
        "/",
        "/metrics",
        "/api/docs",
        "/api/v1/upstreams",
        "/nothing",
    ] {
        let answer = admin(app.admin, "GET", path, "", "").await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{path} {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let query = format!(
        "?url=http://{0}/a.json&configUrl=http://{0}/b.json",
        other.addr
    );
    let url = format!("http://{}/api/docs{query}", app.admin);
    let Some(page) = open("the_page_shows_each_operation", url).await else {
        return;
    };
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let title = format!("<b>{}</b><code>{path}</code>", method.to_uppercase());
            assert!(
                page.html.contains(&title),
                "{title} is not in {}",
                page.html
            );
            let summary = operation["summary"].as_str().unwrap();
            let words = summary.split(['`', '&', '<', '"']).next().unwrap();
            assert!(page.html.contains(words), "{words}");
        }
    }
    let refused = page
        .console
        .iter()
        .find(|line| line.contains("Content Security Policy"));
    assert_eq!(refused, None);
    assert!(other.heads().is_empty(), "{:?}", other.heads());
}

/// A page of another origin tries what browsers let it send unasked: a form, and requests without
/// CORS. The listener has no token and is on loopback, where the browser reaches it (CVE-2026-27589
/// of Caddy was of this kind).
#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("weir.db");
    let app = TestApp::start(
        "",
        &format!("database: \"sqlite://{}\"\n", database.display()),
    );
    let clients = format!("http://{}/api/v1/clients", app.admin);
    eventually("the database answers", async || {
        admin(app.admin, "GET", "/api/v1/clients", "", "")
            .await
            .status
            == 200
    })
    .await;
    let client = json!({ "client_id": "client1", "capacity": 1, "rate_per_sec": 1 });
    let script = format!(
        "<!doctype html><body><form method=post enctype=text/plain target=frame action='{clients}'><input name='{{\"client_id\":\"client1\",\"capacity\":1,\"rate_per_sec\":1,\"x' value='\":1}}'></form><iframe name=frame></iframe><script>
        document.forms[0].submit();
        const send = (type, mode) => fetch('{clients}', {{ method: 'POST', mode, headers: {{ 'Content-Type': type }}, body: '{client}' }}).catch(String);
        Promise.all([send('text/plain', 'no-cors'), send('text/plain', 'cors'), send('application/json', 'cors'), send('application/json', 'no-cors')])
          .then(() => document.title = 'all sent');
        </script>"
    );
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{script}",
        script.len()
    );
    let attacker = FakeBackend::start(Script::Reply(page)).await;
    let url = format!("http://{}/", attacker.addr);
    let Some(page) = open("a_page_of_another_origin_changes_nothing", url).await else {
        return;
    };
    assert!(
        page.html.contains("<title>all sent</title>"),
        "{}",
        page.html
    );
    let listed = admin(app.admin, "GET", "/api/v1/clients", "", "").await;
    assert_eq!(listed.body["clients"], json!([]), "{listed:?}");
    // The same body from this machine is fine.
    let made = admin(
        app.admin,
        "POST",
        "/api/v1/clients",
        JSON,
        &client.to_string(),
    )
    .await;
    assert_eq!(made.status, 201, "{made:?}");
}
