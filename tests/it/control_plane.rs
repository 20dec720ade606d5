//! The control plane under failures: it hears of everything, and takes nothing bad for good.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use tokio::{task::JoinSet, time::timeout};

use crate::support::{
    FakeBackend, KeptClient, Mood, MoodyBackend, Process, SteadyClient, TestApp, eventually, weir,
    yaml,
};

const OK: &str = "weir_config_reloads_total{result=\"ok\"}";

/// `app` before one backend, with more keys of it.
fn sections(url: &str, upstream: &str) -> String {
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [\"{url}\"]\n{upstream}"
    )
}

/// The only backend may not be ejected, so that it is suspected again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_backend_does_not_keep_a_change_from_being_loaded() {
    let refusing = format!("http://{}", FakeBackend::refusing().await);
    let alive = MoodyBackend::start("alive").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    let policy = "    ejection: { consecutive_failures: 1, base_time: 60s }\n";
    fs::write(&path, yaml("", &sections(&refusing, policy))).unwrap();
    let app = TestApp::watching(directory, path.clone(), || ());
    eventually("readiness", async || app.readiness().await == 200).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let (mut client, over) = (SteadyClient::new(app.http.unwrap()), Arc::clone(&over));
        asking.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let _any = client.get("/").await;
            }
        });
    }
    fs::write(&path, yaml("", &sections(&alive.url(), policy))).unwrap();
    let loaded = timeout(Duration::from_secs(10), app.until_metric(OK, 1)).await;
    over.store(true, Ordering::Relaxed);
    asking.join_all().await;
    loaded.expect("it is never loaded");
    let mut client = SteadyClient::new(app.http.unwrap());
    assert_eq!(client.body().await, "alive");
}

/// A disk that is full leaves such files; with a flag or a variable they would still be a whole
/// configuration, of a process that listens no more.
#[tokio::test]
async fn an_empty_file_is_refused() {
    let backend = MoodyBackend::start("x").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    fs::write(&path, sections(&backend.url(), "")).unwrap();
    let arguments = ["--cdn-host=cdn.example.com", "--config"];
    let arguments = [&arguments[..], &[path.to_str().unwrap()]].concat();
    let process = Process::start(&arguments);
    let mut client = SteadyClient::new(process.http.unwrap());
    for text in ["", "\n \n"] {
        fs::write(&path, text).unwrap();
        process.signal(Signal::HUP);
        process.until_logged("reload refused");
        assert_eq!(client.body().await, "x");
    }
}

async fn ask(addr: SocketAddr) -> String {
    KeptClient::connect(addr).await.get("/").await.body
}

#[tokio::test]
async fn two_listeners_on_ports_of_the_systems_choice_stay_over_reloads() {
    let (a, b) = (
        MoodyBackend::start("a").await,
        MoodyBackend::start("b").await,
    );
    let listener = |upstream: &str| {
        format!("  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: {upstream} }}]\n")
    };
    let of = |first: &str, second: &str| {
        format!(
            "http:\n{}{}upstreams:\n  a: {{ backends: [\"{}\"] }}\n  b: {{ backends: [\"{}\"] }}\n",
            listener(first),
            listener(second),
            a.url(),
            b.url()
        )
    };
    let app = TestApp::start("", &of("a", "b"));
    let addrs = [app.http.unwrap(), app.second_http.unwrap()];
    assert_ne!(addrs[0], addrs[1]);
    assert_eq!(
        (ask(addrs[0]).await, ask(addrs[1]).await),
        ("a".into(), "b".into())
    );
    for (reloads, (first, second)) in (1..).zip([("a", "b"), ("b", "a"), ("a", "a")]) {
        app.rewrite("", &of(first, second));
        app.reload().await;
        app.until_metric(OK, reloads).await;
        let said = (ask(addrs[0]).await, ask(addrs[1]).await);
        assert_eq!(said, (first.into(), second.into()));
    }
}

const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 4, rise: 2 }\n";

/// What failed some time ago may work again; what is dead does not.
#[tokio::test]
async fn an_ejected_backend_is_the_last_resort() {
    let (bad, other) = (
        MoodyBackend::start("bad").await,
        MoodyBackend::start("other").await,
    );
    let urls = [bad.url(), other.url()].join("\", \"");
    let policy = format!(
        "    ejection: {{ consecutive_failures: 3, base_time: 60s, max_percent: 50% }}\n{CHECKED}"
    );
    let app = TestApp::start("", &sections(&urls, &policy));
    for backend in [&bad, &other] {
        app.until_metric(&backend.metric("available"), 1).await;
    }
    let mut client = SteadyClient::new(app.http.unwrap());
    bad.set(Mood::Status(503));
    while bad.requests() < 3 {
        client.get("/").await.unwrap();
    }
    app.until_metric(&bad.metric("ejected"), 1).await;
    bad.set(Mood::Good);
    other.fall().await;
    app.until_metric(&other.metric("healthy"), 0).await;
    for _ in 0..4 {
        assert_eq!(client.body().await, "bad");
    }
    // Only where nobody else is.
    other.rise();
    app.until_metric(&other.metric("available"), 1).await;
    assert_eq!(app.metric(&bad.metric("ejected")).await, 1);
    for _ in 0..4 {
        assert_eq!(client.body().await, "other");
    }
}

#[tokio::test]
async fn a_draining_backends_health_is_told() {
    let (good, leaving) = (
        MoodyBackend::start("good").await,
        MoodyBackend::start("leaving").await,
    );
    let app = TestApp::start(
        "",
        &format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app:\n    backends: [\"{}\", {{ url: \"{}\", state: draining }}]\n{CHECKED}",
            good.url(),
            leaving.url()
        ),
    );
    let condition = leaving
        .metric("condition")
        .replace('}', ",condition=\"draining\"}");
    for (status, healthy) in [(200, 1), (500, 0), (200, 1)] {
        leaving.answer_probes_by(status);
        app.until_metric(&leaving.metric("healthy"), healthy).await;
        assert_eq!(app.metric(&condition).await, 1);
        assert_eq!(app.metric(&leaving.metric("available")).await, 0);
    }
}

#[test]
fn what_a_backend_starts_with_is_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let with_state = |state: &str| {
        let backends =
            format!("[http://127.0.0.1:1, {{ url: http://127.0.0.1:2, state: {state} }}]");
        let yaml = format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams: {{ app: {{ backends: {backends} }} }}\n"
        );
        fs::write(&file, yaml).unwrap();
    };
    with_state("disabled");
    let arguments = [
        "--config",
        file.to_str().unwrap(),
        "--admin-listen=127.0.0.1:0",
    ];
    let mut child = weir()
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut changes_until = |message: &str| {
        let mut changes = 0;
        loop {
            let line = lines.next().expect("it runs").unwrap();
            changes += usize::from(line.contains("operator changed a backend"));
            if line.contains(message) {
                return changes;
            }
        }
    };
    let at_start = changes_until("\"serving\"");
    with_state("draining");
    let at_reload = changes_until("configuration reloaded");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((at_start, at_reload), (0, 1));
}
