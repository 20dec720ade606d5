//! What of heads and ends arrives as it was meant, where it is easily lost.

use bytes::Bytes;
use http::{HeaderMap, Request};

use crate::support::{
    Ask, Ending, GrpcClient, Http2Backend, Http2Script, KeptClient, PairedBackend, Pairing,
    Protocol, RecordingBackend, Reply, ask, raw_http2,
    raw_http2::{DATA, END_HEADERS, END_STREAM, HEADERS},
    start_balancer,
};

/// Servers answer 411 to a `POST` that does not say how long it is (RFC 9110 section 8.6).
#[tokio::test]
async fn an_empty_body_says_so_where_one_could_be() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut cases = 0;
    for client in [Protocol::Http1, Protocol::Http2] {
        for (method, expected) in [
            ("POST", &["0"][..]),
            ("PUT", &["0"]),
            ("PATCH", &["0"]),
            ("GET", &[]),
            ("HEAD", &[]),
            ("DELETE", &[]),
        ] {
            let mut request = Ask {
                method,
                ..Ask::get("/")
            };
            if client == Protocol::Http1 && !expected.is_empty() {
                request.body = Some("");
            }
            let answer = ask(client, app.http.unwrap(), &request).await;
            assert_eq!(answer.status, 200, "{client:?} {method}");
            let seen = backend.requests().pop().unwrap();
            assert_eq!(seen.method, method);
            let lengths = seen.values("content-length");
            assert_eq!(lengths, expected, "{client:?} {method}");
            cases += 1;
        }
    }
    assert_eq!((cases, backend.requests().len()), (12, 12));
}

/// A name with `_` may be another's to a backend; what a backend says is its own affair.
#[tokio::test]
async fn underscores_pass_from_backends_and_not_to_them() {
    for pairing in Pairing::ALL {
        let reply = Reply::body("answer")
            .header("x_head", 1)
            .trailer("x_trailer", "1");
        let backend = PairedBackend::start(pairing.backend, reply, Ending::Whole).await;
        let app = start_balancer(&[backend.url()], "", "", "");
        let request = Ask::get("/").header("x_asked", 1);
        let answer = ask(pairing.client, app.http.unwrap(), &request).await;
        assert_eq!(answer.body, b"answer", "{pairing:?}");
        assert_eq!(answer.headers["x_head"], "1", "{pairing:?}");
        if pairing.client == Protocol::Http2 {
            assert_eq!(answer.trailers["x_trailer"], "1", "{pairing:?}");
        }
        let seen = backend.seen().remove(0);
        assert!(!seen.headers.contains_key("x_asked"), "{seen:?}");
    }
}

#[tokio::test]
async fn underscores_in_trailers_do_not_reach_backends() {
    let reply = Http2Script::Reply(Reply::body("answer"));
    let backend = Http2Backend::start(reply).await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let request = Request::post("http://web.example/").body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut sending) = requests.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"up"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("x_forwarded_for", "6.6.6.6".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let seen = backend.requests().remove(0);
    assert_eq!(seen.trailers["x-sum"], "1");
    assert!(!seen.trailers.contains_key("x_forwarded_for"), "{seen:?}");
}

/// Some servers end the stream of an answer to `HEAD` by an empty frame of its own.
#[tokio::test]
async fn an_answer_to_head_that_ends_late_is_whole() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.speak_http2(&[], |_nth, stream| {
            let block = [&[0x88], &raw_http2::block(&[("content-length", "5")])[..]].concat();
            vec![
                raw_http2::frame(HEADERS, END_HEADERS, stream, &block),
                raw_http2::frame(DATA, END_STREAM, stream, &[]),
            ]
        })
        .await;
    });
    let backend = backend.await;
    let app = start_balancer(&[format!("h2c://{}", backend.addr)], "", "", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    for _ in 0..10 {
        client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
    let head = Ask {
        method: "HEAD",
        ..Ask::get("/")
    };
    let answer = ask(Protocol::Http2, app.http.unwrap(), &head).await;
    assert_eq!((answer.status, answer.is_whole), (200, true));
    app.until_metric("weir_calls_in_flight", 0).await;
    let gone = app.metric("weir_http_faults_total{cause=\"client_closed\"}");
    assert_eq!(gone.await, 0);
}
