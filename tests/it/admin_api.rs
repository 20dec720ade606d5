//! The admin API: registered clients, their keys, the record of changes, and who may change what.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    AdminAnswer as Answer, FakeBackend, JSON, TestApp, admin as send, eventually, http1,
};

struct Api {
    app: TestApp,
    _directory: TempDir,
    _backend: FakeBackend,
}

impl Api {
    async fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let backend = FakeBackend::replying("fine").await;
        let app = TestApp::start(
            "",
            &format!(
                "database: \"sqlite://{}\"\n{more}http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app: {{ backends: [\"http://{}\"] }}\n",
                directory.path().join("weir.db").display(),
                backend.addr
            ),
        );
        eventually("it is ready", async || app.readiness().await == 200).await;
        Self {
            app,
            _directory: directory,
            _backend: backend,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.app.admin, "GET", path, "", "").await
    }

    async fn change(&self, method: &str, path: &str, body: &Value) -> Answer {
        send(self.app.admin, method, path, JSON, &body.to_string()).await
    }

    async fn statuses(&self, header: &str, requests: usize) -> Vec<u16> {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n");
        let mut statuses = Vec::new();
        for _ in 0..requests {
            let (head, _) = http1(self.app.http.unwrap(), &request).await;
            statuses.push(head[9..12].parse().unwrap());
        }
        statuses
    }

    async fn until_clients(&self, count: u64) {
        let name = "weir_rate_limit_clients{kind=\"registered\"}";
        self.app.until_metric(name, count).await;
    }
}

#[tokio::test]
async fn a_client_is_made_used_and_shown() {
    let api = Api::start("").await;
    // The body that clients of this API have always sent.
    let body = json!({"client_id": "client1", "capacity": 3, "rate_per_sec": 0.001});
    let made = api.change("POST", "/api/v1/clients", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/clients/client1"));
    let key = made.body["api_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("weir_"), "{key}");
    assert_eq!(made.body["capacity"], 3);

    api.until_clients(1).await;
    let header = format!("X-API-Key: {key}");
    assert_eq!(api.statuses(&header, 5).await, [200, 200, 200, 429, 429]);
    let bucket = api.get("/api/v1/clients/client1/bucket").await;
    assert_eq!(
        bucket.body,
        json!({"client_id": "client1", "capacity": 3, "rate_per_sec": 0.001, "tokens": 0, "refused_last_minute": 2})
    );

    let shown = api.get("/api/v1/clients/client1").await;
    let tag = shown.header("etag").unwrap().to_owned();
    assert_eq!(Some(&*tag), made.header("etag"));
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(
        shown.body,
        json!({"client_id": "client1", "capacity": 3, "rate_per_sec": 0.001, "networks": [], "keys": [id]})
    );
    let known = send(
        api.app.admin,
        "GET",
        "/api/v1/clients/client1",
        &format!("If-None-Match: {tag}\r\n"),
        "",
    )
    .await;
    assert_eq!((known.status, known.header("etag")), (304, Some(&*tag)));
}

#[tokio::test]
async fn a_client_is_changed_and_removed() {
    let api = Api::start("").await;
    let body = json!({"client_id": "client1", "capacity": 3, "rate_per_sec": 0.001});
    let made = api.change("POST", "/api/v1/clients", &body).await;
    let tag = made.header("etag").unwrap();
    let key = made.body["api_key"].as_str().unwrap();
    let patched = api
        .change(
            "PATCH",
            "/api/v1/clients/client1",
            &json!({"capacity": 1000, "networks": ["10.1.0.0/16"]}),
        )
        .await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.body["networks"], json!(["10.1.0.0/16"]));
    assert_eq!(patched.body["rate_per_sec"], 0.001);
    let admitted = async || api.statuses("X-Forwarded-For: 10.1.2.3", 1).await == [200];
    eventually("the new limit holds", admitted).await;

    // Of two writers that saw the same version, the second learns that it did not.
    let stale = send(
        api.app.admin,
        "PATCH",
        "/api/v1/clients/client1",
        &format!("{JSON}If-Match: {tag}\r\n"),
        "{\"capacity\":1}",
    )
    .await;
    assert_eq!(stale.status, 412, "{stale:?}");
    let tag = patched.header("etag").unwrap();
    let put = json!({"capacity": 5, "rate_per_sec": 10});
    let replaced = send(
        api.app.admin,
        "PUT",
        "/api/v1/clients/client1",
        &format!("{JSON}If-Match: {tag}\r\n"),
        &put.to_string(),
    )
    .await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    assert_eq!(replaced.body["networks"], json!([]));
    assert_eq!(replaced.body["keys"], made.body["keys"]);
    assert_eq!(replaced.body["rate_per_sec"].to_string(), "10");

    let removed = api
        .change("DELETE", "/api/v1/clients/client1", &Value::Null)
        .await;
    assert_eq!(removed.status, 204);
    assert_eq!(api.get("/api/v1/clients/client1").await.status, 404);
    api.until_clients(0).await;

    check_record(&api, key).await;
}

/// What the record holds of a client that was made, changed twice and removed.
async fn check_record(api: &Api, key: &str) {
    let audit = api.get("/api/v1/audit?subject=client/client1").await;
    let actions: Vec<&str> = audit.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "client.delete",
            "client.update",
            "client.update",
            "client.create"
        ]
    );
    let update = &audit.body["entries"][2];
    assert_eq!(
        (&update["actor"], &update["address"]),
        (&json!("local"), &json!("127.0.0.1"))
    );
    assert_eq!(
        (
            &update["old_value"]["capacity"],
            &update["new_value"]["capacity"]
        ),
        (&json!(3), &json!(1000))
    );
    assert!(
        !audit.body.to_string().contains(&key[16..]),
        "the key is in the record"
    );
}

#[tokio::test]
async fn a_key_is_replaced_without_a_pause() {
    let api = Api::start("rate_limit: { capacity: 1, rate_per_sec: 0.001 }\n").await;
    let body = json!({"client_id": "studio", "capacity": 1000, "rate_per_sec": 1});
    let first = api.change("POST", "/api/v1/clients", &body).await.body["api_key"].clone();
    let second = api
        .change("POST", "/api/v1/clients/studio/keys", &json!({}))
        .await;
    assert_eq!(second.status, 201, "{second:?}");
    let third = api
        .change("POST", "/api/v1/clients/studio/keys", &json!({}))
        .await;
    assert_eq!(third.status, 409, "{third:?}");
    let works = async |key: &Value| {
        let header = format!("X-API-Key: {}", key.as_str().unwrap());
        api.statuses(&header, 2).await == [200, 200]
    };
    let both = async || works(&first).await && works(&second.body["api_key"]).await;
    eventually("both keys work", both).await;
    let id = first.as_str().unwrap().split('_').nth(1).unwrap();
    let path = format!("/api/v1/clients/studio/keys/{id}");
    assert_eq!(api.change("DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(api.change("DELETE", &path, &Value::Null).await.status, 404);
    eventually("the first is gone", async || !works(&first).await).await;
    assert!(works(&second.body["api_key"]).await);
}

#[tokio::test]
async fn an_id_may_be_a_network_and_has_no_key() {
    let api = Api::start("").await;
    let body = json!({"client_id": "10.0.0.0/8", "capacity": 2, "rate_per_sec": 0.001});
    let made = api.change("POST", "/api/v1/clients", &body).await;
    assert_eq!((made.status, made.body.get("api_key")), (201, None));
    assert_eq!(
        made.header("location"),
        Some("/api/v1/clients/10%2E0%2E0%2E0%2F8")
    );
    assert_eq!(api.get(made.header("location").unwrap()).await.status, 200);
    api.until_clients(1).await;
    assert_eq!(
        api.statuses("X-Forwarded-For: 10.9.9.9", 3).await,
        [200, 200, 429]
    );
}

#[tokio::test]
async fn clients_are_listed_page_by_page() {
    let api = Api::start("").await;
    for number in 0..5 {
        let path = format!("/api/v1/clients/c{number}");
        let body = json!({"capacity": 1, "rate_per_sec": 1});
        assert_eq!(api.change("PUT", &path, &body).await.status, 201);
    }
    let (mut path, mut seen) = ("/api/v1/clients?limit=2".to_owned(), Vec::new());
    loop {
        let page = api.get(&path).await;
        let clients = page.body["clients"].as_array().unwrap();
        seen.extend(
            clients
                .iter()
                .map(|client| client["client_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/clients?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4"]);
    let audit = api.get("/api/v1/audit?limit=3&action=client.create").await;
    assert_eq!(audit.body["entries"].as_array().unwrap().len(), 3);
    let next = audit.body["next"].as_i64().unwrap();
    let rest = api
        .get(&format!("/api/v1/audit?limit=3&cursor={next}"))
        .await;
    assert_eq!(
        (
            rest.body["entries"].as_array().unwrap().len(),
            &rest.body["next"]
        ),
        (2, &Value::Null)
    );
}

#[tokio::test]
async fn an_error_names_the_field() {
    let api = Api::start("").await;
    let good =
        json!({"client_id": "a", "capacity": 1, "rate_per_sec": 1, "networks": ["10.0.0.1"]});
    assert_eq!(
        api.change("POST", "/api/v1/clients", &good).await.status,
        201
    );
    let with = |name: &str, value: Value| {
        let mut body = json!({"client_id": "b", "capacity": 1, "rate_per_sec": 1});
        body[name] = value;
        body
    };
    let mut missing = with("x", Value::Null);
    missing
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "x" && name != "capacity");
    for (body, status, pointer) in [
        (with("capacity", json!(-1)), 422, "#/capacity"),
        (with("capacity", json!("many")), 422, "#/capacity"),
        (with("capacity", json!(1.5)), 422, "#/capacity"),
        (with("rate_per_sec", json!(0)), 422, "#/rate_per_sec"),
        (
            with("rate_per_sec", json!(0.0000001)),
            422,
            "#/rate_per_sec",
        ),
        (with("client_id", json!("")), 422, "#/client_id"),
        (with("client_id", json!("a b")), 422, "#/client_id"),
        (
            with("networks", json!(["10.0.0.0/8", "x"])),
            422,
            "#/networks/1",
        ),
        (
            with("networks", json!(["10.0.0.1", "10.0.0.1/32"])),
            422,
            "#/networks/1",
        ),
        (with("networks", json!("10.0.0.0/8")), 422, "#/networks"),
        (with("capacty", json!(1)), 422, "#/capacty"),
        (missing, 422, "#/capacity"),
        (good.clone(), 409, ""),
        (with("networks", json!(["10.0.0.1"])), 409, ""),
    ] {
        let answer = api.change("POST", "/api/v1/clients", &body).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.body["status"], status);
        assert_eq!(
            answer.body["errors"][0]["pointer"].as_str().unwrap_or(""),
            pointer,
            "{answer:?}"
        );
        assert!(!answer.body["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        api.get("/api/v1/clients").await.body["clients"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn each_error_has_its_status() {
    let api = Api::start("").await;
    let body = json!({"capacity": 1, "rate_per_sec": 1});
    assert_eq!(
        api.change("PUT", "/api/v1/clients/a", &body).await.status,
        201
    );
    let named = json!({"client_id": "b", "capacity": 1, "rate_per_sec": 1});
    for (method, path, body, status) in [
        ("PUT", "/api/v1/clients/a", named.clone(), 422),
        ("PATCH", "/api/v1/clients/a", json!({"capacity": null}), 422),
        ("PATCH", "/api/v1/clients/a", json!([1]), 422),
        ("PUT", "/api/v1/clients/a", json!([1, 2, 3, []]), 422),
        ("PATCH", "/api/v1/clients/none", json!({"capacity": 1}), 404),
        ("DELETE", "/api/v1/clients/none", json!({}), 404),
        ("POST", "/api/v1/clients/none/keys", json!({}), 404),
        ("POST", "/api/v1/clients/a", named.clone(), 405),
        ("POST", "/api/v2/clients", named, 404),
    ] {
        let answer = api.change(method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path} {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{answer:?}"
        );
    }
    for (path, status) in [
        ("/api/v1/clients?limit=0", 400),
        ("/api/v1/clients?limit=x", 400),
        ("/api/v1/clients?color=red", 400),
        ("/api/v1/clients/none/bucket", 404),
        ("/api/none", 404),
    ] {
        assert_eq!(api.get(path).await.status, status, "{path}");
    }
    let admin = api.app.admin;
    let broken = send(admin, "POST", "/api/v1/clients", JSON, "{\"client_id\":").await;
    assert_eq!(broken.status, 400, "{broken:?}");
    let long = format!("{{\"client_id\":\"{}\"}}", "x".repeat(70_000));
    let too_long = send(admin, "POST", "/api/v1/clients", JSON, &long).await;
    assert_eq!(too_long.status, 413, "{too_long:?}");
    assert_eq!(
        api.get("/api/v1/clients").await.body["clients"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

const BODY: &str = r#"{"client_id":"evil","capacity":1,"rate_per_sec":1}"#;

async fn is_changed(admin: SocketAddr) -> bool {
    let clients = send(admin, "GET", "/api/v1/clients", "", "").await;
    !clients.body["clients"].as_array().unwrap().is_empty()
}

/// What a page of another origin can make a browser send to a listener without a token.
#[tokio::test]
async fn a_web_page_changes_nothing() {
    let api = Api::start("").await;
    let admin = api.app.admin;
    for (headers, status) in [
        // A form, and a fetch that the browser does not ask about.
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: multipart/form-data; boundary=x\r\n", 415),
        ("", 415),
        (
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
            403,
        ),
        ("Content-Type: application/json\r\nOrigin: null\r\n", 403),
        (
            "Content-Type: application/json\r\nOrigin: http://localhost:3000\r\n",
            403,
        ),
        (
            "Content-Type: application/json\r\nSec-Fetch-Site: cross-site\r\n",
            403,
        ),
        (
            "Content-Type: application/json\r\nSec-Fetch-Site: same-site\r\n",
            403,
        ),
        // A name of its own that it made resolve to this address.
        (
            "Content-Type: application/json\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n",
            403,
        ),
        (
            "Content-Type: application/json\r\nHost: localhost.evil.com\r\n",
            403,
        ),
    ] {
        let answer = send(admin, "POST", "/api/v1/clients", headers, BODY).await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        assert!(!is_changed(admin).await, "{headers:?}");
    }
    let rebound = send(
        admin,
        "GET",
        "/api/v1/clients",
        "Host: evil.example\r\n",
        "",
    )
    .await;
    assert_eq!(rebound.status, 403);
    // Probes come by any name.
    for path in ["/livez", "/readyz", "/metrics"] {
        let probe = send(
            admin,
            "GET",
            path,
            "Host: 10-0-0-7.pod.cluster.local\r\n",
            "",
        )
        .await;
        assert_eq!(probe.status, 200, "{path}");
    }
    // Reads change nothing, whatever they name.
    for path in ["/api/v1/clients/x", "/api/v1/clients/x/keys"] {
        assert!(api.get(path).await.status >= 400);
        assert!(!is_changed(admin).await);
    }
    // A page of this listener's own may.
    let own = format!("{JSON}Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(
        send(admin, "POST", "/api/v1/clients", &own, BODY)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let api = Api::start("admin: { listen: \"127.0.0.1:0\", token: 0123456789abcdef }\n").await;
    let admin = api.app.admin;
    for headers in [
        "",
        "Authorization: Bearer 0123456789abcdeX\r\n",
        "Authorization: Basic 0123456789abcdef\r\n",
        "Authorization: Bearer\r\n",
    ] {
        let answer = send(
            admin,
            "POST",
            "/api/v1/clients",
            &format!("{JSON}{headers}"),
            BODY,
        )
        .await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer"))
        );
        assert!(!is_changed(admin).await);
    }
    // An address is logged, so a token in one is refused even where it is right.
    for name in ["token", "access_token"] {
        let path = format!("/api/v1/clients?{name}=0123456789abcdef");
        assert_eq!(send(admin, "POST", &path, JSON, BODY).await.status, 400);
        assert_eq!(send(admin, "GET", &path, "", "").await.status, 400);
    }
    let right = format!("{JSON}Authorization: bearer 0123456789abcdef\r\n");
    assert_eq!(
        send(admin, "POST", "/api/v1/clients", &right, BODY)
            .await
            .status,
        201
    );
    let audit = send(admin, "GET", "/api/v1/audit", "", "").await;
    assert_eq!(audit.body["entries"][0]["actor"], "token");
}

#[tokio::test]
async fn off_the_loopback_changes_need_a_token() {
    let api = Api::start("admin: { listen: \"0.0.0.0:0\" }\n").await;
    let admin = SocketAddr::from(([127, 0, 0, 1], api.app.admin.port()));
    let answer = send(admin, "POST", "/api/v1/clients", JSON, BODY).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("WEIR_ADMIN_TOKEN"),
        "{answer:?}"
    );
    assert!(!is_changed(admin).await);
}

#[tokio::test]
async fn without_a_database_the_api_says_so() {
    let app = TestApp::plain();
    let answer = send(app.admin, "POST", "/api/v1/clients", JSON, BODY).await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("DATABASE_URL"),
        "{answer:?}"
    );
}

/// Every path and method of the document is there, and the document has no word of older versions.
#[tokio::test]
async fn the_document_describes_what_is_there() {
    let api = Api::start("").await;
    let document = api.get("/api/openapi.json").await;
    assert_eq!(
        document.body["openapi"].as_str().unwrap().split('.').next(),
        Some("3")
    );
    assert!(!document.body.to_string().contains("nullable"));
    let mut operations = 0;
    for (path, methods) in document.body["paths"].as_object().unwrap() {
        let path = path
            .replace("{client_id}", "none")
            .replace("{key_id}", "none")
            .replace("{upstream}", "none")
            .replace("{backend}", "none");
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let answer = match &*method {
                "GET" => api.get(&path).await,
                _ => api.change(&method, &path, &json!({})).await,
            };
            let described = operation["responses"].as_object().unwrap();
            assert!(
                described.contains_key(&answer.status.to_string()),
                "{method} {path} {answer:?}"
            );
            operations += 1;
        }
    }
    assert_eq!(operations, 17);
}

/// Each value with where it comes from, and no secret.
#[tokio::test]
async fn the_running_configuration_is_shown() {
    let token = "0123456789abcdef";
    let api =
        Api::start(&format!("drain: {{ lame_duck: 0s, quiet: 50ms, timeout: 7s }}\nadmin:\n  listen: 127.0.0.1:0\n  token: \"{token}\"\n")).await;
    let shown = api.get("/api/v1/config").await.body;
    let setting = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap()
            .clone()
    };
    let timeout = setting("drain.timeout");
    assert_eq!(
        (&timeout["value"], &timeout["source"]),
        (&json!("7s"), &json!("file"))
    );
    assert!(timeout["line"].as_u64().unwrap() > 1, "{timeout}");
    assert_eq!(
        setting("watch"),
        json!({"key": "watch", "value": "true", "source": "default", "line": null})
    );
    assert_eq!(setting("admin.token")["value"], "***");
    assert!(!shown.to_string().contains(token));
}
