//! `idle_timeout` is a limit of the exchange: as long as one side speaks, the other may be silent.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::{interval, timeout};

use crate::support::{GrpcClient, KeptClient, RecordingBackend, TestApp, start_balancer};

/// The sum of the pauses is well above the limit, each of them well below.
const LIMIT: &str = "    idle_timeout: 600ms\n";
const PAUSE: Duration = Duration::from_millis(100);
const EVENTS: usize = 16;
const EVENT: &str = "5\r\nevent\r\n";
const END: &str = "0\r\n\r\n";
/// These backends answer once on a connection.
const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
const UPLOAD: &str =
    "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n";

/// Sends events while the upload stands still.
async fn speaking() -> RecordingBackend {
    RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send(HEAD).await;
        for _ in 0..EVENTS {
            wire.send(EVENT).await;
            wire.pause(PAUSE).await;
        }
        wire.send(END).await;
        wire.until_closed().await;
    })
    .await
}

/// Begins its answer, and says the rest when the upload is whole.
async fn listening() -> RecordingBackend {
    RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        wire.send(HEAD.to_owned() + EVENT).await;
        let mut upload = Vec::new();
        while !upload.ends_with(END.as_bytes()) {
            match wire.bytes().await {
                Some(bytes) => upload.extend(bytes),
                None => return,
            }
        }
        wire.send(EVENT.to_owned() + END).await;
        wire.until_closed().await;
    })
    .await
}

fn before(backend: &RecordingBackend) -> TestApp {
    start_balancer(&[backend.url()], LIMIT, "", "")
}

#[tokio::test]
async fn a_silent_upload_is_kept_while_events_come() {
    let backend = speaking().await;
    let app = before(&backend);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(UPLOAD).await;
    client.head().await;
    let all = EVENT.repeat(EVENTS) + END;
    assert_eq!(client.text(all.len()).await, all);

    let client = GrpcClient::connect(app.http.unwrap()).await;
    let request = Request::post("http://web.example/").body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut sending) = requests.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"up"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        received.extend_from_slice(&data.unwrap());
    }
    assert_eq!(received, b"event".repeat(EVENTS));
}

#[tokio::test]
async fn a_silent_response_is_kept_while_the_upload_goes_on() {
    let backend = listening().await;
    let app = before(&backend);
    let mut ticks = interval(PAUSE);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(UPLOAD).await;
    client.head().await;
    for _ in 0..EVENTS {
        ticks.tick().await;
        client.send("2\r\nup\r\n").await;
    }
    client.send(END).await;
    let all = EVENT.repeat(2) + END;
    assert_eq!(client.text(all.len()).await, all);

    let client = GrpcClient::connect(app.http.unwrap()).await;
    let request = Request::post("http://web.example/").body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut sending) = requests.send_request(request, false).unwrap();
    for _ in 0..EVENTS {
        ticks.tick().await;
        sending.send_data(Bytes::from_static(b"up"), false).unwrap();
    }
    sending.send_data(Bytes::new(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        received.extend_from_slice(&data.unwrap());
    }
    assert_eq!(received, b"eventevent");
}

/// It still is a limit where both are silent.
#[tokio::test]
async fn an_exchange_without_any_sound_ends() {
    let backend = listening().await;
    let app = before(&backend);
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(UPLOAD).await;
    client.head().await;
    let rest = timeout(Duration::from_secs(3), client.rest()).await;
    let (rest, _) = rest.expect("it goes on for ever");
    assert!(!rest.ends_with(END.as_bytes()), "{rest:?}");
}
