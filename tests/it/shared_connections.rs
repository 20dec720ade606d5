//! Streams that share one HTTP/2 connection, and do not suffer from each other.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::{SendStream, client::ResponseFuture};
use http::Request;
use tokio::time::timeout;

use crate::support::{
    Ask, GrpcClient, Http2Backend, Http2Script, KeptClient, Protocol, RecordingBackend, Reply,
    TestApp, ask, eventually, get,
    raw_http2::{self, HEADERS, Outcome, RawHttp2, SETTINGS, frame, frames},
    start_balancer,
};

const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
/// One worker, so that there is one set of connections.
const ONE_WORKER: &str = "workers: 1\n";
/// More than the buffers of a connection hold.
const LARGE: &str = "/8000000";

async fn small_response(http: SocketAddr, client: Protocol) -> (u16, usize) {
    let small = Ask::get("/5");
    let answer = timeout(PATIENCE, ask(client, http, &small)).await;
    let answer = answer.expect("the other responses hold it up");
    (answer.status, answer.body.len())
}

#[tokio::test]
async fn clients_that_do_not_read_freeze_no_other_response() {
    const READERS: usize = 12;
    let backend = Http2Backend::start(Http2Script::Sized).await;
    let app = start_balancer(&[backend.url()], "", "", ONE_WORKER);
    let http = app.http.unwrap();
    // So that there is a connection to share.
    assert_eq!(small_response(http, Protocol::Http1).await, (200, 5));
    let (mut narrow, mut shut) = (Vec::new(), Vec::new());
    for index in 0..READERS {
        match CLIENTS[index % 2] {
            Protocol::Http1 => {
                let mut client = KeptClient::connect_narrow(http, 4096).await;
                client.send(get(LARGE)).await;
                narrow.push(client);
            }
            Protocol::Http2 => {
                let mut client = RawHttp2::connect(http, &[]).await;
                let mut fields = raw_http2::GET;
                fields[3] = (":path", LARGE);
                client.send(&raw_http2::headers(1, true, &fields)).await;
                assert_eq!(client.outcome(1).await, Outcome::Status(200));
                shut.push(client);
            }
        }
    }
    eventually("all large requests arrived", async || {
        backend.requests().len() == 1 + READERS
    })
    .await;
    for round in 0..10 {
        for client in CLIENTS {
            let answer = small_response(http, client).await;
            assert_eq!(answer, (200, 5), "round {round}, {client:?}");
        }
    }
    assert_eq!(backend.seen().connections, 1);
    // The large ones go on as soon as their clients read.
    for client in &mut narrow {
        client.head().await;
        client.take(1000).await;
    }
}

/// Begins an upload of which as much is sent as the windows allow.
async fn upload(
    client: &GrpcClient,
    path: &str,
    bytes: usize,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut requests = client.requests.clone().ready().await.unwrap();
    let request = Request::post(format!("http://web.example{path}"));
    let request = request.body(()).unwrap();
    let (response, mut sending) = requests.send_request(request, false).unwrap();
    sending.send_data(vec![b'u'; bytes].into(), true).unwrap();
    (response, sending)
}

fn with_stalled(stalled: &str, reading: &RecordingBackend) -> TestApp {
    TestApp::start(
        "",
        &format!(
            "{ONE_WORKER}http:\n  - listen: 127.0.0.1:0\n    routes:\n      - {{ path: /stalled, upstream: stalled }}\n      - {{ path: /, upstream: reading }}\n\
             upstreams:\n  stalled: {{ backends: [\"{stalled}\"] }}\n  reading: {{ backends: [\"{}\"] }}\n",
            reading.url()
        ),
    )
}

#[tokio::test]
async fn uploads_that_stand_still_stop_no_other_upload() {
    const BYTES: usize = 3_000_000;
    const STALLED: usize = 40;
    let stalled_http1 = RecordingBackend::scripted(|mut wire| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    });
    let stalled_http2 = RecordingBackend::scripted(|mut wire| async move {
        wire.send(frame(SETTINGS, 0, 0, &[])).await;
        wire.until_closed().await;
    });
    let (stalled_http1, stalled_http2) = (stalled_http1.await, stalled_http2.await);
    for stalled in [stalled_http1.url(), format!("h2c://{}", stalled_http2.addr)] {
        let reading = RecordingBackend::replying("fine").await;
        let app = with_stalled(&stalled, &reading);
        let client = GrpcClient::connect(app.http.unwrap()).await;
        let mut uploads = Vec::new();
        for _ in 0..STALLED {
            uploads.push(upload(&client, "/stalled", BYTES).await);
        }
        let in_flight = u64::try_from(STALLED).unwrap();
        app.until_metric("weir_calls_in_flight", in_flight).await;
        for round in 1..=3 {
            let (response, _sending) = upload(&client, "/", BYTES).await;
            let response = timeout(PATIENCE, response).await;
            let response = response.expect("the other uploads hold it up").unwrap();
            assert_eq!(response.status(), 200, "{stalled}");
            let requests = reading.requests();
            assert_eq!(requests.len(), round);
            assert_eq!(requests[round - 1].body.len(), BYTES);
        }
        assert_eq!(app.metric("weir_calls_in_flight").await, in_flight);
    }
}

/// Every request that it left without a response counts, not only the connection.
#[tokio::test]
async fn a_backend_that_closes_under_concurrent_requests_is_ejected() {
    const CONCURRENT: usize = 3;
    // Answers the first request of each connection, and closes it under the next three.
    let closing = RecordingBackend::scripted(|mut wire| async move {
        wire.send(frame(SETTINGS, 0, 0, &[])).await;
        let (mut received, mut answered) = (Vec::new(), 0);
        while let Some(bytes) = wire.bytes().await {
            received.extend(bytes);
            let heads = frames(&received).into_iter();
            let heads: Vec<_> = heads.filter(|frame| frame.kind == HEADERS).collect();
            if answered == 0 && !heads.is_empty() {
                wire.send(raw_http2::ok(heads[0].stream)).await;
                answered = 1;
            }
            if heads.len() == 1 + CONCURRENT {
                return;
            }
        }
    });
    let closing = closing.await;
    let fine = Http2Backend::start(Http2Script::Reply(Reply::body("fine"))).await;
    let url = format!("h2c://{}", closing.addr);
    let policy = "    ejection: { consecutive_failures: 3, base_time: 60s }\n";
    let app = start_balancer(&[url.clone(), fine.url()], policy, "", ONE_WORKER);
    let http = app.http.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(Protocol::Http1, http, &Ask::get("/")).await.status, 200);
    }
    assert_eq!((closing.connections(), fine.requests().len()), (1, 1));
    // A `POST` is not sent again.
    let post = Ask::post("/", "body");
    let asks = (0..2 * CONCURRENT).map(|_| ask(Protocol::Http1, http, &post));
    let answers = join_all(asks).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 502, 502, 502]);
    let name = |name: &str| format!("weir_backend_{name}{{upstream=\"app\",backend=\"{url}\"}}");
    assert_eq!(app.metric(&name("failures_total")).await, 3);
    app.until_metric(&name("ejected"), 1).await;
    for _ in 0..6 {
        assert_eq!(ask(Protocol::Http2, http, &post).await.status, 200);
    }
    assert_eq!(closing.connections(), 1);
}
