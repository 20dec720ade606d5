//! Requests that wait for a backend with room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use socket2::SockRef;
use tokio::time::Instant;

use crate::support::{
    FakeBackend, KeptAnswer, KeptClient, RecordingBackend, Script, TestApp, eventually, gated, get,
    ok, start_balancer,
};

const QUEUE: &str = "weir_upstream_queue{upstream=\"app\"}";

fn faults(cause: &str) -> String {
    format!("weir_http_faults_total{{cause=\"{cause}\"}}")
}

/// A client that asked and does not read yet.
async fn asking(app: &TestApp, target: &str) -> KeptClient {
    let mut client = KeptClient::connect(app.http.unwrap()).await;
    client.send(get(target)).await;
    client
}

/// Clients that asked one after the other, while `first` of them went to the backend.
async fn queued(
    app: &TestApp,
    backend: &RecordingBackend,
    targets: &[&str],
    first: usize,
) -> Vec<KeptClient> {
    let mut clients = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        clients.push(asking(app, target).await);
        if index < first {
            eventually("it is delivered", async || {
                backend.requests().len() == index + 1
            })
            .await;
        } else {
            let waiting = u64::try_from(index + 1 - first).unwrap();
            app.until_metric(QUEUE, waiting).await;
        }
    }
    clients
}

fn targets(backend: &RecordingBackend) -> Vec<String> {
    let requests = backend.requests().into_iter();
    requests.map(|request| request.target).collect()
}

#[track_caller]
fn is_busy(answer: &KeptAnswer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("\nretry-after: 1"), "{answer:?}");
}

#[tokio::test]
async fn those_above_the_limit_wait_and_go_in_order() {
    let (backend, gate) = gated("fine").await;
    let upstream = "    max_requests: 2\n    queue: { length: 10, timeout: 20s }\n";
    let app = start_balancer(&[backend.url()], upstream, "", "");
    let names = ["/0", "/1", "/2", "/3", "/4", "/5"];
    let mut clients = queued(&app, &backend, &names, 2).await;
    for delivered in 3..=names.len() {
        gate.add_permits(1);
        eventually("the next goes", async || {
            backend.requests().len() == delivered
        })
        .await;
        assert_eq!(targets(&backend), names[..delivered]);
    }
    gate.add_permits(names.len());
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
    assert_eq!(app.metric(QUEUE).await, 0);
    app.until_metric("weir_calls_in_flight", 0).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_long_wait_in_time() {
    let (backend, gate) = gated("fine").await;
    let upstream = "    max_requests: 1\n    queue: { length: 2, timeout: 1s }\n";
    let app = start_balancer(&[backend.url()], upstream, "", "");
    let began = Instant::now();
    let mut clients = queued(&app, &backend, &["/0", "/1", "/2"], 1).await;
    let refused = asking(&app, "/3").await.answer().await;
    is_busy(&refused);
    assert!(refused.body.contains("queue"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_millis(900));
    assert_eq!(app.metric(&faults("queue_full")).await, 1);
    for client in &mut clients[1..] {
        is_busy(&client.answer().await);
    }
    let waited = began.elapsed();
    let expected = Duration::from_secs(1)..Duration::from_secs(4);
    assert!(expected.contains(&waited), "{waited:?}");
    assert_eq!(app.metric(&faults("queue_timeout")).await, 2);
    gate.add_permits(2);
    assert_eq!(clients[0].answer().await.body, "fine");
    // Who was refused may ask again on the same connection.
    assert_eq!(clients[1].get("/again").await.body, "fine");
    assert_eq!(targets(&backend), ["/0", "/again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_than_the_limit_are_in_flight() {
    const LIMIT: usize = 3;
    let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&now), Arc::clone(&most));
    let backend = RecordingBackend::scripted(move |mut wire| {
        let (now, most) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            while wire.head().await.is_some() {
                let before = now.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(before + 1, Ordering::SeqCst);
                wire.pause(Duration::from_millis(1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                wire.send(ok("fine")).await;
            }
        }
    });
    let backend = backend.await;
    let upstream = format!("    max_requests: {LIMIT}\n    queue: {{ timeout: 20s }}\n");
    let app = start_balancer(&[backend.url()], &upstream, "", "workers: 4\n");
    let http = app.http.unwrap();
    let clients = (0..50).map(async |_| {
        let mut client = KeptClient::connect(http).await;
        for _ in 0..10 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    join_all(clients).await;
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
    assert_eq!(
        app.metric("weir_http_responses_total{upstream=\"app\",class=\"2xx\"}")
            .await,
        500
    );
    app.until_metric(QUEUE, 0).await;
}

#[tokio::test]
async fn who_leaves_the_queue_frees_its_place() {
    let (backend, gate) = gated("fine").await;
    let upstream = "    max_requests: 1\n    queue: { length: 1, timeout: 20s }\n";
    let app = start_balancer(&[backend.url()], upstream, "", "");
    let mut clients = queued(&app, &backend, &["/0", "/gone"], 1).await;
    // Its end alone would leave it waiting: a client may end its own direction and still read.
    let gone = clients.pop().unwrap();
    SockRef::from(&gone.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(gone);
    app.until_metric(QUEUE, 0).await;
    clients.push(asking(&app, "/1").await);
    app.until_metric(QUEUE, 1).await;
    gate.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "fine");
    }
    assert_eq!(targets(&backend), ["/0", "/1"]);
    assert_eq!(app.metric(&faults("client_closed")).await, 1);
}

fn sections(urls: &[String], keys: &str) -> String {
    let urls = urls.join("\", \"");
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app:\n    backends: [\"{urls}\"]\n    max_requests: 1\n    queue: {{ timeout: 5s }}\n{keys}"
    )
}

#[tokio::test]
async fn a_backend_that_a_reload_brings_lets_waiters_in() {
    let (busy, gate) = gated("busy").await;
    let new = RecordingBackend::replying("new").await;
    let app = TestApp::start("", &sections(&[busy.url()], ""));
    let mut clients = queued(&app, &busy, &["/0", "/1", "/2", "/3"], 1).await;
    app.rewrite("", &sections(&[busy.url(), new.url()], ""));
    app.reload().await;
    for client in &mut clients[1..] {
        assert_eq!(client.answer().await.body, "new");
    }
    assert_eq!(targets(&busy), ["/0"]);
    gate.add_permits(1);
    assert_eq!(clients[0].answer().await.body, "busy");
}

#[tokio::test]
async fn a_backend_that_recovers_lets_waiters_in() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let ill = RecordingBackend::scripted(move |mut wire| {
        let well = Arc::clone(&well);
        async move {
            while let Some(request) = wire.request().await {
                let fails = request.target == "/health" && !well.load(Ordering::Relaxed);
                let answer = match fails {
                    true => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    false => ok("well again"),
                };
                wire.send(answer).await;
            }
        }
    });
    // It answers probes, and no request.
    let busy = FakeBackend::start(Script::Silence).await;
    let ill = ill.await;
    let check =
        "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 1, rise: 1 }\n";
    let urls = [format!("http://{}", busy.addr), ill.url()];
    let app = TestApp::start("", &sections(&urls, check));
    let healthy = |addr| format!("weir_backend_available{{upstream=\"app\",backend=\"{addr}\"}}");
    app.until_metric(&healthy(ill.addr), 0).await;
    app.until_metric(&healthy(busy.addr), 1).await;
    let _first = asking(&app, "/0").await;
    eventually("it is delivered", async || busy.heads().len() == 1).await;
    let mut second = asking(&app, "/1").await;
    app.until_metric(QUEUE, 1).await;
    is_well.store(true, Ordering::Relaxed);
    assert_eq!(second.answer().await.body, "well again");
    assert_eq!(busy.heads().len(), 1);
}
