//! `OPTIONS *` asks about the server and not about a resource (RFC 9110 section 9.3.7).

use crate::support::{
    KeptClient, RecordingBackend,
    raw_http2::{GET, Outcome, RawHttp2, headers},
    start_balancer,
};

#[tokio::test]
async fn the_balancer_answers_it_itself_and_the_connection_goes_on() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    for _ in 0..2 {
        client
            .send("OPTIONS * HTTP/1.1\r\nHost: web.example\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("\r\nallow: "), "{answer:?}");
        assert!(!answer.head.contains("connection: close"), "{answer:?}");
        assert_eq!(client.get("/next").await.body, "fine");
    }
    let targets: Vec<String> = backend
        .requests()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(targets, ["/next", "/next"]);
}

#[tokio::test]
async fn the_same_over_http2() {
    let backend = RecordingBackend::replying("fine").await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    let whole = [(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")];
    client.send(&headers(1, true, &whole)).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    assert_eq!(backend.connections(), 0);
    client.send(&headers(3, true, &GET)).await;
    assert_eq!(client.outcome(3).await, Outcome::Status(200));
    assert_eq!(backend.requests().len(), 1);
}
