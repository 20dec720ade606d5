//! `GET /redirect` over HTTP/1.1 and HTTP/2 on the gRPC port.

use bytes::Bytes;
use http::Request;

use crate::support::{GrpcClient, TestApp, VIDEO, framed_call, grpc_request, http1, read};

const CDN: &str = "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8";

async fn get(app: &TestApp, target: &str) -> (String, String) {
    http1(
        app.redirect,
        &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[track_caller]
fn check_fault((head, body): (String, String), status: u16, message: &str) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({ "code": status, "message": message })
    );
}

#[tokio::test]
async fn http1_gets_a_302_that_is_not_cached() {
    let app = TestApp::plain();
    for video in [
        VIDEO.to_owned(),
        VIDEO.replace(':', "%3A").replace('/', "%2f"),
    ] {
        let (head, body) = get(&app, &format!("/redirect?video={video}")).await;
        assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");
        assert!(head.contains(&format!("location: {CDN}\r\n")), "{head}");
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        assert_eq!(body, "");
    }
    // An escape in the video itself is escaped once more, and comes out as it was.
    let (head, _) = get(&app, "/redirect?video=http://s1.origin-cluster/a%2520b+c").await;
    assert!(
        head.contains("location: http://cdn.example.com/s1/a%20b+c\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn http2_gets_the_same() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let get = |target: &str| {
        Request::get(format!("http://localhost{target}"))
            .body(())
            .unwrap()
    };
    let answer = client
        .try_call(get(&format!("/redirect?video={VIDEO}")), vec![Bytes::new()])
        .await
        .unwrap();
    assert_eq!(answer.http_status, 302);
    assert_eq!(answer.headers["location"], CDN);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = client
        .try_call(get("/redirect?video=ftp://x"), vec![Bytes::new()])
        .await
        .unwrap();
    assert_eq!(answer.http_status, 400);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        body["message"],
        "video URL must begin with http:// or https://"
    );
}

#[tokio::test]
async fn faults_are_json() {
    let app = TestApp::plain();
    let no_video = "the query has no video; use /redirect?video=URL with the URL percent-encoded";
    check_fault(get(&app, "/redirect").await, 400, no_video);
    check_fault(get(&app, "/redirect?vide=x").await, 400, no_video);
    check_fault(
        get(&app, "/redirect?video=").await,
        400,
        "video URL is empty",
    );
    check_fault(
        get(&app, "/redirect?video=a&video=b").await,
        400,
        "the query has more than one video",
    );
    check_fault(
        get(&app, "/redirect?video=http://s1.origin-cluster/a?b=1&c=2").await,
        400,
        "the query has a parameter other than video; percent-encode the URL: & as %26",
    );
    check_fault(
        get(&app, "/redirect?video=http://s1.origin-cluster/a/%252E./b").await,
        400,
        "video URL has a dot segment (. or ..) in its path at byte 27",
    );
    check_fault(
        get(&app, "/redirect?video=%ff").await,
        400,
        "the video is not UTF-8 once it is percent-decoded",
    );
    check_fault(
        get(&app, "/redirect?video=http://s1.origin-cluster/a%0d%0ab").await,
        400,
        "video URL has a control character at byte 26",
    );
    check_fault(
        get(&app, "/redirect?video=http://evil.example/").await,
        403,
        "host of the video URL must be SERVER.CLUSTER with CLUSTER from `origin_clusters`",
    );
    check_fault(
        get(&app, "/").await,
        404,
        "not found; the redirect service answers GET and POST /redirect, and gRPC",
    );
    let page = app.metrics().await;
    let rejected = |reason: &str| {
        crate::support::metric(
            &page,
            &format!("weir_redirect_rejected_total{{reason=\"{reason}\"}}"),
        )
    };
    assert_eq!(
        (
            rejected("bad_request"),
            rejected("empty"),
            rejected("unknown_method")
        ),
        (5, 1, 1)
    );
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let app = TestApp::plain();
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = format!(
            "{method} /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let answer = http1(app.redirect, &request).await;
        assert!(
            answer.0.contains("allow: GET, HEAD, POST, OPTIONS\r\n"),
            "{}",
            answer.0
        );
        check_fault(answer, 405, "method not allowed; use GET or POST");
    }
    let request =
        format!("HEAD /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, _) = http1(app.redirect, &request).await;
    assert!(head.contains(&format!("location: {CDN}\r\n")), "{head}");
}

#[tokio::test]
async fn grpc_needs_http2_and_its_content_type() {
    let app = TestApp::plain();
    for content_type in [
        "application/json",
        "application/grpc",
        "application/grpc-web",
    ] {
        let request = format!(
            "POST /loadBalancer.loadBalancer/Redirect HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        let message = "gRPC needs HTTP/2 and the content-type application/grpc";
        check_fault(http1(app.redirect, &request).await, 415, message);
    }
    let client = GrpcClient::connect(app.redirect).await;
    let mut request = grpc_request(weir::proto::REDIRECT_PATH);
    request
        .headers_mut()
        .insert("content-type", "application/grpc-web".parse().unwrap());
    let answer = client
        .try_call(request, vec![framed_call(VIDEO)])
        .await
        .unwrap();
    assert_eq!(answer.http_status, 415);
}

#[tokio::test]
async fn head_over_http2_gets_no_body() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let request = Request::head("http://localhost/redirect?video=x")
        .body(())
        .unwrap();
    let answer = client.try_call(request, vec![Bytes::new()]).await.unwrap();
    assert_eq!((answer.http_status, answer.body.len()), (400, 0));
}

#[tokio::test]
async fn http2_host_must_be_the_authority() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for (host, status) in [
        ("localhost", 302),
        ("LOCALHOST", 302),
        ("evil.example", 400),
    ] {
        let request = Request::get(format!("http://localhost/redirect?video={VIDEO}"));
        let request = request.header("host", host).body(()).unwrap();
        let answer = client.try_call(request, vec![Bytes::new()]).await.unwrap();
        assert_eq!(answer.http_status, status, "{host}");
    }
}

#[tokio::test]
async fn doubtful_requests_are_refused_and_the_connection_closes() {
    let app = TestApp::plain();
    let long_target = "a".repeat(70_000);
    let many_headers: String = (0..101).map(|index| format!("h{index}: x\r\n")).collect();
    let long_head = "x".repeat(60_000);
    for (request, statuses) in [
        ("GET /redirect HTTP/1.1\r\n\r\n".to_owned(), &[400][..]),
        (
            "GET /redirect HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
                .to_owned(),
            &[400],
        ),
        (
            "GET /redirect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n".to_owned(),
            &[400, 501],
        ),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        (
            format!("GET /{long_target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            &[414, 431],
        ),
        (
            format!("GET /redirect HTTP/1.1\r\nHost: a\r\n{many_headers}\r\n"),
            &[431],
        ),
        (
            format!("GET /redirect HTTP/1.1\r\nHost: a\r\nx: {long_head}\r\n\r\n"),
            &[431],
        ),
    ] {
        // Reads to the end of the connection, so it must close.
        let (head, _) = http1(app.redirect, &request).await;
        let status: u16 = head
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .parse()
            .unwrap_or(0);
        assert!(
            statuses.contains(&status),
            "{status} for {}",
            request.chars().take(80).collect::<String>()
        );
    }
}

#[tokio::test]
async fn two_requests_in_one_packet_get_two_answers() {
    let app = TestApp::plain();
    let one = format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\n\r\n");
    let last =
        format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, body) = http1(app.redirect, &format!("{one}{last}")).await;
    assert!(head.starts_with("HTTP/1.1 302"), "{head}");
    assert!(body.starts_with("HTTP/1.1 302"), "{body}");
}

#[tokio::test]
async fn the_same_connection_cannot_change_its_protocol() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let upgrade = Request::get("http://localhost/redirect")
        .header("upgrade", "h2c")
        .body(())
        .unwrap();
    // A connection header is illegal in HTTP/2: the stream is reset, if it leaves our client at all.
    match requests.send_request(upgrade, true) {
        Err(_refused_by_the_client) => {}
        Ok((response, _)) => {
            if let Ok(response) = response.await {
                assert_ne!(read(response).await.unwrap().http_status, 101);
            }
        }
    }
}

/// Browser players read the answers from another page's origin.
#[tokio::test]
async fn pages_of_allowed_origins_may_read_every_answer() {
    let any = "access-control-allow-origin: *";
    let one = "access-control-allow-origin: https://player.example";
    let only = "  cors: { allow_origins: [\"https://player.example\"] }\n";
    for (keys, origin, allowed) in [
        ("", "https://a.example", Some(any)),
        (only, "https://player.example", Some(one)),
        (only, "https://a.example", None),
        ("  cors: off\n", "https://a.example", None),
    ] {
        let app = TestApp::start(keys, "");
        for (method, target, status) in [
            ("GET", format!("/redirect?video={VIDEO}"), 302),
            ("GET", "/redirect?video=ftp://x".to_owned(), 400),
            ("GET", "/other".to_owned(), 404),
            ("OPTIONS", "/redirect".to_owned(), 204),
        ] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
            );
            let (head, _) = http1(app.redirect, &request).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            let has_origin = head.contains("access-control-allow-origin: ");
            assert_eq!(has_origin, allowed.is_some(), "{keys}{head}");
            assert!(
                allowed.is_none_or(|allowed| head.contains(allowed)),
                "{head}"
            );
            assert_eq!(head.contains("vary: origin"), keys == only, "{head}");
            let is_preflight = method == "OPTIONS" && allowed.is_some();
            assert_eq!(
                head.contains("access-control-allow-methods: "),
                is_preflight
            );
        }
    }
}

fn post(body: &str, headers: &str) -> String {
    let length = body.len();
    format!(
        "POST /redirect HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let app = TestApp::plain();
    let body = format!("{{\"video\":\"{VIDEO}\"}}");
    for headers in [
        "",
        "Content-Type: application/json\r\n",
        "Expect: 100-continue\r\n",
    ] {
        let (head, answer) = http1(app.redirect, &post(&body, headers)).await;
        let (head, answer) = match head.starts_with("HTTP/1.1 100") {
            true => answer.split_once("\r\n\r\n").unwrap(),
            false => (head.as_str(), answer.as_str()),
        };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        assert!(
            head.contains("access-control-allow-origin: *\r\n"),
            "{head}"
        );
        assert_eq!(answer, format!("{{\"redirect\":\"{CDN}\"}}"));
    }
    // Two calls on one connection, the first in chunks.
    let chunked = format!(
        "POST /redirect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n{}",
        body.len(),
        post(&body, "")
    );
    let (_, rest) = http1(app.redirect, &chunked).await;
    assert_eq!(rest.matches(CDN).count(), 2, "{rest}");
    let client = GrpcClient::connect(app.redirect).await;
    let request = Request::post("http://localhost/redirect").body(()).unwrap();
    let (first, second) = body.split_at(9);
    let parts = vec![
        Bytes::copy_from_slice(first.as_bytes()),
        Bytes::copy_from_slice(second.as_bytes()),
    ];
    let answer = client.try_call(request, parts).await.unwrap();
    assert_eq!(answer.http_status, 200);
    assert_eq!(
        answer.body,
        format!("{{\"redirect\":\"{CDN}\"}}").as_bytes()
    );
    assert_eq!(app.metric("weir_redirects_total{target=\"cdn\"}").await, 6);
}

#[tokio::test]
async fn json_that_is_no_request_is_refused() {
    let app = TestApp::plain();
    let no_json = "the body is not {\"video\":\"URL\"} in JSON";
    for (body, status, message) in [
        ("", 400, no_json),
        ("{", 400, no_json),
        ("[]", 400, no_json),
        ("{\"vide\":\"x\"}", 400, no_json),
        ("{\"video\":1}", 400, no_json),
        ("{}", 400, "video URL is empty"),
        ("{\"video\":null}", 400, "video URL is empty"),
        (
            "{\"video\":\"ftp://x\"}",
            400,
            "video URL must begin with http:// or https://",
        ),
    ] {
        check_fault(http1(app.redirect, &post(body, "")).await, status, message);
    }
    let long = format!("{{\"video\":\"{}\"}}", "x".repeat(65_536));
    check_fault(
        http1(app.redirect, &post(&long, "")).await,
        413,
        "message is longer than 65536 bytes",
    );
}

/// A body that does not come must not hold a connection.
#[tokio::test]
async fn json_that_does_not_come_is_given_up() {
    let app = TestApp::start("  call_timeout: 100ms\n", "");
    let request = "POST /redirect HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
    check_fault(
        http1(app.redirect, request).await,
        408,
        "no whole body within 100ms",
    );
    let reason = "weir_redirect_rejected_total{reason=\"deadline_exceeded\"}";
    assert_eq!(app.metric(reason).await, 1);
}

/// A client that waits for a 100 must not be asked for a body that is refused.
#[tokio::test]
async fn json_that_is_announced_too_long_is_refused_at_once() {
    let app = TestApp::plain();
    let request = "POST /redirect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n";
    check_fault(
        http1(app.redirect, request).await,
        413,
        "message is longer than 65536 bytes",
    );
}
