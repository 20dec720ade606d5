//! Round robin over the whole process: exact while nothing changes, and without an error while it
//! does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::support::{MoodyBackend, SteadyClient, TestApp, eventually, metric, start_balancer};

const CLIENTS: usize = 64;
/// Many in a row make it unhealthy, so that a busy machine's lost probes do not.
const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 10, rise: 2 }\n";

/// Backends, the last of which will flap, and a balancer that knows them all.
async fn start(names: &[&'static str]) -> (Vec<MoodyBackend>, TestApp) {
    let mut backends = Vec::new();
    for name in names {
        backends.push(MoodyBackend::start(name).await);
    }
    let urls: Vec<String> = backends.iter().map(MoodyBackend::url).collect();
    let app = start_balancer(&urls, CHECKED, "", "workers: 4\n");
    for backend in &backends {
        app.until_metric(&backend.metric("available"), 1).await;
    }
    (backends, app)
}

/// As many requests by all clients together, each on its connection; returns the clients.
async fn stretch(clients: Vec<SteadyClient>, requests: usize) -> Vec<SteadyClient> {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for mut client in clients {
        let taken = Arc::clone(&taken);
        asking.spawn(async move {
            while taken.fetch_add(1, Ordering::Relaxed) < requests {
                client.body().await;
            }
            client
        });
    }
    asking.join_all().await
}

fn counts(backends: &[MoodyBackend]) -> Vec<usize> {
    backends.iter().map(MoodyBackend::requests).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stretch_between_transitions_is_exact() {
    const REQUESTS: [usize; 3] = [1_000, 1_001, 1_003];
    let (backends, app) = start(&["a", "b", "c", "flapping"]).await;
    let flapping = backends.last().unwrap();
    let http = app.http.unwrap();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| SteadyClient::new(http)).collect();
    let (mut stretches, mut exact, mut total) = (0, 0, 0);
    for (requests, available) in REQUESTS.into_iter().cycle().zip([4, 3].into_iter().cycle()) {
        let before = (counts(&backends), transitions(&app, &backends).await);
        clients = stretch(clients, requests).await;
        let after = (counts(&backends), transitions(&app, &backends).await);
        (stretches, total) = (stretches + 1, total + requests);
        let shares = after.0.iter().zip(&before.0);
        let shares: Vec<usize> = shares.map(|(after, before)| after - before).collect();
        assert_eq!(shares.iter().sum::<usize>(), requests, "{shares:?}");
        // A machine that is too busy for a probe may make one that is not ours.
        if after.1 == before.1 {
            let (in_turn, out) = shares.split_at(available);
            let (least, most) = (in_turn.iter().min(), in_turn.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
            assert_eq!(out.iter().sum::<usize>(), 0, "{shares:?}");
            exact += 1;
        }
        if exact == 6 {
            break;
        }
        assert!(stretches < 20, "only {exact} were without a transition");
        // Nobody asks anything while this happens.
        if available == 4 {
            flapping.fall().await;
            app.until_metric(&flapping.metric("available"), 0).await;
        } else {
            flapping.rise();
            for backend in &backends {
                app.until_metric(&backend.metric("available"), 1).await;
            }
        }
    }
    let answered = app
        .metric("weir_http_responses_total{upstream=\"app\",class=\"2xx\"}")
        .await;
    assert_eq!(answered, total as u64);
}

/// How often a backend came or went.
async fn transitions(app: &TestApp, backends: &[MoodyBackend]) -> u64 {
    let page = app.metrics().await;
    let of = |backend: &MoodyBackend, name| metric(&page, &backend.metric(name));
    let names = ["falls_total", "recoveries_total", "ejections_total"];
    let all = backends
        .iter()
        .flat_map(|backend| names.map(|name| of(backend, name)));
    all.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_notices_a_flapping_backend() {
    let (backends, app) = start(&["a", "b", "flapping"]).await;
    let flapping = backends.last().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..CLIENTS {
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
    let began = Instant::now();
    let mut falls = 0;
    while began.elapsed() < Duration::from_secs(4) || falls < 3 {
        flapping.fall().await;
        falls += 1;
        app.until_metric(&flapping.metric("falls_total"), falls)
            .await;
        let before = flapping.requests();
        flapping.rise();
        eventually("it gets requests again", async || {
            flapping.requests() > before + 10
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    let (mut answers, mut failed) = (0, Vec::new());
    for (of_one, failed_of_one) in asking.join_all().await {
        answers += of_one;
        failed.extend(failed_of_one);
    }
    assert!(
        failed.is_empty(),
        "{} of {answers}, {falls} falls: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    let [a, b] = [backends[0].requests(), backends[1].requests()];
    assert!(answers >= a + b && a > 0 && b > 0, "{answers} {a} {b}");
}
