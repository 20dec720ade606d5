//! The HTTP load balancer before scripted backends.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{
    FakeBackend, GrpcClient, Script, TestApp, error_message, eventually, http1, ok,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the balancer before backends, with more keys of the upstream and of the listener.
fn start(backends: &[SocketAddr], upstream: &str, listener: &str) -> TestApp {
    let backends: Vec<String> = backends
        .iter()
        .map(|addr| format!("http://{addr}"))
        .collect();
    TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n{listener}\n\
             upstreams:\n  app:\n    backends: [\"{}\"]\n{upstream}\n",
            backends.join("\", \"")
        ),
    )
}

const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 2 }\n";

async fn get(app: &TestApp, target: &str) -> (String, String) {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n");
    http1(app.http.unwrap(), &request).await
}

#[track_caller]
fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap_or_else(|_| panic!("no status in {head:?}"))
}

#[tokio::test]
async fn requests_take_turns_over_all_workers_and_connections() {
    let backends = [
        FakeBackend::replying("a").await,
        FakeBackend::replying("b").await,
        FakeBackend::replying("c").await,
    ];
    let app = start(&backends.each_ref().map(|backend| backend.addr), "", "");
    for _ in 0..30 {
        assert_eq!(status(&get(&app, "/").await.0), 200);
    }
    assert_eq!(
        backends.each_ref().map(|backend| backend.heads().len()),
        [10, 10, 10]
    );
    let name = format!(
        "weir_backend_responses_total{{upstream=\"app\",backend=\"{}\"}}",
        backends[0].addr
    );
    assert_eq!(app.metric(&name).await, 10);
    assert_eq!(
        app.metric("weir_http_responses_total{upstream=\"app\",class=\"2xx\"}")
            .await,
        30
    );
}

#[tokio::test]
async fn a_backend_sees_who_asked_and_no_hop_by_hop_header() {
    let backend = FakeBackend::replying("x").await;
    let app = start(&[backend.addr], "", "");
    let request = "GET /a/b?c=d HTTP/1.1\r\nHost: web.example\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n\
                   X-Forwarded-For: 8.8.8.8\r\nProxy: evil\r\nTE: trailers\r\nX_Real_Ip: 6.6.6.6\r\nAccept: */*\r\n\r\n";
    http1(app.http.unwrap(), request).await;
    let head = backend.heads().remove(0).to_lowercase();
    assert!(head.starts_with("get /a/b?c=d http/1.1\r\n"), "{head}");
    for expected in [
        "\r\nhost: web.example\r\n",
        "\r\naccept: */*\r\n",
        "\r\nx-forwarded-for: 8.8.8.8, 127.0.0.1\r\n",
        "\r\nx-real-ip: 8.8.8.8\r\n",
        "\r\nx-forwarded-proto: http\r\n",
        "\r\nx-forwarded-host: web.example\r\n",
        "\r\nx-request-id: ",
    ] {
        assert!(head.contains(expected), "{expected:?} is missing in {head}");
    }
    for removed in ["x-secret", "proxy:", "te:", "x_real_ip", "connection:"] {
        assert!(!head.contains(removed), "{removed} in {head}");
    }
}

#[tokio::test]
async fn a_dead_backend_is_never_noticed_whatever_the_method() {
    let (dead, alive) = (
        FakeBackend::refusing().await,
        FakeBackend::replying("alive").await,
    );
    let app = start(&[dead, alive.addr], "", "");
    for method in ["GET", "POST", "PUT", "DELETE"] {
        for _ in 0..4 {
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let (head, body) = http1(app.http.unwrap(), &request).await;
            assert_eq!((status(&head), body.as_str()), (200, "alive"), "{method}");
        }
    }
    assert_eq!(alive.heads().len(), 16);
    assert!(
        app.metric(&format!(
            "weir_backend_failures_total{{upstream=\"app\",backend=\"{dead}\"}}"
        ))
        .await
            > 0
    );
}

#[tokio::test]
async fn with_no_backend_there_is_a_503_that_says_which_upstream() {
    let dead = FakeBackend::refusing().await;
    let app = start(&[dead], CHECKED, "");
    eventually("readiness after the first probe", async || {
        app.readiness().await == 200
    })
    .await;
    let (head, body) = get(&app, "/").await;
    assert_eq!(status(&head), 503);
    assert!(head.contains("retry-after: 1"), "{head}");
    assert_eq!(
        error_message(&body),
        "upstream app has no available backend"
    );
    let request =
        "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    let (_, body) = http1(app.http.unwrap(), request).await;
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = body.as_object_mut().unwrap().remove("request_id");
    assert!(id.is_some());
    assert_eq!(
        body,
        serde_json::json!({ "code": 503, "message": "upstream app has no available backend" })
    );
    assert_eq!(
        app.metric("weir_http_faults_total{cause=\"no_backend\"}")
            .await,
        2
    );
    // Without checks it is tried, and the error says why.
    let app = start(&[dead], "", "");
    let (head, body) = get(&app, "/").await;
    assert_eq!(status(&head), 502);
    assert!(
        body.starts_with("connecting to upstream app failed: "),
        "{body}"
    );
}

#[tokio::test]
async fn an_unhealthy_backend_gets_nothing_until_it_recovers() {
    let good = FakeBackend::replying("good").await;
    let addr = FakeBackend::refusing().await;
    let app = start(&[good.addr, addr], CHECKED, "");
    let healthy = format!("weir_backend_healthy{{upstream=\"app\",backend=\"{addr}\"}}");
    eventually("readiness after the first probe", async || {
        app.readiness().await == 200
    })
    .await;
    assert_eq!(app.metric(&healthy).await, 0);
    for _ in 0..10 {
        assert_eq!(get(&app, "/").await.1, "good");
    }
    let back = FakeBackend::serve(
        TcpListener::bind(addr).await.unwrap(),
        Script::Reply(ok("back")),
    );
    app.until_metric(&healthy, 1).await;
    for _ in 0..10 {
        assert_eq!(status(&get(&app, "/").await.0), 200);
    }
    assert_eq!(back.heads().len(), 5);
    drop(back);
    app.until_metric(&healthy, 0).await;
}

#[tokio::test]
async fn connections_to_backends_are_kept() {
    let backend = FakeBackend::replying("x").await;
    let app = start(&[backend.addr], "", "workers: 1\n");
    for _ in 0..20 {
        assert_eq!(status(&get(&app, "/").await.0), 200);
    }
    assert_eq!(backend.connections(), 1);
}

/// The backend closes a kept connection just as the next request is sent.
#[tokio::test]
async fn a_stale_connection_is_replaced_for_a_get_and_never_for_a_post() {
    let backend = FakeBackend::start(Script::CloseAtSecond(ok("x"))).await;
    let app = start(&[backend.addr], "", "workers: 1\n");
    for _ in 0..5 {
        assert_eq!(status(&get(&app, "/").await.0), 200);
    }
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let delivered = || {
        backend
            .heads()
            .iter()
            .filter(|head| head.starts_with("POST"))
            .count()
    };
    let mut answers = Vec::new();
    for posts in 1..=4 {
        answers.push(status(&http1(app.http.unwrap(), post).await.0));
        assert_eq!(delivered(), posts, "a POST is delivered once");
    }
    assert!(
        answers.contains(&502) && answers.contains(&200),
        "{answers:?}"
    );
}

#[tokio::test]
async fn bodies_stream_both_ways_and_the_limit_holds() {
    let backend = FakeBackend::start(Script::ReadBody(5, ok("got it"))).await;
    let app = start(&[backend.addr], "", "    body_limit: 5B\n");
    let http = app.http.unwrap();
    let sized = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{}",
            "b".repeat(length)
        )
    };
    let (head, body) = http1(http, &sized(5)).await;
    assert_eq!((status(&head), body.as_str()), (200, "got it"));
    let (head, body) = http1(http, &sized(6)).await;
    assert_eq!(
        (status(&head), error_message(&body)),
        (413, "request body is longer than 5 bytes")
    );
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let (head, _) = http1(http, chunked).await;
    assert_eq!(status(&head), 413);
    assert_eq!(
        app.metric("weir_http_faults_total{cause=\"body_limit\"}")
            .await,
        2
    );
}

#[tokio::test]
async fn a_silent_backend_is_a_504_in_time() {
    let backend = FakeBackend::start(Script::Silence).await;
    let app = start(&[backend.addr], "    response_timeout: 200ms\n", "");
    let (head, body) = get(&app, "/").await;
    assert_eq!(
        (status(&head), error_message(&body)),
        (504, "no response from the backend within 200ms")
    );
}

#[tokio::test]
async fn broken_responses_are_never_made_to_look_whole() {
    for (reply, expected) in [
        ("garbage\r\n\r\n", 502),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            502,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            502,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
            502,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            502,
        ),
        ("", 502),
    ] {
        let backend = FakeBackend::start(Script::ReplyAndClose(reply.to_owned())).await;
        let app = start(&[backend.addr], "", "");
        assert_eq!(status(&get(&app, "/").await.0), expected, "{reply:?}");
    }
    // A body that breaks off: fewer bytes than announced, and no final chunk.
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned();
    let backend = FakeBackend::start(Script::ReplyAndClose(cut)).await;
    let (head, body) = get(&start(&[backend.addr], "", ""), "/").await;
    assert!(
        head.contains("content-length: 10") && body.len() < 10,
        "{head} {body}"
    );
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned();
    let backend = FakeBackend::start(Script::ReplyAndClose(cut)).await;
    let (_, body) = get(&start(&[backend.addr], "", ""), "/").await;
    assert!(!body.ends_with("0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn a_stalled_response_is_given_up() {
    let stalls = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned();
    let backend = FakeBackend::start(Script::Reply(stalls)).await;
    let app = start(&[backend.addr], "    idle_timeout: 200ms\n", "");
    let (_, body) = get(&app, "/").await;
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn http2_clients_reach_http1_backends() {
    let backend = FakeBackend::replying("over h2").await;
    let app = start(&[backend.addr], "", "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let request = Request::get("http://web.example/x")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    let answer = client.try_call(request, vec![Bytes::new()]).await.unwrap();
    assert_eq!(
        (answer.http_status, answer.body.as_ref()),
        (200, &b"over h2"[..])
    );
    let head = backend.heads().remove(0).to_lowercase();
    assert!(
        head.contains("\r\nhost: web.example\r\n") && head.contains("\r\ncookie: a=1; b=2\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn doubtful_requests_are_refused_and_reach_no_backend() {
    let backend = FakeBackend::replying("x").await;
    let app = start(&[backend.addr], "", "");
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        // Reads to the end of the connection, so it must close.
        let (head, _) = http1(app.http.unwrap(), request).await;
        assert_eq!(status(&head), 400, "{request:?}");
    }
    assert_eq!(backend.heads(), Vec::<String>::new());
}

/// What follows a body that nobody read must not be taken for a request.
#[tokio::test]
async fn an_early_answer_closes_what_is_left_of_the_upload() {
    let backend = FakeBackend::replying("early").await;
    let app = start(&[backend.addr], "", "workers: 1\n");
    let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfirst part";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 15];
    timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    drop(stream);
    // The backend's connection was not kept: it still waits for the rest.
    assert_eq!(status(&get(&app, "/next").await.0), 200);
    assert_eq!(backend.connections(), 2);
    assert_eq!(backend.heads().len(), 2);
}

#[tokio::test]
async fn routes_lead_by_host_and_path() {
    let (web, api) = (
        FakeBackend::replying("web").await,
        FakeBackend::replying("api").await,
    );
    let app = TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes:\n      - {{ path: /, upstream: web, host: web.example }}\n      \
             - {{ path: /api, upstream: api, strip_prefix: true }}\n\
             upstreams:\n  web: {{ backends: [\"http://{}\"] }}\n  api: {{ backends: [{{ url: \"http://{}\", weight: 2 }}] }}\n",
            web.addr, api.addr
        ),
    );
    assert_eq!(get(&app, "/x").await.1, "web");
    let ask = async |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n");
        http1(app.http.unwrap(), &request).await
    };
    assert_eq!(ask("/api/v1?q").await.1, "api");
    assert_eq!(ask("/api").await.1, "api");
    let (head, body) = ask("/").await;
    assert_eq!(
        (status(&head), error_message(&body)),
        (404, "no route for this host and path")
    );
    let targets: Vec<String> = api
        .heads()
        .iter()
        .map(|head| head.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(targets, ["/v1?q", "/"]);
}

#[tokio::test]
async fn a_stop_lets_a_response_in_flight_finish() {
    let backend = FakeBackend::start(Script::ReadBody(5, ok("late"))).await;
    let app = start(&[backend.addr], "", "");
    let http = app.http.unwrap();
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        .await
        .unwrap();
    app.until_metric("weir_calls_in_flight", 1).await;
    app.stop().await;
    eventually("listeners are closed", async || {
        TcpStream::connect(http).await.is_err()
    })
    .await;
    stream.write_all(b"cde").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"),
        "{answer}"
    );
    let report = app.stopped().await;
    assert_eq!((report.in_flight, report.finished, report.cut), (1, 1, 0));
}

#[tokio::test]
async fn only_listed_proxies_are_believed() {
    let backend = FakeBackend::replying("x").await;
    let app = start(&[backend.addr], "", "    trusted_proxies: [10.0.0.0/8]\n");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\n\r\n";
    http1(app.http.unwrap(), request).await;
    let head = backend.heads().remove(0).to_lowercase();
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
}

#[tokio::test]
async fn least_connections_and_random_two_avoid_a_busy_backend() {
    for policy in ["least_connections", "random_two"] {
        let busy = FakeBackend::start(Script::Silence).await;
        let (idle, other) = (
            FakeBackend::replying("idle").await,
            FakeBackend::replying("other").await,
        );
        let app = start(
            &[busy.addr, idle.addr, other.addr],
            &format!("    balance: {policy}\n"),
            "",
        );
        // One request hangs at the busy one, whenever it gets there.
        let hanging = std::cell::RefCell::new(Vec::new());
        eventually("a request hangs", async || {
            let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let patience = Duration::from_millis(100);
            let hangs = timeout(patience, stream.read_u8()).await.is_err();
            hanging.borrow_mut().push(stream);
            hangs
        })
        .await;
        for _ in 0..30 {
            assert_eq!(status(&get(&app, "/").await.0), 200, "{policy}");
        }
        assert_eq!(busy.heads().len(), 1, "{policy}");
    }
}

/// To a client that reads until the end of the connection, an orderly close would be the end of
/// a whole response.
#[tokio::test]
async fn a_response_that_breaks_off_is_a_reset_to_an_http10_client() {
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned();
    let backend = FakeBackend::start(Script::ReplyAndClose(cut)).await;
    let app = start(&[backend.addr], "", "");
    let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(end.is_err(), "{}", String::from_utf8_lossy(&answer));
}

/// hyper sends no body with a GET whose length it does not know, unless it is told to.
#[tokio::test]
async fn a_get_keeps_its_body() {
    let backend = FakeBackend::start(Script::ReadBody(15, ok("found"))).await;
    let app = start(&[backend.addr], "", "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let request = Request::get("http://x/_search").body(()).unwrap();
    let answer = client
        .try_call(request, vec![Bytes::from_static(b"query")])
        .await
        .unwrap();
    assert_eq!(answer.body.as_ref(), b"found");
    let head = backend.heads().remove(0).to_lowercase();
    assert!(
        head.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_client_that_stops_in_its_upload_is_told_so() {
    let backend = FakeBackend::start(Script::ReadBody(5, ok("x"))).await;
    let app = start(
        &[backend.addr],
        "    idle_timeout: 200ms\n    response_timeout: 200ms\n",
        "",
    );
    let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    let (head, body) = http1(app.http.unwrap(), request).await;
    assert_eq!(
        (status(&head), error_message(&body)),
        (408, "request body stood still for too long")
    );
    assert_eq!(
        app.metric("weir_http_faults_total{cause=\"client_stalled\"}")
            .await,
        1
    );
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let large = ok(&"x".repeat(20 << 20));
    let backend = FakeBackend::start(Script::Reply(large)).await;
    let waits =
        "    connect_timeout: 100ms\n    idle_timeout: 200ms\n    response_timeout: 200ms\n";
    let app = start(
        &[backend.addr],
        waits,
        "connections: { idle_timeout: 200ms }\n",
    );
    let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    app.until_metric("weir_connections_closed_total{cause=\"stalled\"}", 1)
        .await;
    let name = format!(
        "weir_backend_in_flight{{upstream=\"app\",backend=\"{}\"}}",
        backend.addr
    );
    app.until_metric(&name, 0).await;
    app.until_metric("weir_calls_in_flight", 0).await;
}

#[tokio::test]
async fn a_long_response_does_not_count_as_idle_time() {
    let backend = FakeBackend::start(Script::Drip("x".repeat(20))).await;
    let app = start(
        &[backend.addr],
        "",
        "connections: { idle_timeout: 300ms }\n",
    );
    let mut stream = TcpStream::connect(app.http.unwrap()).await.unwrap();
    // Two responses that each take longer than a connection may be idle, on one connection.
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with("x".repeat(20).as_bytes()) {
            answer.push(
                timeout(PATIENCE, stream.read_u8())
                    .await
                    .unwrap()
                    .expect("closed as if idle"),
            );
        }
    }
}
