//! `body_limit`: none at all, and for gRPC that of a message.

use bytes::Bytes;

use crate::support::{
    GrpcClient, Http2Backend, Http2Script, KeptClient, RecordingBackend, Reply, RequestEnd,
    eventually, framed, grpc_request, start_balancer,
};

const RESOURCE_EXHAUSTED: i32 = 8;

#[tokio::test]
async fn without_a_limit_a_large_body_arrives() {
    // The default is 10 MiB.
    const BYTES: usize = 11 << 20;
    let sized = format!("Content-Length: {BYTES}\r\n\r\n");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{BYTES:x}\r\n");
    let mut cases = 0;
    for (framing, end) in [(sized, ""), (chunked, "\r\n0\r\n\r\n")] {
        for (listener, status) in [("    body_limit: none\n", 200), ("", 413)] {
            // In one piece for the backend's parser, which reads a body from its start each time.
            let backend = RecordingBackend::scripted(|mut wire| async move {
                let head = wire.head().await.unwrap();
                let mut received = 0;
                while received < BYTES {
                    let Some(bytes) = wire.bytes().await else {
                        return;
                    };
                    received += bytes.len();
                }
                assert_eq!(head.method, "POST");
                wire.send(crate::support::ok("fine")).await;
            });
            let backend = backend.await;
            let app = start_balancer(&[backend.url()], "", listener, "");
            let mut client = KeptClient::connect(app.http.unwrap()).await;
            client.send("POST / HTTP/1.1\r\nHost: x\r\n").await;
            client.send(&framing).await;
            for part in vec![b'y'; BYTES].chunks(64 * 1024) {
                client.send(part).await;
            }
            client.send(end).await;
            assert_eq!(client.answer().await.status, status, "{listener} {framing}");
            cases += 1;
        }
    }
    assert_eq!(cases, 4);
}

#[tokio::test]
async fn a_grpc_stream_may_be_longer_than_any_of_its_messages() {
    const LIMIT: usize = 16 * 1024;
    let reply = Reply::body("")
        .header("content-type", "application/grpc")
        .trailer("grpc-status", "0");
    let backend = Http2Backend::start(Http2Script::Reply(reply)).await;
    let listener = "    body_limit: 16KiB\n";
    let app = start_balancer(&[backend.url()], "", listener, "");
    let client = GrpcClient::connect(app.http.unwrap()).await;
    let message = |bytes: usize| framed(0, bytes, &vec![b'm'; bytes]);
    let call = async |messages: Vec<Bytes>| {
        let request = grpc_request("/any.Service/Stream");
        client.try_call(request, messages).await
    };
    let answer = call(vec![message(LIMIT); 20]).await.unwrap();
    assert_eq!(answer.code(), 0, "{answer:?}");
    let seen = backend.requests().remove(0);
    let whole = message(LIMIT).repeat(20);
    assert!(
        seen.body == whole,
        "{} of {} bytes",
        seen.body.len(),
        whole.len()
    );
    for before in [0, 5] {
        let mut messages = vec![message(100); before];
        messages.push(message(LIMIT + 1));
        let answer = call(messages).await.unwrap();
        assert_eq!(answer.code(), RESOURCE_EXHAUSTED, "{answer:?}");
    }
    eventually("none of them arrived whole", async || {
        let mut later = backend.requests().into_iter().skip(1);
        later.all(|seen| matches!(seen.end, RequestEnd::Reset(_)))
    })
    .await;
    assert_eq!(
        app.metric("weir_http_faults_total{cause=\"body_limit\"}")
            .await,
        2
    );
}
