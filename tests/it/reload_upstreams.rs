//! Reloads change backends and listeners under requests that go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{End, KeptClient, Mood, MoodyBackend, SteadyClient, TestApp, eventually, get};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";
const REFUSED: &str = "weir_config_reloads_total{result=\"refused\"}";
const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 10, rise: 2 }\n";
/// For a machine that is busy: one lost probe decides where checks are new.
const UNHURRIED: &str = "    health_check: { http: /health, interval: 2s, timeout: 2s }\n";
const LISTENER: &str = "  - listen: 127.0.0.1:0\n    routes: [{ path: /, upstream: app }]\n";

/// One listener, and `app` with these backends and keys.
fn sections(backends: &[String], upstream: &str) -> String {
    with_listeners(LISTENER, backends, upstream)
}

fn with_listeners(listeners: &str, backends: &[String], upstream: &str) -> String {
    let backends = backends.join(", ");
    format!("http:\n{listeners}upstreams:\n  app:\n    backends: [{backends}]\n{upstream}")
}

fn plain(backend: &MoodyBackend) -> String {
    format!("\"{}\"", backend.url())
}

fn weighing(backend: &MoodyBackend, weight: usize) -> String {
    format!("{{ url: \"{}\", weight: {weight} }}", backend.url())
}

/// Reloads to these sections, which must be taken.
async fn reload(app: &TestApp, sections: &str) {
    let before = app.metric(OK).await;
    app.rewrite("", sections);
    app.reload().await;
    app.until_metric(OK, before + 1).await;
}

async fn started(sections: &str) -> (TestApp, SteadyClient) {
    let app = TestApp::start("", sections);
    eventually("readiness", async || app.readiness().await == 200).await;
    let client = SteadyClient::new(app.http.unwrap());
    (app, client)
}

/// Asks so often; returns how many of it each backend got.
async fn shares<const N: usize>(
    client: &mut SteadyClient,
    requests: usize,
    backends: [&MoodyBackend; N],
) -> [usize; N] {
    let before = backends.map(MoodyBackend::requests);
    for _ in 0..requests {
        client.body().await;
    }
    let mut shares = backends.map(MoodyBackend::requests);
    for (share, before) in shares.iter_mut().zip(before) {
        *share -= before;
    }
    shares
}

#[tokio::test]
async fn backends_weights_policy_and_checks_change_and_what_stays_is_kept() {
    let (a, b, c) = (
        MoodyBackend::start("a").await,
        MoodyBackend::start("b").await,
        MoodyBackend::start("c").await,
    );
    let two = [plain(&a), plain(&b)];
    let one_worker = format!("{CHECKED}workers: 1\n");
    let (app, mut client) = started(&sections(&two, &one_worker)).await;
    assert_eq!(shares(&mut client, 10, [&a, &b, &c]).await, [5, 5, 0]);
    // From here on without probes, whose connections would be counted.
    let unchecked = "workers: 1\n";
    reload(&app, &sections(&two, unchecked)).await;
    assert_eq!(shares(&mut client, 10, [&a, &b, &c]).await, [5, 5, 0]);
    let connections = (a.connections(), b.connections());
    let probes = a.probes();

    let three = [plain(&a), plain(&b), plain(&c)];
    reload(&app, &sections(&three, unchecked)).await;
    assert_eq!(shares(&mut client, 12, [&a, &b, &c]).await, [4, 4, 4]);
    let weighted = [weighing(&a, 3), plain(&b)];
    reload(&app, &sections(&weighted, unchecked)).await;
    assert_eq!(shares(&mut client, 12, [&a, &b, &c]).await, [9, 3, 0]);
    let least = "    balance: least_connections\nworkers: 1\n";
    reload(&app, &sections(&two, least)).await;
    a.set(Mood::Waiting);
    let http = app.http.unwrap();
    let before = a.requests() + b.requests();
    let hanging: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { SteadyClient::new(http).body().await }))
        .collect();
    eventually("both were sent", async || {
        a.requests() + b.requests() == before + 2
    })
    .await;
    app.until_metric(&a.metric("in_flight"), 1).await;
    app.until_metric(&b.metric("in_flight"), 0).await;
    assert_eq!(shares(&mut client, 10, [&a, &b, &c]).await[0], 0);
    a.set(Mood::Good);
    for hanging in hanging {
        hanging.await.unwrap();
    }

    // All of it over the connections that were there, but for the two that hung at a time.
    assert_eq!(a.probes(), probes);
    assert!(a.connections() <= connections.0 + 1, "{}", a.connections());
    assert!(b.connections() <= connections.1 + 1, "{}", b.connections());
    let counted = app.metric(&a.metric("responses_total")).await;
    assert_eq!(counted, a.requests() as u64);

    // Checks come back, and count at once.
    a.answer_probes_by(500);
    reload(&app, &sections(&two, &one_worker)).await;
    app.until_metric(&a.metric("available"), 0).await;
    assert_eq!(shares(&mut client, 10, [&a, &b, &c]).await, [0, 10, 0]);
    let other = "    health_check: { tcp: true, interval: 100ms }\nworkers: 1\n";
    reload(&app, &sections(&two, other)).await;
    app.until_metric(&a.metric("available"), 1).await;
    eventually("nothing is kept of what was removed", async || {
        c.open_connections() == 0
    })
    .await;
}

/// A port that was free a moment ago.
async fn free_listener() -> String {
    let addr = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    format!("  - listen: {addr}\n    routes: [{{ path: /, upstream: app }}]\n")
}

fn addr_of(listener: &str) -> std::net::SocketAddr {
    let addr = listener.split("listen: ").nth(1).unwrap();
    addr.lines().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn listeners_come_and_go_and_requests_on_them_finish() {
    let backend = MoodyBackend::start("x").await;
    let (app, mut client) = started(&sections(&[plain(&backend)], "")).await;
    let listener = free_listener().await;
    let both = with_listeners(&format!("{LISTENER}{listener}"), &[plain(&backend)], "");
    reload(&app, &both).await;
    let second = addr_of(&listener);
    let mut on_second = SteadyClient::new(second);
    assert_eq!(on_second.body().await, "x");
    assert_eq!(client.body().await, "x");
    backend.set(Mood::Waiting);
    let in_flight = tokio::spawn(async move { on_second.body().await });
    app.until_metric(&backend.metric("in_flight"), 1).await;
    reload(&app, &sections(&[plain(&backend)], "")).await;
    eventually("it is closed", async || {
        TcpStream::connect(second).await.is_err()
    })
    .await;
    backend.set(Mood::Good);
    assert_eq!(in_flight.await.unwrap(), "x");
    assert_eq!(client.body().await, "x");
    // And it may come back.
    reload(&app, &both).await;
    assert_eq!(SteadyClient::new(second).body().await, "x");
}

/// They are answered as if it were still there, and told to leave: no request fails.
#[tokio::test]
async fn kept_connections_of_a_removed_listener_are_answered_and_closed() {
    let backend = MoodyBackend::start("x").await;
    let listener = free_listener().await;
    let both = with_listeners(&format!("{LISTENER}{listener}"), &[plain(&backend)], "");
    let (app, _) = started(&both).await;
    let mut kept = KeptClient::connect(addr_of(&listener)).await;
    kept.send(get("/")).await;
    assert!(!kept.head().await.contains("connection: close"));
    assert_eq!(kept.text(1).await, "x");
    reload(&app, &sections(&[plain(&backend)], "")).await;
    kept.send(get("/")).await;
    let head = kept.head().await;
    assert!(
        head.starts_with("http/1.1 200") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(kept.rest().await, (b"x".to_vec(), End::Closed));
}

#[tokio::test]
async fn a_listener_whose_port_is_taken_refuses_the_reload() {
    let (old, new) = (
        MoodyBackend::start("old").await,
        MoodyBackend::start("new").await,
    );
    let (app, mut client) = started(&sections(&[plain(&old)], "")).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = format!(
        "  - listen: {}\n    routes: [{{ path: /, upstream: app }}]\n",
        taken.local_addr().unwrap()
    );
    let free = free_listener().await;
    // Two are new and one can be had: neither is opened.
    let listeners = format!("{LISTENER}{free}{listener}");
    app.rewrite("", &with_listeners(&listeners, &[plain(&new)], ""));
    app.reload().await;
    app.until_metric(REFUSED, 1).await;
    for _ in 0..5 {
        assert_eq!(client.body().await, "old");
    }
    assert!(TcpStream::connect(addr_of(&free)).await.is_err());
    drop(taken);
    app.reload().await;
    app.until_metric(OK, 1).await;
    assert_eq!(client.body().await, "new");
    assert_eq!(SteadyClient::new(addr_of(&listener)).body().await, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let (a, b, c) = (
        MoodyBackend::start("a").await,
        MoodyBackend::start("b").await,
        MoodyBackend::start("c").await,
    );
    let variants = [
        sections(&[plain(&a), plain(&b), plain(&c)], UNHURRIED),
        sections(&[plain(&a), plain(&b)], "    balance: random_two\n"),
        sections(&[weighing(&a, 5), weighing(&c, 2)], UNHURRIED),
        sections(&[plain(&a), plain(&c)], "    balance: least_connections\n"),
        sections(
            &[plain(&b), plain(&a)],
            "    balance: consistent_hash\n    hash_by: path\n",
        ),
    ];
    let (app, _) = started(&variants[0]).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let (mut client, over) = (SteadyClient::new(app.http.unwrap()), Arc::clone(&over));
        asking.spawn(async move {
            let (mut answers, mut failed) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                match client.get("/").await {
                    Ok((200, _)) => answers += 1,
                    other => failed.push(other),
                }
            }
            (answers, failed)
        });
    }
    let mut counted = 0;
    for round in 1..=100 {
        reload(&app, &variants[round % variants.len()]).await;
        let responses = app.metric(&a.metric("responses_total")).await;
        assert!(responses >= counted, "round {round}");
        counted = responses;
    }
    over.store(true, Ordering::Relaxed);
    let (mut answers, mut failed) = (0, Vec::new());
    for (of_one, failed_of_one) in asking.join_all().await {
        answers += of_one;
        failed.extend(failed_of_one);
    }
    let some = &failed[..failed.len().min(5)];
    assert!(failed.is_empty(), "{} of {answers}: {some:?}", failed.len());
    let sum = a.requests() + b.requests() + c.requests();
    assert_eq!(answers, sum);
    assert_eq!(
        app.metric(&a.metric("responses_total")).await,
        a.requests() as u64
    );
}
