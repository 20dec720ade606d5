//! The stats page in a real browser: what it shows, what follows by itself, and what is changed there.

use std::path::Path;

use serde_json::json;

use crate::support::{Browser, FakeBackend, MoodyBackend, TestApp, admin, eventually, http1};

fn sections(backends: &[String], more: &str) -> String {
    format!(
        "{more}http: [{{ listen: 127.0.0.1:0, routes: [{{ upstream: app }}] }}]\nupstreams:\n  app:\n    backends: [{}]\n    \
         health_check: {{ http: /health, interval: 100ms, timeout: 100ms, rise: 1, fall: 1 }}\n",
        backends.join(", ")
    )
}

fn url(backend: &FakeBackend) -> String {
    format!("http://{}", backend.addr)
}

async fn open(app: &TestApp, browser: &Browser) {
    browser.open(&format!("http://{}/stats", app.admin)).await;
    eventually("the page is live", async || {
        browser
            .value("document.getElementById('live').textContent")
            .await
            == "live"
    })
    .await;
}

/// The condition that the row of a backend shows.
async fn condition(browser: &Browser, row: usize) -> String {
    let rows = "document.querySelectorAll('.backends [data-condition]')";
    let condition = browser
        .value(&format!("{rows}[{row}].dataset.condition"))
        .await;
    condition.as_str().unwrap().to_owned()
}

/// Nothing went wrong in the page, and it asked no other host.
async fn check_quiet(app: &TestApp, browser: &Browser) {
    assert_eq!(browser.console().await, Vec::<String>::new());
    let script =
        "performance.getEntriesByType('resource').map((entry) => new URL(entry.name).host)";
    let hosts = browser.value(script).await;
    for host in hosts.as_array().unwrap() {
        assert_eq!(*host, json!(app.admin.to_string()));
    }
}

#[tokio::test]
async fn a_backend_goes_down_and_comes_back_live() {
    let Some(browser) = Browser::start("a_backend_goes_down_and_comes_back_live").await else {
        return;
    };
    let steady = FakeBackend::replying("{}").await;
    let moody = MoodyBackend::start("moody").await;
    let backends = [url(&steady), moody.url()];
    let app = TestApp::start("", &sections(&backends, ""));
    eventually("it is ready", async || app.readiness().await == 200).await;
    open(&app, &browser).await;
    eventually("it is up", async || {
        condition(&browser, 1).await == "available"
    })
    .await;
    moody.answer_probes_by(503);
    eventually("it is down", async || {
        condition(&browser, 1).await == "unhealthy"
    })
    .await;
    let news = browser
        .value("document.getElementById('news').textContent")
        .await;
    assert!(
        news.as_str()
            .unwrap()
            .contains("was available and is unhealthy"),
        "{news}"
    );
    moody.answer_probes_by(200);
    eventually("it is up again", async || {
        condition(&browser, 1).await == "available"
    })
    .await;
    assert_eq!(condition(&browser, 0).await, "available");
    let charts = browser
        .value("document.querySelectorAll('.chart canvas').length")
        .await;
    assert_eq!(charts, json!(2));
    check_quiet(&app, &browser).await;
}

#[tokio::test]
async fn a_drain_clicked_there_takes_effect() {
    let Some(browser) = Browser::start("a_drain_clicked_there_takes_effect").await else {
        return;
    };
    let backends = [
        FakeBackend::replying("a").await,
        FakeBackend::replying("b").await,
    ];
    let urls = backends.each_ref().map(url);
    let token = "a-token-of-sixteen";
    let app = TestApp::start(
        "",
        &sections(
            &urls,
            &format!("admin: {{ listen: 127.0.0.1:0, token: {token} }}\n"),
        ),
    );
    eventually("it is ready", async || app.readiness().await == 200).await;
    open(&app, &browser).await;
    let confirm = "#change [data-confirm]";
    browser
        .click(".backends tbody tr:first-child button.change")
        .await;
    browser.click("#change [value=draining]").await;
    browser.click(confirm).await;
    let error = "document.querySelector('#change [data-error]').textContent";
    eventually("it asks for the token", async || {
        browser
            .value(error)
            .await
            .as_str()
            .unwrap()
            .contains("Bearer TOKEN")
    })
    .await;
    assert_eq!(condition(&browser, 0).await, "available");
    browser.type_into("#change [name=token]", token).await;
    browser.type_into("#change [name=weight]", "7").await;
    browser.click(confirm).await;
    eventually("the row says so", async || {
        condition(&browser, 0).await == "draining"
    })
    .await;
    let stats = admin(app.admin, "GET", "/api/v1/stats", "", "").await.body;
    assert_eq!(stats["upstreams"][0]["backends"][0]["state"], "draining");
    assert_eq!(stats["upstreams"][0]["backends"][0]["weight"], 7);
    assert_eq!(stats["upstreams"][0]["available"], 1);
    // The refused request is a line of the console's; nothing else is.
    let console = browser.console().await;
    assert!(
        console.iter().all(|line| line.contains("401")),
        "{console:?}"
    );
    let address = browser
        .value(
            "location.href + JSON.stringify(performance.getEntries().map((entry) => entry.name))",
        )
        .await;
    assert!(!address.as_str().unwrap().contains(token));
}

/// Names come from the file, and from DNS.
#[tokio::test]
async fn names_are_text_and_nothing_else() {
    let Some(browser) = Browser::start("names_are_text_and_nothing_else").await else {
        return;
    };
    let backend = FakeBackend::replying("{}").await;
    let name = "<img src=x onerror=alert(1)>\\\"'&amp;";
    let file =
        sections(&[url(&backend)], "").replace("upstream: app", &format!("upstream: \"{name}\""));
    let file = file.replace("  app:\n", &format!("  \"{name}\":\n"));
    let app = TestApp::start("", &file);
    eventually("it is ready", async || app.readiness().await == 200).await;
    open(&app, &browser).await;
    let shown = browser
        .value("document.querySelector('#upstream-0-title').textContent")
        .await;
    assert!(
        shown
            .as_str()
            .unwrap()
            .contains("<img src=x onerror=alert(1)>\"'&amp;"),
        "{shown}"
    );
    assert_eq!(
        browser
            .value("document.querySelectorAll('img').length")
            .await,
        json!(0)
    );
    check_quiet(&app, &browser).await;
}

/// The layout changes when a backend comes.
#[tokio::test]
async fn a_reload_that_brings_a_backend_brings_a_row() {
    let Some(browser) = Browser::start("a_reload_that_brings_a_backend_brings_a_row").await else {
        return;
    };
    let backends = [
        FakeBackend::replying("a").await,
        FakeBackend::replying("b").await,
    ];
    let urls = backends.each_ref().map(url);
    let app = TestApp::start("", &sections(&urls[..1], ""));
    eventually("it is ready", async || app.readiness().await == 200).await;
    open(&app, &browser).await;
    let rows = "document.querySelectorAll('.backends tbody tr').length";
    assert_eq!(browser.value(rows).await, json!(1));
    app.rewrite("", &sections(&urls, ""));
    app.reload().await;
    eventually("there are two rows", async || {
        browser.value(rows).await == json!(2)
    })
    .await;
    check_quiet(&app, &browser).await;
}

/// A stream of events does not hold up a stop, and the page is told to ask again.
#[tokio::test]
async fn events_end_with_a_stop() {
    let backend = FakeBackend::replying("{}").await;
    let app = TestApp::start("", &sections(&[url(&backend)], ""));
    eventually("it is ready", async || app.readiness().await == 200).await;
    let request = format!("GET /stats/events HTTP/1.1\r\nHost: {}\r\n\r\n", app.admin);
    let reading = tokio::spawn({
        let addr = app.admin;
        async move { http1(addr, &request).await }
    });
    eventually("a page follows", async || {
        let stats = admin(app.admin, "GET", "/api/v1/stats", "", "").await.body;
        stats["process"]["uptime_seconds"].as_u64().unwrap() >= 2
    })
    .await;
    app.stop().await;
    app.stopped().await;
    let (head, body) = reading.await.unwrap();
    assert!(
        head.contains("text/event-stream") && head.contains("x-accel-buffering: no"),
        "{head}"
    );
    assert!(
        body.matches("data: ").count() >= 2 && body.contains("retry: 1000"),
        "{body}"
    );
}

#[tokio::test]
async fn the_csv_is_haproxys() {
    let backend = FakeBackend::replying("{}").await;
    let file = sections(&[url(&backend), "http://127.0.0.1:1".to_owned()], "");
    let file = file
        .replace("  app:\n", "  \"a,\\\"b\":\n")
        .replace("upstream: app", "upstream: \"a,\\\"b\"");
    let app = TestApp::start("", &file);
    eventually("it is ready", async || app.readiness().await == 200).await;
    let csv = async |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            app.admin
        );
        http1(app.admin, &request).await.1
    };
    eventually("checks have been", async || {
        csv("/stats;csv").await.contains(",UP,")
    })
    .await;
    let page = csv("/stats;csv").await;
    let rows: Vec<Vec<String>> = page.lines().map(cells).collect();
    assert_eq!(rows[0][0], "# pxname");
    assert_eq!(rows[0][32], "type");
    let last = rows[0].iter().rfind(|name| !name.is_empty()).unwrap();
    assert_eq!(last, "agg_check_status");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{page}");
    let kinds: Vec<&str> = rows[1..].iter().map(|row| row[32].as_str()).collect();
    assert_eq!(kinds, ["0", "0", "2", "2", "1"]);
    let servers: Vec<(&str, &str)> = rows[3..]
        .iter()
        .map(|row| (row[0].as_str(), row[17].as_str()))
        .collect();
    assert_eq!(
        servers,
        [("a,\"b", "UP"), ("a,\"b", "DOWN"), ("a,\"b", "UP")]
    );
    for path in [
        "/stats/;csv",
        "/stats;csv;norefresh",
        "/stats?;csv",
        "/stats/;csv;norefresh",
    ] {
        assert!(csv(path).await.starts_with("# pxname,svname,"), "{path}");
    }
    assert_eq!(csv("/stats?scope=a,;csv").await.lines().count(), 4);
    assert_eq!(csv("/stats;csv?scope=nothing").await.lines().count(), 1);
    assert!(csv("/stats;json").await.starts_with("{\"at_ms\""));
    let refused = admin(app.admin, "POST", "/stats", "", "s=a&action=drain").await;
    assert_eq!(refused.status, 405);
    assert!(
        refused.body.as_str().unwrap().contains("PATCH /api/v1/"),
        "{}",
        refused.body
    );
}

/// The cells of a row, as RFC 4180 has them.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = row.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cells.last_mut().unwrap().push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            char => cells.last_mut().unwrap().push(char),
        }
    }
    cells
}

#[tokio::test]
async fn the_share_of_the_origin_is_exact() {
    let app = TestApp::start("", "");
    for _ in 0..40 {
        let request = format!(
            "GET /redirect?video=http://s1.origin-cluster/a HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            app.redirect
        );
        http1(app.redirect, &request).await;
    }
    let refused = format!(
        "GET /redirect?video=ftp://a HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        app.redirect
    );
    http1(app.redirect, &refused).await;
    let redirect = async || {
        let stats = admin(app.admin, "GET", "/api/v1/stats", "", "").await.body;
        stats["redirect"].clone()
    };
    eventually("all calls are seen", async || {
        redirect().await["calls"] == 40
    })
    .await;
    let stats = redirect().await;
    assert_eq!(
        (&stats["to_origin"], &stats["origin_share"]),
        (&json!(4), &json!(0.1))
    );
    assert_eq!(stats["rejected"][0]["count"], 1);
    assert!(stats["p99_ms"].as_f64().unwrap() > 0.0);
}

/// The page in both colours and on both sizes of screen. `make stats-page` has them taken of a process with
/// traffic, for the documents.
#[tokio::test]
async fn pictures_are_taken_of_the_page() {
    let Some(browser) = Browser::start("pictures_are_taken_of_the_page").await else {
        return;
    };
    let backend = FakeBackend::replying("{}").await;
    let app = TestApp::start("", &sections(&[url(&backend)], ""));
    let directory = tempfile::tempdir().unwrap();
    let (url, images) = match std::env::var("STATS_URL") {
        Ok(url) => (
            url,
            Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images"),
        ),
        Err(_unset) => (
            format!("http://{}/stats", app.admin),
            directory.path().to_owned(),
        ),
    };
    std::fs::create_dir_all(&images).unwrap();
    for (scheme, width, height, name) in [
        ("light", 1280, 1250, "stats-page.png"),
        ("dark", 1280, 1250, "stats-page-dark.png"),
        ("light", 400, 1500, "stats-page-phone.png"),
        ("dark", 400, 1500, "stats-page-phone-dark.png"),
    ] {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        browser
            .devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser
            .devtools("Emulation.setEmulatedMedia", features)
            .await;
        browser.open(&url).await;
        eventually("the page is live", async || {
            browser
                .value("document.getElementById('live').textContent")
                .await
                == "live"
        })
        .await;
        let file = images.join(name);
        browser.picture(&file).await;
        let picture = std::fs::read(file).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
    }
}
