//! What is known of backends when a reload comes, and what is done before anything is known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet, time::timeout};

use crate::support::{MoodyBackend, SteadyClient, TestApp, eventually};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";

/// `app` with these backends, of which each is probed once a minute.
fn sections(backends: &[String]) -> String {
    let backends = backends.join(", ");
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [{backends}]\n    \
         health_check: {{ http: /health, interval: 60s }}\n"
    )
}

fn plain(backend: &MoodyBackend) -> String {
    format!("\"{}\"", backend.url())
}

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

/// With an interval this long, whoever had to be probed anew would be missed.
#[tokio::test]
async fn a_reload_asks_no_unchanged_backend_for_its_health() {
    let (a, b, c) = (
        MoodyBackend::start("a").await,
        MoodyBackend::start("b").await,
        MoodyBackend::start("c").await,
    );
    let (app, mut client) = started(&sections(&[plain(&a), plain(&b)])).await;
    assert_eq!((a.probes(), b.probes()), (1, 1));
    for round in 1..=5 {
        let backends = [
            plain(&c),
            format!("{{ url: \"{}\", weight: {round} }}", a.url()),
            plain(&b),
        ];
        reload(&app, &sections(&backends)).await;
        client.body().await;
        reload(&app, &sections(&[plain(&b), plain(&a)])).await;
        let before = (a.requests(), b.requests());
        for _ in 0..10 {
            client.body().await;
        }
        let shares = (a.requests() - before.0, b.requests() - before.1);
        assert_eq!(shares, (5, 5));
    }
    assert_eq!((a.probes(), b.probes()), (1, 1));
}

/// As where one set of backends takes over from another: the new ones are not known yet, which is
/// no reason to refuse anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_to_other_backends_refuses_nobody() {
    let (blue, green) = (
        MoodyBackend::start("blue").await,
        MoodyBackend::start("green").await,
    );
    let (app, mut client) = started(&sections(&[plain(&blue)])).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..8 {
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
    for _ in 0..10 {
        for (backend, name) in [(&green, "green"), (&blue, "blue")] {
            reload(&app, &sections(&[plain(backend)])).await;
            app.until_metric(&backend.metric("available"), 1).await;
            assert_eq!(client.body().await, name);
        }
    }
    over.store(true, Ordering::Relaxed);
    let (mut answers, mut failed) = (0, Vec::new());
    for (of_one, failed_of_one) in asking.join_all().await {
        answers += of_one;
        failed.extend(failed_of_one);
    }
    let some = &failed[..failed.len().min(3)];
    assert!(failed.is_empty(), "{} of {answers}: {some:?}", failed.len());
}

/// Who was not probed while it was disabled is not well because it was well once.
#[tokio::test]
async fn who_is_enabled_again_is_probed_before_it_gets_requests() {
    let good = MoodyBackend::start("good").await;
    // Takes connections and says nothing, as what is still starting may do.
    let starting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", starting.local_addr().unwrap());
    let of_state = |state: &str| {
        let other = format!("{{ url: \"{url}\", state: {state} }}");
        sections(&[plain(&good), other])
    };
    let (app, mut client) = started(&of_state("disabled")).await;
    assert_eq!(client.body().await, "good");
    reload(&app, &of_state("enabled")).await;
    for _ in 0..4 {
        let said = timeout(Duration::from_millis(500), client.body()).await;
        assert_eq!(said.as_deref(), Ok("good"));
    }
}

/// Other checks ask the same backend: as many must fail in a row as ever.
#[tokio::test]
async fn a_change_of_checks_makes_no_single_probe_decide() {
    let backend = MoodyBackend::start("x").await;
    let before = sections(&[plain(&backend)]);
    let (app, mut client) = started(&before).await;
    assert_eq!(client.body().await, "x");
    let probes = backend.probes();
    backend.answer_probes_by(500);
    reload(
        &app,
        &before.replace("interval: 60s", "interval: 100ms, fall: 1000"),
    )
    .await;
    eventually("it is probed", async || backend.probes() > probes + 2).await;
    assert_eq!(app.metric(&backend.metric("healthy")).await, 1);
    assert_eq!(client.body().await, "x");
}
