//! The scripted HTTP/2 backend does what its script says. Without the balancer: what is wrong
//! with a test's own backend must not look like the balancer's fault.

use bytes::Bytes;
use h2::Reason;
use http::Request;

use crate::support::{
    GrpcAnswer, GrpcClient, Http2Backend, Http2Script, RecordingBackend, Reply, RequestEnd, Wire,
    eventually, raw_http2,
};

async fn ask(client: &GrpcClient) -> Result<GrpcAnswer, h2::Error> {
    let request = Request::post("http://web.example/x?y").body(()).unwrap();
    client
        .try_call(request, vec![Bytes::from_static(b"question")])
        .await
}

async fn before(script: Http2Script) -> (Http2Backend, GrpcClient) {
    let backend = Http2Backend::start(script).await;
    let client = GrpcClient::connect(backend.addr).await;
    (backend, client)
}

fn reply() -> Reply {
    Reply::body("answer").header("x-a", 1).trailer("x-t", "u")
}

#[tokio::test]
async fn replies_carry_body_and_trailers() {
    let (backend, client) = before(Http2Script::Reply(reply())).await;
    for _ in 0..2 {
        let answer = ask(&client).await.unwrap();
        assert_eq!(
            (answer.http_status, answer.body.as_ref()),
            (200, &b"answer"[..])
        );
        assert_eq!(
            (&answer.headers["x-a"], &answer.trailers["x-t"]),
            (&"1".parse().unwrap(), &"u".parse().unwrap())
        );
    }
    let seen = backend.seen();
    assert_eq!((seen.connections, seen.requests.len()), (1, 2));
    let request = &seen.requests[1];
    assert_eq!(
        (request.body.as_slice(), request.end),
        (&b"question"[..], RequestEnd::Whole)
    );
    assert_eq!(request.connection, 0);
    assert_eq!(request.head.uri, "http://web.example/x?y");
    assert_eq!(backend.url(), format!("h2c://{}", backend.addr));
}

#[tokio::test]
async fn refusals_say_that_nothing_was_done() {
    let (_backend, client) = before(Http2Script::Refuse).await;
    assert_eq!(
        ask(&client).await.unwrap_err().reason(),
        Some(Reason::REFUSED_STREAM)
    );
    let (backend, client) = before(Http2Script::RefuseFirst(1, reply())).await;
    assert!(ask(&client).await.is_err());
    assert_eq!(ask(&client).await.unwrap().http_status, 200);
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn a_goaway_ends_a_connection_in_good_order() {
    let (_backend, client) = before(Http2Script::GoAwayAfter(1, reply())).await;
    assert_eq!(ask(&client).await.unwrap().http_status, 200);
    client.connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn responses_break_off_as_told() {
    let (_backend, client) = before(Http2Script::ResetAfter(reply(), Reason::CANCEL)).await;
    assert_eq!(
        ask(&client).await.unwrap_err().reason(),
        Some(Reason::CANCEL)
    );
    let (_backend, client) = before(Http2Script::CloseAfter(reply())).await;
    assert!(ask(&client).await.is_err());
    let (_backend, client) = before(Http2Script::ReplyEarly(Bytes::from_static(b"early"))).await;
    assert_eq!(ask(&client).await.unwrap().body.as_ref(), b"early");
}

#[tokio::test]
async fn a_call_that_is_given_up_is_noted() {
    for script in [Http2Script::Silence, Http2Script::Stall(reply())] {
        let (backend, client) = before(script).await;
        let call = tokio::spawn(async move { ask(&client).await });
        eventually("a request", async || {
            let requests = backend.requests();
            matches!(&requests[..], [request] if request.end == RequestEnd::Whole)
        })
        .await;
        call.abort();
        eventually("it is given up", async || {
            matches!(backend.requests()[0].end, RequestEnd::Reset(_))
        })
        .await;
    }
}

/// A GOAWAY that covers no stream, by hand: whatever was sent was not looked at.
pub async fn goaway_uncovered(mut wire: Wire) {
    wire.send(raw_http2::frame(raw_http2::SETTINGS, 0, 0, &[]))
        .await;
    let mut received = Vec::new();
    while let Some(bytes) = wire.bytes().await {
        received.extend(bytes);
        let frames = raw_http2::frames(&received);
        if frames.iter().any(|frame| frame.kind == raw_http2::HEADERS) {
            wire.send(raw_http2::frame(raw_http2::GOAWAY, 0, 0, &[0; 8]))
                .await;
            return wire.until_closed().await;
        }
    }
}

#[tokio::test]
async fn a_goaway_may_leave_a_request_uncovered() {
    let backend = RecordingBackend::scripted(goaway_uncovered).await;
    let client = GrpcClient::connect(backend.addr).await;
    let error = ask(&client).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
}
