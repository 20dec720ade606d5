//! Several processes that share their rate limits by a server of Redis.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustix::process::Signal;
use sqlx::Executor as _;
use tokio::time::Instant;
use weir::store::migrations;

use crate::support::{
    FakeBackend, Postgres, Process, Redis, TestApp, VIDEO, eventually, http1, metric, weir,
};

const SLOW: &str = "rate_per_sec: 0.001";

/// An application of a fleet whose link is up.
pub async fn member(url: &str, redirect_keys: &str, sections: &str) -> TestApp {
    let app = TestApp::start(
        redirect_keys,
        &format!("redis: {{ url: \"{url}\" }}\n{sections}"),
    );
    app.until_metric("weir_redis_up", 1).await;
    app
}

/// The status that a player gets of the redirect service.
pub async fn ask(addr: SocketAddr) -> u16 {
    let request = format!(
        "GET /redirect?video={VIDEO} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let (head, _) = http1(addr, &request).await;
    head[9..12].parse().unwrap()
}

/// Asks some times, and each time waits until the others can know. Returns how many were admitted.
pub async fn admitted(app: &TestApp, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        let reported = app.metric("weir_redis_buckets_total").await;
        if ask(app.redirect).await == 302 {
            admitted += 1;
            eventually("it is reported", async || {
                app.metric("weir_redis_buckets_total").await > reported
            })
            .await;
        }
    }
    admitted
}

#[tokio::test]
async fn two_processes_share_one_bucket() {
    let Some(redis) = Redis::start("two_processes_share_one_bucket").await else {
        return;
    };
    let limit = format!("rate_limit: {{ capacity: 20, {SLOW} }}\n");
    let first = member(&redis.url(), "", &limit).await;
    let second = member(&redis.url(), "", &limit).await;
    assert_eq!(admitted(&first, 12).await, 12);
    assert_eq!(admitted(&second, 12).await, 8);
    // It does not know yet that nothing is left, and is told so by its next report.
    assert_eq!(admitted(&first, 12).await, 8 - 7);
}

/// A registered client, and limits of a listener and the redirect service.
#[tokio::test]
async fn all_buckets_are_shared_under_names_that_all_processes_know() {
    let test = "all_buckets_are_shared_under_names_that_all_processes_know";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let backend = FakeBackend::replying("fine").await;
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/weir.db", directory.path().display());
    let limit = format!("rate_limit: {{ capacity: 5, {SLOW} }}");
    let sections = format!(
        "{limit}\ndatabase: \"{database}\"\nhttp:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /api, upstream: app, {limit} }}]\nupstreams:\n  app: {{ backends: [\"http://{}\"] }}\n",
        backend.addr
    );
    let app = member(&redis.url(), &format!("  {limit}"), &sections).await;
    assert_eq!(admitted(&app, 1).await, 1);
    let own = "{\"client_id\":\"desk\",\"capacity\":5,\"rate_per_sec\":0.001,\"networks\":[\"127.0.0.0/8\"]}";
    let request = format!(
        "POST /api/v1/clients HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{own}",
        own.len()
    );
    let (head, _) = http1(app.admin, &request).await;
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    app.until_metric("weir_rate_limit_clients{kind=\"registered\"}", 1)
        .await;
    assert_eq!(admitted(&app, 1).await, 1);
    let request = "GET /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    http1(app.http.unwrap(), request).await;
    let expected = [
        "{weir}:127.0.0.1:0 */api:client:desk",
        "{weir}:default:address:127.0.0.1",
        "{weir}:own:client:desk",
        "{weir}:probe",
        "{weir}:redirect:address:127.0.0.1",
        "{weir}:redirect:client:desk",
    ];
    eventually("all are there", async || redis.keys().await == expected).await;
}

/// What other processes took from a registered client's bucket counts here.
#[tokio::test]
async fn a_registered_client_has_one_bucket_in_all_processes() {
    let test = "a_registered_client_has_one_bucket_in_all_processes";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let sections = format!(
        "database: \"sqlite://{}/weir.db\"\n",
        directory.path().display()
    );
    let first = member(&redis.url(), "", &sections).await;
    let second = member(&redis.url(), "", &sections).await;
    let own = "{\"client_id\":\"127.0.0.1\",\"capacity\":10,\"rate_per_sec\":0.001}";
    let request = format!(
        "POST /api/v1/clients HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{own}",
        own.len()
    );
    http1(first.admin, &request).await;
    for app in [&first, &second] {
        app.until_metric("weir_rate_limit_clients{kind=\"registered\"}", 1)
            .await;
    }
    assert_eq!(admitted(&first, 7).await, 7);
    assert_eq!(admitted(&second, 7).await, 3);
}

/// Admits in one process while another one is killed, and while PostgreSQL and Redis are killed and come
/// back. No request gets another answer than 302 and 429.
#[tokio::test]
async fn a_limit_holds_while_processes_and_servers_die() {
    let test = "a_limit_holds_while_processes_and_servers_die";
    let Some(mut redis) = Redis::start(test).await else {
        return;
    };
    let Some(mut postgres) = Postgres::start(test).await else {
        return;
    };
    migrations::up(&postgres.database()).await.unwrap();
    let own =
        "INSERT INTO clients (client_id, capacity, rate_per_sec) VALUES ('127.0.0.1', 20, 100)";
    postgres.connect().await.execute(own).await.unwrap();
    let start = || {
        let mut command = weir();
        command
            .args(["--cdn-host=cdn.example.com", "--workers=2"])
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url());
        Process::spawn(command)
    };
    let (first, second) = (start(), start());
    for process in [&first, &second] {
        until(
            process.admin,
            "weir_rate_limit_clients{kind=\"registered\"}",
            1,
        )
        .await;
        until(process.admin, "weir_redis_up", 1).await;
    }
    let both = [first.redirect, second.redirect];
    let (admitted, time) = flood(&both, async || tokio::time::sleep(PHASE).await).await;
    check(admitted, time, 3);

    let killed = async || first.signal(Signal::KILL);
    let (admitted, time) = flood(&both[1..], async || {
        killed().await;
        postgres.kill();
        until(second.admin, "weir_database_up", 0).await;
        tokio::time::sleep(PHASE).await;
        postgres.restart().await;
        until(second.admin, "weir_database_up", 1).await;
    })
    .await;
    check(admitted, time, 2);

    // Alone, it admits as much as the fleet may; after that, the fleet has lost its buckets.
    let (admitted, time) = flood(&both[1..], async || {
        redis.kill();
        until(second.admin, "weir_redis_up", 0).await;
        tokio::time::sleep(PHASE).await;
        redis.restart().await;
        until(second.admin, "weir_redis_up", 1).await;
        tokio::time::sleep(PHASE).await;
    })
    .await;
    check(admitted, time, 2);
}

/// At most the rate, and a burst for each of the buckets that may not know of each other for a moment.
#[track_caller]
fn check(admitted: usize, time: Duration, bursts: usize) {
    let by_rate = RATE * time.as_secs_f64();
    let most = by_rate + (bursts * BURST) as f64;
    assert!(admitted as f64 <= most, "{admitted} of {most} in {time:?}");
    assert!(admitted as f64 >= by_rate / 2.0, "{admitted} in {time:?}");
}

/// Asks each address from four clients until `meanwhile` is over. Returns how many were admitted, and
/// how long it took.
async fn flood(addrs: &[SocketAddr], meanwhile: impl AsyncFnOnce()) -> (usize, Duration) {
    let (began, is_over) = (
        Instant::now(),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let client = |addr: SocketAddr| {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            let mut admitted = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                match ask(addr).await {
                    302 => admitted += 1,
                    status => assert_eq!(status, 429),
                }
            }
            admitted
        })
    };
    let clients: Vec<_> = addrs
        .iter()
        .flat_map(|&addr| (0..4).map(move |_| addr))
        .map(client)
        .collect();
    meanwhile().await;
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut admitted = 0;
    for client in clients {
        admitted += client.await.unwrap();
    }
    (admitted, began.elapsed())
}

async fn until(admin: SocketAddr, name: &str, value: u64) {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    eventually(&format!("{name} is {value}"), async || {
        metric(&http1(admin, request).await.1, name) == value
    })
    .await;
}

/// As the client is registered.
const BURST: usize = 20;
const RATE: f64 = 100.0;
const PHASE: Duration = Duration::from_secs(1);
