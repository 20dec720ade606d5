//! Clients that end their sending direction behind a whole request.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    End, Ending, KeptClient, PairedBackend, Protocol, RecordingBackend, Reply, ok, start_balancer,
};

const REQUESTS: [&str; 3] = [
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];

#[tokio::test]
async fn a_client_that_sends_no_more_gets_its_response() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while wire.request().await.is_some() {
            // The balancer sees the client's end long before there is an answer.
            wire.pause(Duration::from_millis(300)).await;
            if !wire.send(ok("fine")).await {
                return;
            }
        }
    });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    for request in REQUESTS {
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send(request).await;
        client.stream.shutdown().await.unwrap();
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "fine"),
            "{request}"
        );
        assert_eq!(client.rest().await, (Vec::new(), End::Closed));
    }
    assert_eq!(backend.requests().len(), REQUESTS.len());
    let gone = "weir_http_faults_total{cause=\"client_closed\"}";
    assert_eq!(app.metric(gone).await, 0);
}

#[tokio::test]
async fn a_long_response_arrives_whole_behind_a_half_close() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let reply = Reply::body(&"b".repeat(3_000_000));
        let backend = PairedBackend::start(protocol, reply, Ending::Whole).await;
        let app = start_balancer(&[backend.url()], "", "", "");
        let mut client = KeptClient::connect(app.http.unwrap()).await;
        client.send(REQUESTS[0]).await;
        client.stream.shutdown().await.unwrap();
        let head = client.head().await;
        assert_eq!(client.rest_of(&head).await.len(), 3_000_000, "{head}");
    }
}
