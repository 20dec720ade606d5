//! A stop loses no call and always ends.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use weir::{control::DrainReport, proto};

use crate::support::{GrpcClient, TestApp, VIDEO, eventually, framed_call, grpc_request, read};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_silent_connection_does_not_delay_the_stop() {
    let app = TestApp::plain();
    let _silent = TcpStream::connect(app.redirect).await.unwrap();
    let mut half_open = TcpStream::connect(app.redirect).await.unwrap();
    half_open.write_all(b"PRI * HT").await.unwrap();
    let mut no_settings = TcpStream::connect(app.redirect).await.unwrap();
    no_settings
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut half_a_head = TcpStream::connect(app.redirect).await.unwrap();
    half_a_head.write_all(b"GET /redirect HT").await.unwrap();
    app.until_metric("weir_connections_total{protocol=\"http2\"}", 1)
        .await;
    let began = Instant::now();
    app.stop().await;
    let report = app.stopped().await;
    assert_eq!(
        report,
        DrainReport {
            in_flight: 0,
            finished: 0,
            cut: 0
        }
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn calls_in_flight_finish_after_the_goaway() {
    let app = TestApp::plain();
    let redirect = app.redirect;
    let client = GrpcClient::connect(redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    app.until_metric("weir_calls_in_flight", 1).await;
    app.stop().await;
    eventually("listeners are closed", async || {
        TcpStream::connect(redirect).await.is_err()
    })
    .await;
    send.send_data(framed_call(VIDEO), true).unwrap();
    assert_eq!(read(response.await.unwrap()).await.unwrap().code(), 0);
    drop(requests);
    assert_eq!(
        app.stopped().await,
        DrainReport {
            in_flight: 1,
            finished: 1,
            cut: 0
        }
    );
    timeout(PATIENCE, client.connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_deadline_cuts_what_is_left_and_says_so() {
    let app = TestApp::start(
        "",
        "drain: { lame_duck: 0s, quiet: 50ms, timeout: 300ms }\n",
    );
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, _send) = requests
        .send_request(grpc_request(proto::REDIRECT_PATH), false)
        .unwrap();
    app.until_metric("weir_calls_in_flight", 1).await;
    app.stop().await;
    assert_eq!(
        app.stopped().await,
        DrainReport {
            in_flight: 1,
            finished: 0,
            cut: 1
        }
    );
    assert!(timeout(PATIENCE, response).await.unwrap().is_err());
}

#[tokio::test]
async fn a_second_stop_ends_at_once() {
    let app = TestApp::start("", "drain: { lame_duck: 1m, quiet: 1m, timeout: 1m }\n");
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
    app.stop().await;
    eventually("readiness is red", async || app.readiness().await == 503).await;
    app.stop().await;
    assert_eq!(app.stopped().await.cut, 0);
}

#[tokio::test]
async fn the_lame_duck_time_ends_early_when_nobody_connects() {
    let app = TestApp::start("", "drain: { lame_duck: 1m, quiet: 100ms, timeout: 10s }\n");
    app.stop().await;
    app.stopped().await;
}

#[tokio::test]
async fn new_connections_are_served_during_the_lame_duck_time() {
    let app = TestApp::start("", "drain: { lame_duck: 10s, quiet: 10s, timeout: 10s }\n");
    app.stop().await;
    eventually("readiness is red", async || app.readiness().await == 503).await;
    let client = GrpcClient::connect(app.redirect).await;
    assert_eq!(client.redirect(VIDEO).await.code(), 0);
}

/// Reads one HTTP/1.1 answer without a body.
async fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn an_idle_http1_connection_gets_one_last_answer() {
    let app = TestApp::start("", "drain: { lame_duck: 0s, quiet: 1s, timeout: 10s }\n");
    let redirect = app.redirect;
    let request = format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = TcpStream::connect(redirect).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(!answer(&mut stream).await.contains("connection: close"));
    app.stop().await;
    eventually("listeners are closed", async || {
        TcpStream::connect(redirect).await.is_err()
    })
    .await;
    // Had it been closed at once, this request would be lost.
    stream.write_all(request.as_bytes()).await.unwrap();
    let last = answer(&mut stream).await;
    assert!(
        last.starts_with("HTTP/1.1 302") && last.contains("connection: close\r\n"),
        "{last}"
    );
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(
        app.stopped().await,
        DrainReport {
            in_flight: 0,
            finished: 1,
            cut: 0
        }
    );
}

#[tokio::test]
async fn a_health_watch_does_not_delay_the_stop() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let watch = grpc_request("/grpc.health.v1.Health/Watch");
    let (response, mut send) = requests.send_request(watch, false).unwrap();
    send.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut updates = response.await.unwrap().into_body();
    let first = updates.data().await.unwrap().unwrap();
    assert_eq!(first.last(), Some(&1), "serving");
    let began = Instant::now();
    app.stop().await;
    let second = timeout(PATIENCE, updates.data())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(second.last(), Some(&2), "not serving");
    app.stopped().await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_no_call() {
    let app = TestApp::start(
        "",
        "drain: { lame_duck: 200ms, quiet: 100ms, timeout: 10s }\n",
    );
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = GrpcClient::connect(app.redirect).await;
        clients.spawn(async move {
            let mut answered = 0;
            loop {
                // A GOAWAY is the word to go elsewhere; only what was sent must be answered.
                let Ok(mut requests) = client.requests.clone().ready().await else {
                    return answered;
                };
                let Ok((response, mut send)) =
                    requests.send_request(grpc_request(proto::REDIRECT_PATH), false)
                else {
                    return answered;
                };
                send.send_data(framed_call(VIDEO), true).unwrap();
                match response.await {
                    Ok(response) => assert_eq!(read(response).await.unwrap().code(), 0),
                    // Refused before it was looked at: the client may repeat it anywhere.
                    Err(error)
                        if error.reason() == Some(h2::Reason::REFUSED_STREAM)
                            || error.is_go_away() =>
                    {
                        return answered;
                    }
                    Err(error) => panic!("lost after {answered} calls: {error}"),
                }
                answered += 1;
            }
        });
    }
    eventually("load", async || {
        app.metric("weir_call_duration_seconds_count").await > 2_000
    })
    .await;
    app.stop().await;
    let report = app.stopped().await;
    assert_eq!(report.cut, 0);
    let mut answered = 0;
    while let Some(client) = clients.join_next().await {
        answered += client.unwrap();
    }
    assert!(answered > 2_000);
}
