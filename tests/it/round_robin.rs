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

use crate::support::{MoodyBackend, SteadyClient, TestApp, eventually, start_balancer};

const CLIENTS: usize = 64;
const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 2 }\n";

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
    let (mut stretches, mut total) = (0, 0);
    for requests in REQUESTS {
        for available in [4, 3] {
            let before = counts(&backends);
            clients = stretch(clients, requests).await;
            let after = counts(&backends);
            let shares: Vec<usize> = after
                .iter()
                .zip(&before)
                .map(|(after, before)| after - before)
                .collect();
            let (in_turn, out) = shares.split_at(available);
            let (least, most) = (in_turn.iter().min(), in_turn.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
            assert_eq!(in_turn.iter().sum::<usize>(), requests, "{shares:?}");
            assert_eq!(out.iter().sum::<usize>(), 0, "{shares:?}");
            (stretches, total) = (stretches + 1, total + requests);
            // Nobody asks anything while this happens.
            if available == 4 {
                flapping.fall().await;
                app.until_metric(&flapping.metric("available"), 0).await;
            } else {
                flapping.rise();
                app.until_metric(&flapping.metric("available"), 1).await;
            }
        }
    }
    assert_eq!(stretches, 6);
    let answered = app.metric("weir_http_responses_total{class=\"2xx\"}").await;
    assert_eq!(answered, total as u64);
    assert_eq!(app.metric(&flapping.metric("falls_total")).await, 3);
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
