//! HTTP/2 clients that break the protocol or give up: no backend waits for them.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use tokio::time::{Instant, timeout};

use crate::support::{
    GrpcClient, RecordingBackend, TestApp, eventually,
    raw_http2::{
        CONTINUATION, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Outcome, POST, RST_STREAM,
        RawHttp2, block, data, frame, headers,
    },
    start_balancer,
};

const PATIENCE: Duration = Duration::from_secs(20);
const PROTOCOL_ERROR: u32 = 1;

async fn start() -> (TestApp, RecordingBackend) {
    let backend = RecordingBackend::replying("fine").await;
    (start_balancer(&[backend.url()], "", "", ""), backend)
}

fn is_refused(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Status(400) | Outcome::Reset(PROTOCOL_ERROR) | Outcome::GoAway(PROTOCOL_ERROR)
    )
}

/// A body that proves wrong after its head was forwarded: the backend's request is aborted, and
/// its connection is not used again.
#[tokio::test]
async fn a_length_that_proves_wrong_late_aborts_the_request() {
    let (app, backend) = start().await;
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    let head = headers(1, false, &[&POST[..], &[("content-length", "5")]].concat());
    client.send(&[head, data(1, false, b"he")].concat()).await;
    eventually("a forwarded part", async || {
        backend.received().concat().ends_with(b"he")
    })
    .await;
    client.send(&data(1, true, b"")).await;
    let outcome = client.outcome(1).await;
    assert!(is_refused(outcome), "{outcome:?}");
    client.send(&headers(3, true, &GET)).await;
    assert_eq!(client.outcome(3).await, Outcome::Status(200));
    let (whole, broken) = backend.seen();
    assert_eq!((whole.len(), broken, backend.connections()), (1, 1, 2));
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection() {
    let (app, backend) = start().await;
    let get = block(&GET);
    let cases = [
        // DATA before HEADERS, an even stream, a stream twice, CONTINUATION out of place.
        data(1, true, b"x"),
        frame(HEADERS, END_HEADERS | END_STREAM, 2, &get),
        frame(CONTINUATION, END_HEADERS, 1, &get),
        [frame(HEADERS, END_STREAM, 1, &get), data(1, true, b"x")].concat(),
        frame(HEADERS, END_HEADERS | END_STREAM, 0, &get),
        // A block that is no HPACK: an index beyond the table, a string that is not there.
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x80, 0x01]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x00, 0x7f]),
        // More than the frame size that we allow.
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &vec![0; 20_000]),
    ];
    let count = cases.len();
    for (index, frames) in cases.into_iter().enumerate() {
        let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
        client.send(&frames).await;
        let code = client.goaway().await;
        assert!(code.is_some_and(|code| code > 0), "case {index}: {code:?}");
    }
    assert_eq!((count, backend.connections()), (8, 0));
}

/// The backend's request is cancelled within a second, whatever way the client leaves.
#[tokio::test]
async fn a_client_that_gives_up_its_upload_frees_the_backend() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.until_closed().await;
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let name = format!(
        "weir_backend_in_flight{{upstream=\"app\",backend=\"{}\"}}",
        backend.addr
    );
    let cancel = u32::from(Reason::CANCEL).to_be_bytes();
    // A reset keeps the connection, a GOAWAY announces its end, and an end may come without.
    let farewells = [
        (frame(RST_STREAM, 0, 1, &cancel), true),
        (frame(GOAWAY, 0, 0, &[0; 8]), false),
        (Vec::new(), false),
    ];
    let mut cases = 0;
    for (farewell, stays) in farewells {
        let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
        client
            .send(&[headers(1, false, &POST), data(1, false, b"part")].concat())
            .await;
        app.until_metric(&name, 1).await;
        let began = Instant::now();
        client.send(&farewell).await;
        let client = stays.then_some(client);
        app.until_metric(&name, 0).await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "case {cases}: {:?}",
            began.elapsed()
        );
        drop(client);
        cases += 1;
    }
    assert_eq!(cases, 3);
    app.until_metric("weir_calls_in_flight", 0).await;
    assert_eq!(backend.seen().0, []);
}

/// The same before any of the body, and while the response comes.
#[tokio::test]
async fn a_client_that_gives_up_waiting_frees_the_backend() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        if wire
            .request()
            .await
            .is_some_and(|request| request.target == "/half")
        {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
        }
        wire.until_closed().await;
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let name = format!(
        "weir_backend_in_flight{{upstream=\"app\",backend=\"{}\"}}",
        backend.addr
    );
    let client = GrpcClient::connect(app.http.unwrap()).await;
    for (path, delivered) in [("/none", 1), ("/half", 2)] {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let request = Request::get(format!("http://web.example{path}"))
            .body(())
            .unwrap();
        let (response, mut sending) = requests.send_request(request, false).unwrap();
        sending.send_data(Bytes::new(), true).unwrap();
        eventually("the backend has it", async || {
            backend.requests().len() == delivered
        })
        .await;
        assert_eq!(app.metric(&name).await, 1);
        let response = match path {
            "/half" => Some(timeout(PATIENCE, response).await.unwrap().unwrap()),
            _ => {
                drop(response);
                None
            }
        };
        sending.send_reset(Reason::CANCEL);
        drop(response);
        let began = Instant::now();
        app.until_metric(&name, 0).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{path}");
    }
    assert_eq!(backend.requests().len(), 2);
}
