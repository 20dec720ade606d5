//! What limits are worth while the server that shares them gives no answer.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    fleet::{admitted, ask, member},
    support::{Authority, Link, Process, Redis, TestApp, TlsFront, weir},
};

const LIMIT: &str = "rate_limit: { capacity: 3, rate_per_sec: 0.001 }\n";

async fn statuses(app: &TestApp, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(ask(app.redirect).await);
    }
    statuses
}

fn url(link: &Link) -> String {
    format!("redis://{}", link.addr)
}

/// Nothing listens there.
fn without_redis(on_failure: &str) -> TestApp {
    let keys = format!("redis: {{ url: \"unix:///nowhere/redis.sock\", {on_failure} }}\n{LIMIT}");
    TestApp::start("", &keys)
}

#[tokio::test]
async fn a_process_starts_without_redis_and_its_own_buckets_take_over() {
    let app = without_redis("prefix: weir");
    assert_eq!(statuses(&app, 4).await, [302, 302, 302, 429]);
    assert_eq!(app.readiness().await, 200);
    assert_eq!(app.metric("weir_redis_up").await, 0);
}

#[tokio::test]
async fn allow_admits_all_and_deny_refuses_all() {
    let app = without_redis("on_failure: allow");
    assert_eq!(statuses(&app, 5).await, [302; 5]);
    let app = without_redis("on_failure: deny");
    assert_eq!(statuses(&app, 2).await, [429; 2]);
    let refused = r#"weir_rate_limited_total{limit="default",mode="enforce"}"#;
    assert_eq!(app.metric(refused).await, 2);
}

#[tokio::test]
async fn an_outage_is_logged_once_and_so_is_its_end() {
    let Some(mut redis) = Redis::start("an_outage_is_logged_once_and_so_is_its_end").await else {
        return;
    };
    let mut command = weir();
    command
        .arg("--cdn-host=cdn.example.com")
        .env("REDIS_URL", redis.url());
    redis.kill();
    let process = Process::spawn(command);
    let down = process.until_logged("Redis gives no answer");
    let told = down["message"].as_str().unwrap();
    assert!(
        told.ends_with("until it does, each process limits on its own"),
        "{told}"
    );
    redis.restart().await;
    process.until_logged("Redis answers; rate limits are shared");
    redis.kill();
    process.until_logged("Redis gives no answer");
}

/// A server that takes questions and gives no answer holds no request up.
#[tokio::test]
async fn requests_do_not_wait_for_redis() {
    let Some(redis) = Redis::start("requests_do_not_wait_for_redis").await else {
        return;
    };
    let link = Link::start(redis.socket()).await;
    let app = member(&url(&link), "", LIMIT).await;
    link.lose_answers();
    // Before the time of a report is over.
    assert_eq!(statuses(&app, 4).await, [302, 302, 302, 429]);
    app.until_metric("weir_redis_up", 0).await;
    link.pass_answers();
    app.until_metric("weir_redis_up", 1).await;
}

/// The report whose answer was lost counts once, as Redis says.
#[tokio::test]
async fn a_report_without_an_answer_is_not_repeated() {
    let Some(redis) = Redis::start("a_report_without_an_answer_is_not_repeated").await else {
        return;
    };
    let link = Link::start(redis.socket()).await;
    let app = member(&url(&link), "", LIMIT).await;
    link.lose_answers();
    assert_eq!(ask(app.redirect).await, 302);
    app.until_metric("weir_redis_up", 0).await;
    link.pass_answers();
    app.until_metric("weir_redis_up", 1).await;
    let other = member(&redis.url(), "", LIMIT).await;
    assert_eq!(admitted(&other, 4).await, 2);
}

/// A primary that became a replica refuses changes and keeps its connections.
#[tokio::test]
async fn a_demoted_primary_is_left() {
    let Some(redis) = Redis::start("a_demoted_primary_is_left").await else {
        return;
    };
    let app = member(&redis.url(), "", LIMIT).await;
    redis.run("REPLICAOF 127.0.0.1 1").await;
    app.until_metric("weir_redis_up", 0).await;
    assert_eq!(statuses(&app, 4).await, [302, 302, 302, 429]);
    redis.run("REPLICAOF NO ONE").await;
    app.until_metric("weir_redis_up", 1).await;
}

/// A server that lost its scripts gets them again; one that lost its data learns what processes know.
#[tokio::test]
async fn a_server_that_forgets_is_told_again() {
    let Some(redis) = Redis::start("a_server_that_forgets_is_told_again").await else {
        return;
    };
    let first = member(&redis.url(), "", LIMIT).await;
    assert_eq!(admitted(&first, 1).await, 1);
    redis.run("SCRIPT FLUSH").await;
    redis.run("FLUSHALL").await;
    assert_eq!(admitted(&first, 1).await, 1);
    let second = member(&redis.url(), "", LIMIT).await;
    assert_eq!(admitted(&second, 3).await, 1);
    assert_eq!(
        first
            .metric(r#"weir_redis_reports_total{result="failed"}"#)
            .await,
        0
    );
}

/// The node of a cluster that does not hold the buckets names the one that does.
#[tokio::test]
async fn the_node_that_holds_the_buckets_is_asked() {
    let Some(redis) = Redis::start("the_node_that_holds_the_buckets_is_asked").await else {
        return;
    };
    let link = Link::start(redis.socket()).await;
    let wrong = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", wrong.local_addr().unwrap());
    let holder = link.addr.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = wrong.accept().await {
            tokio::spawn(send_on(stream, holder.clone()));
        }
    });
    let app = member(&url, "", LIMIT).await;
    assert_eq!(admitted(&app, 4).await, 3);
}

/// Answers scripts as a node of a cluster that does not hold their keys.
async fn send_on(stream: TcpStream, holder: String) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        // A command is a list of texts, each after its length.
        let mut line = String::new();
        if lines.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let count: usize = line.trim_start_matches('*').trim().parse().unwrap();
        let mut name = String::new();
        for index in 0..count {
            let mut length = String::new();
            lines.read_line(&mut length).await.unwrap();
            let length: usize = length.trim_start_matches('$').trim().parse().unwrap();
            let mut text = vec![0; length + 2];
            lines.read_exact(&mut text).await.unwrap();
            if index == 0 {
                name = String::from_utf8(text).unwrap().trim().to_uppercase();
            }
        }
        let answer = match &*name {
            "EVALSHA" => format!("-MOVED 7000 {holder}\r\n"),
            _ => "+OK\r\n".to_owned(),
        };
        write.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The system's authorities count, or those that `SSL_CERT_FILE` names.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_tls_is_asked() {
    let Some(redis) = Redis::start("a_server_behind_tls_is_asked").await else {
        return;
    };
    let link = Link::start(redis.socket()).await;
    let authority = Authority::new();
    let tls = TlsFront::http1(authority.certify("localhost"), link.addr).await;
    let start = |trusted| {
        let mut command = weir();
        command.arg("--cdn-host=cdn.example.com").env(
            "REDIS_URL",
            format!("rediss://localhost:{}", tls.addr.port()),
        );
        if trusted {
            command.env("SSL_CERT_FILE", authority.file());
        }
        Process::spawn(command)
    };
    start(true).until_logged("Redis answers");
    let refused = start(false).until_logged("Redis gives no answer");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
}

/// The start waits for nothing: a server that is there answers soon, one that is not is no reason to
/// refuse players.
#[tokio::test]
async fn readiness_does_not_depend_on_redis() {
    let Some(redis) = Redis::start("readiness_does_not_depend_on_redis").await else {
        return;
    };
    let link = Link::start(redis.socket()).await;
    link.lose_answers();
    let keys = format!("redis: {{ url: \"{}\" }}\n{LIMIT}", url(&link));
    let app = TestApp::start("", &keys);
    let ready = tokio::time::timeout(Duration::from_secs(20), app.readiness());
    assert_eq!(ready.await.unwrap(), 200);
    assert_eq!(app.metric("weir_redis_up").await, 0);
}
