//! Backends behind TLS (`https://`), and gRPC through the balancer.

use tokio::time::{Duration, Instant, timeout};

use crate::support::{
    Answer, Ask, Authority, FakeBackend, GrpcClient, Http2Backend, Http2Script, Identity, Protocol,
    RecordingBackend, Reply, RequestEnd, SeenRequest, TestApp, TlsFront, ask, framed, framed_call,
    grpc_request, start_balancer,
};

const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const PATIENCE: Duration = Duration::from_secs(5);
const ADDRESS: &str = "127.0.0.1";
const TLS_FAILED: &str = "weir_http_faults_total{cause=\"tls_failed\"}";

async fn post(app: &TestApp, client: Protocol) -> Answer {
    ask(client, app.http.unwrap(), &Ask::post("/a?b", "question")).await
}

fn healthy(url: &str) -> String {
    format!("weir_backend_healthy{{upstream=\"app\",backend=\"{url}\"}}")
}

#[tokio::test]
async fn http1_through_tls() {
    let authority = Authority::new();
    let backend = RecordingBackend::replying("answer").await;
    let front = TlsFront::http1(authority.certify(ADDRESS), backend.addr).await;
    let app = start_balancer(&[front.url()], &authority.trusted(), "", "workers: 1\n");
    for client in CLIENTS {
        for _ in 0..5 {
            let answer = post(&app, client).await;
            assert_eq!((answer.status, answer.body), (200, b"answer".to_vec()));
        }
    }
    let requests = backend.requests();
    assert_eq!(requests.len(), 10);
    for request in requests {
        assert_eq!(
            (request.target.as_str(), request.value("host")),
            ("/a?b", "web.example")
        );
        assert_eq!(request.body, b"question");
    }
    // Kept connections are used again: no handshake for each request.
    assert!(front.handshakes() <= 2, "{}", front.handshakes());
}

/// What cannot be shared need not be waited for: all of a burst connect at the same time.
#[tokio::test]
async fn a_burst_to_http1_in_tls_connects_at_once() {
    const REQUESTS: usize = 12;
    let authority = Authority::new();
    let backend = RecordingBackend::replying("answer").await;
    let identity = authority.certify(ADDRESS);
    let front = TlsFront::http1_together(identity, backend.addr, REQUESTS - 1).await;
    let app = start_balancer(&[front.url()], &authority.trusted(), "", "workers: 1\n");
    let asking = (0..REQUESTS).map(|_| post(&app, Protocol::Http1));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(front.handshakes(), REQUESTS);
}

#[tokio::test]
async fn http2_through_tls_where_the_backend_has_it() {
    let authority = Authority::new();
    let reply = Reply::body("answer").trailer("x-t", "u");
    let backend = Http2Backend::start(Http2Script::Reply(reply)).await;
    let http1 = RecordingBackend::replying("not me").await;
    let identity = authority.certify(ADDRESS);
    let front = TlsFront::start(identity, Some(http1.addr), Some(backend.addr)).await;
    let app = start_balancer(&[front.url()], &authority.trusted(), "", "workers: 1\n");
    for client in CLIENTS {
        for _ in 0..5 {
            let answer = post(&app, client).await;
            assert_eq!((answer.status, answer.body), (200, b"answer".to_vec()));
        }
    }
    let seen = backend.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 10));
    for request in seen.requests {
        assert_eq!(request.head.uri, "https://web.example/a?b");
        assert_eq!(
            (request.body, request.end),
            (b"question".to_vec(), RequestEnd::Whole)
        );
    }
    assert_eq!(http1.connections(), 0);
}

/// Nothing of a request goes to whom nobody vouches for.
#[tokio::test]
async fn whoever_cannot_be_verified_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases: [(&str, Identity); 3] = [
        ("wrong authority", other.certify(ADDRESS)),
        ("wrong name", authority.certify("127.0.0.2")),
        ("expired", authority.certify_expired(ADDRESS)),
    ];
    let mut count = 0;
    for (what, identity) in cases {
        let backend = RecordingBackend::replying("answer").await;
        let front = TlsFront::http1(identity, backend.addr).await;
        let app = start_balancer(&[front.url()], &authority.trusted(), "", "");
        for client in CLIENTS {
            let answer = post(&app, client).await;
            let body = String::from_utf8(answer.body).unwrap();
            assert_eq!(answer.status, 502, "{what} {body}");
            assert!(body.contains("TLS"), "{what} {body}");
        }
        assert_eq!(app.metric(TLS_FAILED).await, 2, "{what}");
        assert!(
            backend.received().concat().is_empty() && front.handshakes() == 0,
            "{what}"
        );
        count += 1;
    }
    assert_eq!(count, 3);
    // Nor without `ca_file`, as this authority is none of the world's.
    let backend = RecordingBackend::replying("answer").await;
    let front = TlsFront::http1(authority.certify(ADDRESS), backend.addr).await;
    let app = start_balancer(&[front.url()], "", "", "");
    assert_eq!(post(&app, Protocol::Http1).await.status, 502);
    assert_eq!(app.metric(TLS_FAILED).await, 1);
}

#[tokio::test]
async fn who_speaks_no_tls_fails_in_time() {
    let authority = Authority::new();
    let talks = RecordingBackend::scripted(|mut wire| async move {
        wire.bytes().await;
        wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await;
        wire.until_closed().await;
    });
    let closes = RecordingBackend::scripted(|mut wire| async move {
        wire.bytes().await;
    });
    for backend in [talks.await, closes.await] {
        let url = format!("https://{}", backend.addr);
        let app = start_balancer(&[url], &authority.trusted(), "", "");
        assert_eq!(post(&app, Protocol::Http1).await.status, 502);
        assert_eq!(app.metric(TLS_FAILED).await, 1);
        let received = backend.received().concat();
        assert!(!received.windows(8).any(|part| part == b"question"));
    }
    let silent = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let silent = silent.await;
    let url = format!("https://{}", silent.addr);
    let upstream = authority.trusted() + "    connect_timeout: 300ms\n";
    let app = start_balancer(&[url], &upstream, "", "");
    let began = Instant::now();
    assert_eq!(post(&app, Protocol::Http1).await.status, 504);
    assert!(began.elapsed() < Duration::from_secs(3));
    let timed_out = "weir_http_faults_total{cause=\"connect_timeout\"}";
    assert_eq!(app.metric(timed_out).await, 1);
}

#[tokio::test]
async fn the_name_to_verify_may_be_another() {
    let authority = Authority::new();
    let backend = RecordingBackend::replying("answer").await;
    let front = TlsFront::http1(authority.certify("inner.example"), backend.addr).await;
    let ca_file = authority.file();
    let tls = |name: &str| {
        format!(
            "    tls: {{ ca_file: \"{}\", server_name: {name} }}\n",
            ca_file.display()
        )
    };
    let app = start_balancer(&[front.url()], &tls("inner.example"), "", "");
    assert_eq!(post(&app, Protocol::Http1).await.status, 200);
    let app = start_balancer(&[front.url()], &tls("other.example"), "", "");
    assert_eq!(post(&app, Protocol::Http1).await.status, 502);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn the_next_backend_is_tried_whatever_the_method() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (bad, good) = (
        RecordingBackend::replying("bad").await,
        RecordingBackend::replying("good").await,
    );
    let bad_front = TlsFront::http1(other.certify(ADDRESS), bad.addr).await;
    let front = TlsFront::http1(authority.certify(ADDRESS), good.addr).await;
    let urls = [bad_front.url(), front.url()];
    let app = start_balancer(&urls, &authority.trusted(), "", "");
    for client in CLIENTS {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            for _ in 0..2 {
                let request = Ask {
                    method,
                    ..Ask::post("/", "question")
                };
                let answer = ask(client, app.http.unwrap(), &request).await;
                assert_eq!((answer.status, answer.body), (200, b"good".to_vec()));
            }
        }
    }
    assert_eq!(good.requests().len(), 20);
    assert!(bad.received().concat().is_empty());
    let retries = "weir_http_retries_total{cause=\"tls_failed\"}";
    assert!(app.metric(retries).await > 0);
    assert_eq!(app.metric(TLS_FAILED).await, 0);
}

/// Each kind of probe, before a backend that is fine and one that cannot be verified.
#[tokio::test]
async fn probes_go_through_tls_too() {
    let (authority, other) = (Authority::new(), Authority::new());
    let serving = Reply {
        body: framed(0, 2, &[8, 1]),
        ..Reply::default()
    }
    .header("content-type", "application/grpc")
    .trailer("grpc-status", "0");
    let http1 = RecordingBackend::replying("fine").await;
    let http2 = Http2Backend::start(Http2Script::Reply(serving)).await;
    for (probe, over_http1) in [
        ("http: /health", true),
        ("http: /health", false),
        ("grpc: \"\"", false),
        ("tcp: true", true),
    ] {
        let backends = match over_http1 {
            true => (Some(http1.addr), None),
            false => (None, Some(http2.addr)),
        };
        let good = TlsFront::start(authority.certify(ADDRESS), backends.0, backends.1).await;
        let bad = TlsFront::start(other.certify(ADDRESS), backends.0, backends.1).await;
        let check =
            format!("    health_check: {{ {probe}, interval: 100ms, timeout: 100ms, fall: 2 }}\n");
        let upstream = authority.trusted() + &check;
        let app = start_balancer(&[good.url(), bad.url()], &upstream, "", "");
        app.until_metric(&healthy(&bad.url()), 0).await;
        app.until_metric(&healthy(&good.url()), 1).await;
        assert_eq!(bad.handshakes(), 0, "{probe}");
    }
    let probed = http2.requests();
    let path = |request: &SeenRequest| request.head.uri.path().to_owned();
    assert!(probed.iter().any(|seen| path(seen) == "/health"));
    let grpc = "/grpc.health.v1.Health/Check";
    assert!(probed.iter().any(|seen| path(seen) == grpc));
    assert!(
        probed
            .iter()
            .all(|seen| seen.head.uri.scheme_str() == Some("https"))
    );
}

#[tokio::test]
async fn grpc_calls_pass_with_their_trailers() {
    let authority = Authority::new();
    let reply = Reply {
        body: framed_call("answer"),
        ..Reply::default()
    }
    .header("content-type", "application/grpc")
    .trailer("grpc-status", "5")
    .trailer("grpc-message", "gone%20away");
    let backend = Http2Backend::start(Http2Script::Reply(reply)).await;
    let front = TlsFront::http2(authority.certify(ADDRESS), backend.addr).await;
    for url in [backend.url(), front.url()] {
        let app = start_balancer(&[url], &authority.trusted(), "", "");
        let client = GrpcClient::connect(app.http.unwrap()).await;
        let frames = vec![framed_call("question"), framed_call("another")];
        let call = client.try_call(grpc_request("/any.Service/Method"), frames);
        let answer = call.await.unwrap();
        assert_eq!((answer.code(), answer.message()), (5, "gone away".into()));
        assert_eq!(
            (answer.http_status, answer.body),
            (200, framed_call("answer"))
        );
    }
    let requests = backend.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.head.headers["te"], "trailers");
        let questions = [framed_call("question"), framed_call("another")].concat();
        assert_eq!((request.body, request.end), (questions, RequestEnd::Whole));
    }
}

/// gRPC clients read no HTTP status: the balancer's own faults are trailers without a body.
#[tokio::test]
async fn faults_of_the_balancer_are_grpc_statuses() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = Http2Backend::start(Http2Script::Reply(Reply::default())).await;
    let front = TlsFront::http2(other.certify(ADDRESS), backend.addr).await;
    let refusing = format!("h2c://{}", FakeBackend::refusing().await);
    let disabled = format!("    backends: [{{ url: \"{refusing}\", state: disabled }}]\n");
    let cases = [
        (refusing.clone(), String::new(), "connecting to"),
        (front.url(), authority.trusted(), "TLS"),
        (String::new(), disabled, "no available backend"),
    ];
    for (url, upstream, message) in cases {
        let app = match url.is_empty() {
            false => start_balancer(&[url], &upstream, "", ""),
            true => TestApp::start(
                "",
                &format!(
                    "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app:\n{upstream}"
                ),
            ),
        };
        let client = GrpcClient::connect(app.http.unwrap()).await;
        let call = client.try_call(grpc_request("/any.Service/Method"), vec![framed_call("x")]);
        let answer = timeout(PATIENCE, call).await.expect(message).unwrap();
        assert_eq!(answer.http_status, 200, "{message}");
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert!(answer.body.is_empty() && answer.trailers.is_empty());
        assert_eq!(answer.code(), 14, "{}", answer.message());
        assert!(answer.message().contains(message), "{}", answer.message());
    }
    assert!(backend.requests().is_empty());
}
