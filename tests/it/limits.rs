//! What a listener and an upstream allow, at the limit and one above.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::support::{
    Ask, End, FakeBackend, Http2Backend, Http2Script, KeptClient, Protocol, RecordingBackend,
    Script, ask, eventually, raw_http2, start_balancer,
};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn faults(cause: &str) -> String {
    format!("weir_http_faults_total{{cause=\"{cause}\"}}")
}

fn closed(cause: &str) -> String {
    format!("weir_connections_closed_total{{cause=\"{cause}\"}}")
}

#[tokio::test]
async fn one_client_has_its_number_of_connections() {
    let backend = RecordingBackend::replying("fine").await;
    let limits = "connections: { per_client_limit: 3 }\nworkers: 4\n";
    let app = start_balancer(&[backend.url()], "", "", limits);
    let http = app.http.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = KeptClient::connect(http).await;
        assert_eq!(client.get("/").await.status, 200);
        kept.push(client);
    }
    for refused in 1..=3 {
        let (bytes, end) = KeptClient::connect(http).await.rest().await;
        assert!(bytes.is_empty() && end != End::Open, "{end:?}");
        app.until_metric(&closed("client_limit"), refused).await;
    }
    // Of all listeners together.
    let (bytes, _) = KeptClient::connect(app.redirect).await.rest().await;
    assert!(bytes.is_empty());
    for client in &mut kept {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop(kept.pop());
    app.until_metric(&closed("done"), 1).await;
    let mut client = KeptClient::connect(http).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn all_clients_have_their_number_of_connections() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "connections: { limit: 2 }\n");
    let mut kept = Vec::new();
    for addr in [app.http.unwrap(), app.redirect] {
        let mut client = KeptClient::connect(addr).await;
        assert!([200, 404].contains(&client.get("/").await.status));
        kept.push(client);
    }
    let (bytes, end) = KeptClient::connect(app.http.unwrap()).await.rest().await;
    assert!(bytes.is_empty() && end != End::Open, "{end:?}");
    app.until_metric(&closed("connection_limit"), 1).await;
    kept.clear();
    eventually("a place is free", async || {
        app.open_connections().await == 0
    })
    .await;
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn an_exchange_as_a_whole_has_its_time() {
    let silent = FakeBackend::start(Script::Silence).await;
    let drips = FakeBackend::start(Script::Drip("x".repeat(500))).await;
    for client in CLIENTS {
        for backend in [&silent, &drips] {
            let url = format!("http://{}", backend.addr);
            let app = start_balancer(&[url], "    total_timeout: 500ms\n", "", "");
            let began = Instant::now();
            let answer = ask(client, app.http.unwrap(), &Ask::get("/")).await;
            let took = began.elapsed();
            let expected = Duration::from_millis(490)..Duration::from_secs(4);
            assert!(expected.contains(&took), "{client:?} {took:?}");
            if backend.addr == silent.addr {
                assert_eq!(answer.status, 504, "{client:?}");
            } else {
                let seen = (answer.status, answer.is_whole);
                assert_eq!(seen, (200, false), "{client:?} {}", answer.body.len());
            }
            assert_eq!(app.metric(&faults("total_timeout")).await, 1, "{client:?}");
            app.until_metric("weir_calls_in_flight", 0).await;
        }
    }
}

#[tokio::test]
async fn a_target_may_be_so_long() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "    uri_limit: 100B\n", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    for (length, expected) in [(100, 200), (101, 414), (5000, 414), (100, 200)] {
        for start in ["/", "/a?b="] {
            let target = start.to_owned() + &"x".repeat(length - start.len());
            let answer = client.get(&target).await;
            assert_eq!(answer.status, expected, "{length} {answer:?}");
            let mut http2 = raw_http2::RawHttp2::connect(app.http.unwrap(), &[]).await;
            let mut head = raw_http2::GET;
            head[3] = (":path", &target);
            http2.send_head(1, &head).await;
            let outcome = http2.outcome(1).await;
            assert_eq!(outcome, raw_http2::Outcome::Status(expected), "{length}");
        }
    }
    assert_eq!(app.metric(&faults("uri_limit")).await, 8);
    assert_eq!(backend.requests().len(), 8);
}

#[tokio::test]
async fn a_head_may_be_so_long() {
    const LIMIT: usize = 8 << 10;
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(
        &[backend.url()],
        "",
        "",
        "connections: { max_header_size: 8KiB }\n",
    );
    for (length, expected) in [(LIMIT, 200), (LIMIT + 1, 431), (2 * LIMIT, 431)] {
        let start = "GET / HTTP/1.1\r\nHost: web.example\r\nX: ";
        let padding = "x".repeat(length - start.len() - 4);
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send(format!("{start}{padding}\r\n\r\n")).await;
        let head = client.head().await;
        assert_eq!(head[9..12], expected.to_string(), "HTTP/1.1 {length}");
        // The list counts 32 bytes a field besides its text, and must be below the limit.
        let list = raw_http2::GET;
        let sizes = list
            .iter()
            .map(|(name, value)| name.len() + value.len() + 32);
        let padding = "x".repeat(length - 1 - sizes.sum::<usize>() - 1 - 32);
        let fields = [&list[..], &[("x", padding.as_str())]].concat();
        let mut http2 = raw_http2::RawHttp2::connect(app.http.unwrap(), &[]).await;
        http2.send_head(1, &fields).await;
        let outcome = http2.outcome(1).await;
        let refused = raw_http2::Outcome::Status(expected);
        assert_eq!(outcome, refused, "HTTP/2 {length}");
    }
    assert_eq!(backend.requests().len(), 2);
}

/// The time counts from the end of the upload, however long that may stand still.
#[tokio::test]
async fn a_silent_backend_has_its_time_after_an_upload_too() {
    let http1 = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let (http1, http2) = (http1.await, Http2Backend::start(Http2Script::Silence).await);
    let upstream = "    response_timeout: 300ms\n    idle_timeout: 20s\n";
    let urls = [http1.url(), http2.url()];
    let cases = CLIENTS
        .iter()
        .flat_map(|client| urls.iter().map(move |url| (*client, url)));
    let asking = cases.map(async |(client, url)| {
        let app = start_balancer(std::slice::from_ref(url), upstream, "", "");
        let request = Ask::post("/", "question");
        let asking = ask(client, app.http.unwrap(), &request);
        match timeout(Duration::from_secs(3), asking).await {
            Ok(answer) => assert_eq!(answer.status, 504, "{client:?} {url}"),
            Err(_elapsed) => return Some((client, url)),
        }
        None
    });
    let answers = join_all(asking).await;
    assert_eq!(answers.len(), 4);
    let slow: Vec<_> = answers.into_iter().flatten().collect();
    assert!(slow.is_empty(), "no answer in ten times the time: {slow:?}");
}
