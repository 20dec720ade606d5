//! Backends that speak HTTP/2 (`h2c://`), good and bad.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::time::{Instant, timeout};

use crate::{
    http2_scripts::goaway_uncovered,
    support::{
        Answer, Ask, GrpcClient, Http2Backend, Http2Script, Protocol, RecordingBackend, Reply,
        RequestEnd, TestApp, ask, eventually, framed_call, grpc_request,
        raw_http2::{self, RST_STREAM},
        start_balancer,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);
const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
/// One worker, so that there is one set of connections.
const ONE_WORKER: &str = "workers: 1\n";

fn before(backends: &[&Http2Backend], upstream: &str) -> TestApp {
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    start_balancer(&urls, upstream, "", ONE_WORKER)
}

async fn get(app: &TestApp, client: Protocol) -> Answer {
    ask(client, app.http.unwrap(), &Ask::get("/x?y")).await
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let backend = Http2Backend::start(Http2Script::Reply(Reply::body("answer"))).await;
    let app = before(&[&backend], "");
    for client in CLIENTS {
        for _ in 0..10 {
            let answer = get(&app, client).await;
            assert_eq!((answer.status, answer.body), (200, b"answer".to_vec()));
        }
    }
    let seen = backend.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 20));
    for request in &seen.requests {
        assert_eq!(request.head.uri, "http://web.example/x?y");
        // The authority says it; a Host header beside it could say something else.
        let host = request.head.headers.get("host");
        assert!(host.is_none_or(|host| host == "web.example"), "{host:?}");
        for name in [
            "connection",
            "transfer-encoding",
            "te",
            "upgrade",
            "keep-alive",
        ] {
            assert!(!request.head.headers.contains_key(name), "{request:?}");
        }
    }
}

/// gRPC needs all three: `te`, trailers, and a body that does not end with its head.
#[tokio::test]
async fn a_grpc_call_passes() {
    let reply = Reply {
        body: framed_call("answer"),
        ..Reply::default()
    }
    .header("content-type", "application/grpc")
    .trailer("grpc-status", "0");
    let backend = Http2Backend::start(Http2Script::Reply(reply)).await;
    let app = before(&[&backend], "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let call = client.try_call(
        grpc_request("/any.Service/Method"),
        vec![framed_call("question")],
    );
    let answer = call.await.unwrap();
    assert_eq!((answer.code(), answer.body), (0, framed_call("answer")));
    let request = backend.requests().remove(0);
    assert_eq!(request.head.headers["te"], "trailers");
    assert_eq!(
        (request.body, request.end),
        (framed_call("question").to_vec(), RequestEnd::Whole)
    );
}

/// RFC 9113 section 8.7: nothing was done, so it may be sent again, whatever the method and the
/// body, as long as the body can be.
#[tokio::test]
async fn a_refused_stream_goes_to_another_backend() {
    for client in CLIENTS {
        let refusing = Http2Backend::start(Http2Script::Refuse).await;
        let alive = Http2Backend::start(Http2Script::Reply(Reply::body("alive"))).await;
        let app = before(&[&refusing, &alive], "");
        for method in ["GET", "POST", "DELETE"] {
            for _ in 0..4 {
                let request = Ask {
                    method,
                    ..Ask::get("/")
                };
                let answer = ask(client, app.http.unwrap(), &request).await;
                assert_eq!(
                    (answer.status, answer.body),
                    (200, b"alive".to_vec()),
                    "{method}"
                );
            }
        }
        assert!(!refusing.requests().is_empty());
        assert_eq!(alive.requests().len(), 12);
    }
}

/// A connection that takes no more streams is not the backend: a fresh one is tried.
#[tokio::test]
async fn what_a_connection_refuses_is_sent_on_a_fresh_one() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        let is_first = wire.index() == 0;
        wire.speak_http2(&[], |nth, stream| match is_first && nth > 1 {
            // REFUSED_STREAM.
            true => vec![raw_http2::frame(RST_STREAM, 0, stream, &[0, 0, 0, 7])],
            false => vec![raw_http2::ok(stream)],
        })
        .await;
    });
    let backend = backend.await;
    let url = format!("h2c://{}", backend.addr);
    let app = start_balancer(&[url], "", "", ONE_WORKER);
    for _ in 0..3 {
        assert_eq!(get(&app, Protocol::Http1).await.status, 200);
    }
    assert!(backend.connections() > 1);
}

#[tokio::test]
async fn with_all_streams_refused_it_is_a_502_and_no_storm() {
    let backend = Http2Backend::start(Http2Script::Refuse).await;
    let app = before(&[&backend], "");
    for _ in 0..20 {
        let status = get(&app, Protocol::Http1).await.status;
        assert!([502, 503].contains(&status), "{status}");
    }
    assert!(
        backend.requests().len() <= 60,
        "{}",
        backend.requests().len()
    );
}

#[tokio::test]
async fn what_a_goaway_does_not_cover_goes_elsewhere() {
    let leaving = RecordingBackend::scripted(goaway_uncovered).await;
    let alive = Http2Backend::start(Http2Script::Reply(Reply::body("alive"))).await;
    let urls = [format!("h2c://{}", leaving.addr), alive.url()];
    let app = start_balancer(&urls, "", "", ONE_WORKER);
    for client in CLIENTS {
        for method in ["GET", "POST"] {
            for _ in 0..4 {
                let request = Ask {
                    method,
                    ..Ask::get("/")
                };
                let answer = ask(client, app.http.unwrap(), &request).await;
                assert_eq!(
                    (answer.status, answer.body),
                    (200, b"alive".to_vec()),
                    "{method}"
                );
            }
        }
    }
    assert_eq!(alive.requests().len(), 16);
    assert!(leaving.connections() > 0);
}

#[tokio::test]
async fn a_connection_that_leaves_is_replaced_without_a_lost_request() {
    let script = Http2Script::GoAwayAfter(3, Reply::body("answer"));
    let backend = Http2Backend::start(script).await;
    let app = before(&[&backend], "");
    for client in CLIENTS {
        for _ in 0..10 {
            assert_eq!(get(&app, client).await.status, 200);
        }
    }
    assert!(backend.seen().connections > 3);
}

#[tokio::test]
async fn a_response_that_breaks_off_looks_broken() {
    let reply = || Reply::body("part");
    for script in [
        Http2Script::ResetAfter(reply(), Reason::INTERNAL_ERROR),
        Http2Script::ResetAfter(reply(), Reason::NO_ERROR),
        Http2Script::ResetAfter(reply(), Reason::CANCEL),
        Http2Script::ResetAfter(reply().header("content-length", 10), Reason::CANCEL),
        Http2Script::CloseAfter(reply()),
        Http2Script::Stall(reply()),
        // Shorter than it said.
        Http2Script::Reply(reply().header("content-length", 10)),
    ] {
        for client in CLIENTS {
            let backend = Http2Backend::start(script.clone()).await;
            let app = before(&[&backend], "    idle_timeout: 200ms\n");
            let answer = get(&app, client).await;
            assert!(
                answer.status == 502 || !answer.is_whole,
                "{client:?} {script:?} {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn silence_is_a_504_and_the_stream_is_given_up() {
    for client in CLIENTS {
        let backend = Http2Backend::start(Http2Script::Silence).await;
        let app = before(&[&backend], "    response_timeout: 200ms\n");
        assert_eq!(get(&app, client).await.status, 504, "{client:?}");
        eventually("it is given up", async || {
            matches!(backend.requests()[0].end, RequestEnd::Reset(_))
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_stream() {
    for script in [
        Http2Script::Silence,
        Http2Script::Stall(Reply::body("part")),
    ] {
        let backend = Http2Backend::start(script).await;
        let app = before(&[&backend], "");
        let mut client = raw_http2::RawHttp2::connect(app.http.unwrap(), &[]).await;
        client
            .send(&raw_http2::headers(1, true, &raw_http2::GET))
            .await;
        eventually("a request", async || {
            backend
                .requests()
                .first()
                .is_some_and(|request| request.end == RequestEnd::Whole)
        })
        .await;
        let began = Instant::now();
        drop(client);
        eventually("it is given up", async || {
            matches!(backend.requests()[0].end, RequestEnd::Reset(_))
        })
        .await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        // The connection was not the client's alone.
        assert_eq!(backend.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_response_before_the_end_of_the_upload_is_relayed() {
    let early = Bytes::from_static(b"early");
    let backend = Http2Backend::start(Http2Script::ReplyEarly(early)).await;
    let app = before(&[&backend], "");
    let mut client = raw_http2::RawHttp2::connect(app.http.unwrap(), &[]).await;
    client
        .send(&raw_http2::headers(1, false, &raw_http2::POST))
        .await;
    assert_eq!(client.outcome(1).await, raw_http2::Outcome::Status(200));
    let mut body = Vec::new();
    while !body.ends_with(b"early") {
        let frame = timeout(PATIENCE, client.frame())
            .await
            .unwrap()
            .expect("no body");
        if frame.kind == raw_http2::DATA {
            body.extend(frame.payload);
        }
    }
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// A backend that allows one stream at a time, and little at once: all are served in the end.
#[tokio::test]
async fn a_narrow_backend_is_respected() {
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(1).initial_window_size(10);
    let script = Http2Script::Reply(Reply::body("answer"));
    let backend = Http2Backend::with_settings(script, settings).await;
    let app = before(&[&backend], "");
    let http = app.http.unwrap();
    let request = Ask::post("/", "a question that is longer than the window");
    let asks = (0..20).map(|index| ask(CLIENTS[index % 2], http, &request));
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!((answer.status, answer.is_whole), (200, true));
    }
    let requests = backend.requests();
    assert_eq!(requests.len(), 20);
    for seen in requests {
        assert_eq!(seen.body, request.body.unwrap().as_bytes());
    }
}

/// A backend that answers the preface by something else, or not at all.
#[tokio::test]
async fn a_backend_that_speaks_no_http2_is_a_bad_gateway() {
    let waits = "    connect_timeout: 200ms\n    response_timeout: 200ms\n";
    for answer in [
        "",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "garbage",
    ] {
        let backend = RecordingBackend::scripted(move |mut wire| async move {
            wire.bytes().await;
            wire.send(answer).await;
            if answer.is_empty() {
                wire.until_closed().await;
            }
        });
        let backend = backend.await;
        let url = format!("h2c://{}", backend.addr);
        let app = start_balancer(&[url], waits, "", ONE_WORKER);
        for client in CLIENTS {
            let status = get(&app, client).await.status;
            assert!(
                [502, 504].contains(&status),
                "{client:?} {answer:?} {status}"
            );
        }
    }
}
