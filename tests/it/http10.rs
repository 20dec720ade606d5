//! HTTP/1.0, of clients and of backends.

use crate::support::{
    Ask, End, KeptClient, Protocol, RecordingBackend, TestApp, ask, ok, start_balancer,
};

async fn before(backend: &RecordingBackend) -> (TestApp, KeptClient) {
    let app = start_balancer(&[backend.url()], "", "", "");
    let client = KeptClient::connect(app.http.unwrap()).await;
    (app, client)
}

#[tokio::test]
async fn a_connection_is_kept_where_the_client_asks() {
    let backend = RecordingBackend::replying("fine").await;
    let (_app, mut client) = before(&backend).await;
    for _ in 0..3 {
        client
            .send("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
        assert!(
            answer.head.contains("\r\nconnection: keep-alive\r\n"),
            "{answer:?}"
        );
    }
    // Without it the response is the last.
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    assert!(!answer.head.contains("keep-alive"), "{answer:?}");
    assert_eq!(client.rest().await, (Vec::new(), End::Closed));
}

/// Only the end of the backend's connection says that it is whole.
#[tokio::test]
async fn a_response_without_a_length_arrives_whole() {
    for version in ["1.0", "1.1"] {
        let backend = RecordingBackend::scripted(move |mut wire| async move {
            wire.request().await;
            wire.send(format!("HTTP/{version} 200 OK\r\nA: b\r\n\r\nhello, "))
                .await;
            wire.send("world").await;
        });
        let backend = backend.await;
        let (app, mut client) = before(&backend).await;
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = client.head().await;
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        assert_eq!(client.rest_of(&head).await, "hello, world");
        // The client's connection goes on.
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(client.rest_of(&head).await, "hello, world");

        let answer = ask(Protocol::Http2, app.http.unwrap(), &Ask::get("/")).await;
        assert!(
            answer.is_whole && answer.body == b"hello, world",
            "{answer:?}"
        );

        for connection in ["", "Connection: keep-alive\r\n"] {
            let mut client = KeptClient::connect(app.http.unwrap()).await;
            client
                .send(format!("GET / HTTP/1.0\r\nHost: x\r\n{connection}\r\n"))
                .await;
            let head = client.head().await;
            assert!(!head.contains("transfer-encoding"), "{head}");
            assert!(!head.contains("keep-alive"), "{head}");
            let rest = client.rest().await;
            assert_eq!(rest, (b"hello, world".to_vec(), End::Closed), "{head}");
        }
    }
}

/// A response in chunks, which HTTP/1.0 has not.
#[tokio::test]
async fn a_response_in_chunks_reaches_an_http10_client_until_the_end() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while wire.request().await.is_some() {
            wire.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            )
            .await;
        }
    });
    let backend = backend.await;
    let (_app, mut client) = before(&backend).await;
    client
        .send("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(
        !head.contains("transfer-encoding") && !head.contains("keep-alive"),
        "{head}"
    );
    assert_eq!(client.rest().await, (b"hello".to_vec(), End::Closed));
}

/// A connection to it is not kept unless it says so.
#[tokio::test]
async fn an_http10_backend_that_closes_costs_no_request() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        wire.request().await;
        wire.send(ok("fine").replace("HTTP/1.1", "HTTP/1.0")).await;
    });
    let backend = backend.await;
    let (_app, mut client) = before(&backend).await;
    for _ in 0..10 {
        client
            .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    }
    assert_eq!(backend.requests().len(), 10);
}
