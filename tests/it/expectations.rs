//! `Expect: 100-continue`, whatever the client and the backend speak.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::time::{Instant, timeout};

use crate::support::{
    GrpcClient, KeptClient, Pairing, Protocol, RecordingBackend, Wire, ok,
    raw_http2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, frames},
    start_balancer,
};

const PATIENCE: Duration = Duration::from_secs(20);
const BODY: &str = "hello";

/// How a backend treats an expectation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Backend {
    /// It asks for the body.
    Asks,
    /// It waits for the body without a word.
    IsSilent,
}

async fn http1(mut wire: Wire, backend: Backend) {
    while let Some(head) = wire.head().await {
        assert_eq!(head.value("content-length"), "5");
        if backend == Backend::Asks {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let mut body = Vec::new();
        while body.len() < BODY.len() {
            let Some(bytes) = wire.bytes().await else {
                return;
            };
            body.extend(bytes);
        }
        wire.send(ok(&String::from_utf8(body).unwrap())).await;
    }
}

async fn http2(mut wire: Wire, backend: Backend) {
    wire.send(frame(SETTINGS, 0, 0, &[])).await;
    let (mut received, mut asked) = (Vec::new(), false);
    while let Some(bytes) = wire.bytes().await {
        received.extend(bytes);
        let frames = frames(&received);
        let Some(head) = frames.iter().find(|frame| frame.kind == HEADERS) else {
            continue;
        };
        if !asked && backend == Backend::Asks {
            let block = raw_http2::block(&[(":status", "100")]);
            wire.send(frame(HEADERS, END_HEADERS, head.stream, &block))
                .await;
        }
        asked = true;
        let parts: Vec<_> = frames.iter().filter(|frame| frame.kind == DATA).collect();
        if parts.iter().any(|part| part.flags & END_STREAM != 0) {
            let body: Vec<u8> = parts.iter().flat_map(|part| part.payload.clone()).collect();
            wire.send(frame(HEADERS, END_HEADERS, head.stream, &[0x88]))
                .await;
            wire.send(raw_http2::data(head.stream, true, &body)).await;
            return wire.until_closed().await;
        }
    }
}

/// Waits for a 100 before the body; the body of the answer.
async fn ask_http1(http: SocketAddr) -> (Duration, String) {
    let began = Instant::now();
    let mut client = KeptClient::connect(http).await;
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let interim = client.head().await;
    assert_eq!(interim, "http/1.1 100 continue\r\n\r\n");
    let waited = began.elapsed();
    client.send(BODY).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let text = client.rest_of(&head).await;
    (waited, text)
}

async fn ask_http2(http: SocketAddr) -> (Duration, String) {
    let began = Instant::now();
    let client = GrpcClient::connect(http).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let request = Request::post("http://web.example/")
        .header("expect", "100-continue")
        .header("content-length", "5");
    let request = request.body(()).unwrap();
    let (mut response, mut sending) = requests.send_request(request, false).unwrap();
    let interim = poll_fn(|cx| response.poll_informational(cx));
    let interim = timeout(PATIENCE, interim).await.expect("no 100");
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    let waited = began.elapsed();
    sending
        .send_data(Bytes::from_static(BODY.as_bytes()), true)
        .unwrap();
    let response = timeout(PATIENCE, response).await.unwrap();
    let answer = crate::support::read(response.unwrap()).await.unwrap();
    assert_eq!(answer.http_status, 200);
    (waited, String::from_utf8(answer.body.to_vec()).unwrap())
}

/// How long a client waits for its 100 with each pairing. Its response follows.
async fn waits(behaviour: Backend) -> Vec<(Pairing, Duration)> {
    let mut waits = Vec::new();
    for pairing in Pairing::ALL {
        let (scheme, backend) = match pairing.backend {
            Protocol::Http1 => {
                let script = move |wire| http1(wire, behaviour);
                ("http", RecordingBackend::scripted(script).await)
            }
            Protocol::Http2 => {
                let script = move |wire| http2(wire, behaviour);
                ("h2c", RecordingBackend::scripted(script).await)
            }
        };
        let url = format!("{scheme}://{}", backend.addr);
        let app = start_balancer(&[url], "", "", "workers: 1\n");
        let http = app.http.unwrap();
        let (waited, body) = match pairing.client {
            Protocol::Http1 => ask_http1(http).await,
            Protocol::Http2 => ask_http2(http).await,
        };
        assert_eq!(body, BODY, "{behaviour:?} {pairing:?}");
        waits.push((pairing, waited));
    }
    assert_eq!(waits.len(), 4);
    waits
}

#[tokio::test]
async fn a_client_gets_the_100_of_its_backend() {
    let mut waits = waits(Backend::Asks).await;
    // After a second it would be the balancer's own.
    waits.retain(|(_, waited)| *waited > Duration::from_millis(900));
    assert!(waits.is_empty(), "{waits:#?}");
}

#[tokio::test]
async fn a_client_gets_the_balancers_100_where_the_backend_is_silent() {
    let mut waits = waits(Backend::IsSilent).await;
    let expected = Duration::from_millis(900)..Duration::from_secs(5);
    waits.retain(|(_, waited)| !expected.contains(waited));
    assert!(waits.is_empty(), "{waits:#?}");
}
