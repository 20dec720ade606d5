//! Every tenth accepted call goes to the origin: exactly, whatever the clients do.

use std::collections::HashMap;

use tokio::task::JoinSet;

use crate::support::{GrpcClient, TestApp, VIDEO, eventually, http1};

const CDN: &str = "http://cdn.example.com/s1/video/123/xcg2djHckad.m3u8";

#[tokio::test(flavor = "multi_thread")]
async fn every_tenth_of_100_000_mixed_calls_goes_to_the_origin() {
    const CLIENTS: usize = 64;
    const CONNECTIONS: usize = 16;
    const CALLS: usize = 100_000;
    let app = TestApp::start("", "workers: 4\n");
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(GrpcClient::connect(app.redirect).await);
    }
    let connections = std::sync::Arc::new(connections);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let connections = std::sync::Arc::clone(&connections);
        clients.spawn(async move {
            let mut answers: HashMap<String, u64> = HashMap::new();
            let first = client * CALLS / CLIENTS;
            let last = (client + 1) * CALLS / CLIENTS;
            for call in first..last {
                // Every seventh is refused, for one of three reasons.
                let video = match call % 21 {
                    0 => "ftp://s1.origin-cluster/x",
                    7 => "http://s1.elsewhere/x",
                    14 => "",
                    _ => VIDEO,
                };
                let answer = connections[client % CONNECTIONS].redirect(video).await;
                let kind = if answer.code() == 0 {
                    answer.address()
                } else {
                    answer.code().to_string()
                };
                *answers.entry(kind).or_default() += 1;
            }
            answers
        });
    }
    let mut total: HashMap<String, u64> = HashMap::new();
    while let Some(answers) = clients.join_next().await {
        for (kind, count) in answers.unwrap() {
            *total.entry(kind).or_default() += count;
        }
    }
    let count = |kind: &str| total.get(kind).copied().unwrap_or(0);
    let accepted = count(VIDEO) + count(CDN);
    assert_eq!(
        accepted + count("3") + count("7"),
        CALLS as u64,
        "{total:?}"
    );
    assert_eq!(count(VIDEO), accepted / 10, "{total:?}");
    let page = app.metrics().await;
    let metric = |name| crate::support::metric(&page, name);
    assert_eq!(
        metric("weir_redirects_total{target=\"origin\"}"),
        accepted / 10
    );
    assert_eq!(
        metric("weir_redirects_total{target=\"cdn\"}"),
        accepted - accepted / 10
    );
    assert_eq!(
        metric("weir_redirect_rejected_total{reason=\"host_not_allowed\"}"),
        count("7")
    );
    let invalid = metric("weir_redirect_rejected_total{reason=\"scheme\"}")
        + metric("weir_redirect_rejected_total{reason=\"empty\"}");
    assert_eq!(invalid, count("3"));
    assert_eq!(metric("weir_call_duration_seconds_count"), CALLS as u64);
}

#[tokio::test]
async fn turns_are_in_order_on_one_connection() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    for turn in 1..=40 {
        assert_eq!(client.redirect("http://s1.elsewhere/x").await.code(), 7);
        let expected = if turn % 10 == 0 { VIDEO } else { CDN };
        assert_eq!(
            client.redirect(VIDEO).await.address(),
            expected,
            "turn {turn}"
        );
    }
}

#[tokio::test]
async fn calls_sent_together_are_answered_in_their_order() {
    let app = TestApp::plain();
    let client = GrpcClient::connect(app.redirect).await;
    let calls: Vec<_> = (0..30).map(|_| client.redirect(VIDEO)).collect();
    let mut origin_turns = Vec::new();
    for (index, answer) in futures_util::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        if answer.address() == VIDEO {
            origin_turns.push(index + 1);
        }
    }
    assert_eq!(origin_turns, [10, 20, 30]);
}

#[tokio::test]
async fn both_faces_share_the_turns() {
    let app = TestApp::start("  origin_every: 3\n", "");
    let client = GrpcClient::connect(app.redirect).await;
    let request =
        format!("GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for _ in 0..5 {
        assert_eq!(client.redirect(VIDEO).await.address(), CDN);
        let (head, _) = http1(app.redirect, &request).await;
        assert!(head.contains(&format!("location: {CDN}\r\n")), "{head}");
        assert_eq!(client.redirect(VIDEO).await.address(), VIDEO);
    }
}

#[tokio::test]
async fn eight_connections_are_spread_over_two_workers() {
    for _ in 0..5 {
        let app = TestApp::plain();
        let mut clients = Vec::new();
        for _ in 0..8 {
            let client = GrpcClient::connect(app.redirect).await;
            assert_eq!(client.redirect(VIDEO).await.code(), 0);
            clients.push(client);
        }
        eventually("8 connections, at most 5 on a worker", async || {
            let page = app.metrics().await;
            let open = ["0", "1"].map(|worker| {
                crate::support::metric(
                    &page,
                    &format!("weir_connections_open{{worker=\"{worker}\"}}"),
                )
            });
            open.iter().sum::<u64>() == 8 && open.iter().all(|&open| open <= 5)
        })
        .await;
    }
}
