//! Which backends get requests by their checks, by the operator's word, and after an absence.

use std::net::SocketAddr;

use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::support::{
    Mood, MoodyBackend, Process, RecordingBackend, SteadyClient, TestApp, eventually,
    start_balancer,
};

/// Many in a row make it unhealthy, so that a busy machine's lost probes do not.
const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 10, rise: 2 }\n";

const AVAILABLE: &str = "weir_upstream_available{upstream=\"app\"}";

async fn ready(app: &TestApp) -> SteadyClient {
    eventually("readiness", async || app.readiness().await == 200).await;
    SteadyClient::new(app.http.unwrap())
}

#[tokio::test]
async fn only_the_wanted_statuses_are_healthy() {
    let mut cases = 0;
    for (wanted, good, bad) in [
        ("204", 204, 200),
        ("200-299", 299, 301),
        ("418", 418, 503),
        ("400-499", 400, 399),
    ] {
        let backend = MoodyBackend::start("x").await;
        backend.answer_probes_by(bad);
        let check = format!(
            "    health_check: {{ http: /health, status: {wanted}, interval: 100ms, timeout: 100ms }}\n"
        );
        let app = start_balancer(&[backend.url()], &check, "", "");
        let mut client = ready(&app).await;
        assert_eq!(client.get("/").await.unwrap().0, 503, "{wanted}: {bad}");
        backend.answer_probes_by(good);
        app.until_metric(&backend.metric("healthy"), 1).await;
        client.body().await;
        backend.answer_probes_by(bad);
        app.until_metric(&backend.metric("healthy"), 0).await;
        cases += 1;
    }
    assert_eq!(cases, 4);
}

/// A gRPC server that has nothing but its health.
async fn grpc_backend() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(serving);
    (addr, reporter)
}

#[tokio::test]
async fn grpc_health_decides_by_service() {
    let mut cases = 0;
    for (service, other) in [("", "some.Service"), ("some.Service", "")] {
        let (addr, reporter) = grpc_backend().await;
        let set = async |service: &str, status| reporter.set_service_status(service, status).await;
        set("", ServingStatus::Serving).await;
        set("some.Service", ServingStatus::Serving).await;
        let check = format!(
            "    health_check: {{ grpc: '{service}', interval: 100ms, timeout: 100ms, fall: 10, rise: 2 }}\n"
        );
        let app = start_balancer(&[format!("h2c://{addr}")], &check, "", "");
        let name = |name: &str| {
            format!("weir_backend_{name}{{upstream=\"app\",backend=\"h2c://{addr}\"}}")
        };
        app.until_metric(&name("healthy"), 1).await;
        for down in [ServingStatus::NotServing, ServingStatus::Unknown] {
            set(service, down).await;
            app.until_metric(&name("healthy"), 0).await;
            set(service, ServingStatus::Serving).await;
            app.until_metric(&name("healthy"), 1).await;
        }
        // What the other service says is no business of this upstream's.
        let falls = app.metric(&name("falls_total")).await;
        set(other, ServingStatus::NotServing).await;
        set(service, ServingStatus::NotServing).await;
        app.until_metric(&name("healthy"), 0).await;
        set(service, ServingStatus::Serving).await;
        app.until_metric(&name("healthy"), 1).await;
        assert_eq!(app.metric(&name("falls_total")).await, falls + 1);
        cases += 1;
    }
    assert_eq!(cases, 2);
    // A service that the server does not know.
    let (addr, _reporter) = grpc_backend().await;
    let check = "    health_check: { grpc: no.Such, interval: 100ms, timeout: 100ms }\n";
    let app = start_balancer(&[format!("h2c://{addr}")], check, "", "");
    ready(&app).await;
    let healthy = format!("weir_backend_healthy{{upstream=\"app\",backend=\"h2c://{addr}\"}}");
    assert_eq!(app.metric(&healthy).await, 0);
}

/// The sections of a balancer before these backends in these states.
fn in_states(backends: &[(&MoodyBackend, &str)], upstream: &str) -> String {
    let backends = backends
        .iter()
        .map(|(backend, state)| format!("{{ url: \"{}\", state: {state} }}", backend.url()));
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [{}]\n{upstream}",
        backends.collect::<Vec<_>>().join(", ")
    )
}

#[tokio::test]
async fn the_operators_word_counts_more_than_health() {
    let enabled = MoodyBackend::start("enabled").await;
    let draining = MoodyBackend::start("draining").await;
    let disabled = MoodyBackend::start("disabled").await;
    let states = [
        (&enabled, "enabled"),
        (&draining, "draining"),
        (&disabled, "disabled"),
    ];
    for upstream in ["", "    when_all_down: any\n"] {
        let app = TestApp::start("", &in_states(&states, &format!("{CHECKED}{upstream}")));
        let mut client = ready(&app).await;
        app.until_metric(&enabled.metric("available"), 1).await;
        for _ in 0..20 {
            assert_eq!(client.body().await, "enabled");
        }
        let probes = draining.probes();
        eventually("the draining one is probed", async || {
            draining.probes() > probes + 3
        })
        .await;
        let available = [&enabled, &draining, &disabled].map(|one| one.metric("available"));
        let page = app.metrics().await;
        let available = available.map(|name| crate::support::metric(&page, &name));
        assert_eq!(available, [1, 0, 0]);
        assert_eq!(crate::support::metric(&page, AVAILABLE), 1);
    }
    assert_eq!((draining.requests(), disabled.requests()), (0, 0));
    assert_eq!((disabled.probes(), disabled.connections()), (0, 0));
}

#[tokio::test]
async fn who_is_taken_out_finishes_what_it_has() {
    for state in ["draining", "disabled"] {
        let stays = MoodyBackend::start("stays").await;
        let leaves = MoodyBackend::start("leaves").await;
        let sections =
            |state: &'static str| in_states(&[(&stays, "enabled"), (&leaves, state)], CHECKED);
        let app = TestApp::start("", &sections("enabled"));
        ready(&app).await;
        app.until_metric(&leaves.metric("available"), 1).await;
        app.until_metric(&stays.metric("available"), 1).await;
        leaves.set(Mood::Waiting);
        let http = app.http.unwrap();
        let asking: Vec<_> = (0..2)
            .map(|_| tokio::spawn(async move { SteadyClient::new(http).body().await }))
            .collect();
        app.until_metric(&leaves.metric("in_flight"), 1).await;
        app.rewrite("", &sections(state));
        app.reload().await;
        app.until_metric(&leaves.metric("available"), 0).await;
        let mut client = SteadyClient::new(http);
        for _ in 0..10 {
            assert_eq!(client.body().await, "stays", "{state}");
        }
        assert_eq!(app.metric(&leaves.metric("in_flight")).await, 1, "{state}");
        leaves.set(Mood::Good);
        let mut answers = Vec::new();
        for asking in asking {
            answers.push(asking.await.unwrap());
        }
        answers.sort();
        assert_eq!(answers, ["leaves", "stays"], "{state}");
        assert_eq!(leaves.requests(), 1, "{state}");
        if state == "disabled" {
            eventually("no connection to it is kept", async || {
                leaves.open_connections() == 0
            })
            .await;
        }
        app.rewrite("", &sections("enabled"));
        app.reload().await;
        app.until_metric(&leaves.metric("available"), 1).await;
        let both = [client.body().await, client.body().await];
        assert!(both.contains(&"leaves".to_owned()), "{both:?}");
    }
}

#[tokio::test]
async fn when_all_are_down_any_may_be_tried() {
    for (when, expected) in [("any", 200), ("refuse", 503)] {
        let a = MoodyBackend::start("a").await;
        let b = MoodyBackend::start("b").await;
        let upstream = format!("{CHECKED}    when_all_down: {when}\n");
        let app = start_balancer(&[a.url(), b.url()], &upstream, "", "");
        app.until_metric(&a.metric("available"), 1).await;
        app.until_metric(&b.metric("available"), 1).await;
        assert_eq!(app.metric(AVAILABLE).await, 2);
        a.answer_probes_by(500);
        b.answer_probes_by(500);
        app.until_metric(&a.metric("falls_total"), 1).await;
        app.until_metric(&b.metric("falls_total"), 1).await;
        let mut client = ready(&app).await;
        // Also where all of them are tried.
        assert_eq!(app.metric(AVAILABLE).await, 0);
        for _ in 0..10 {
            assert_eq!(client.get("/").await.unwrap().0, expected, "{when}");
        }
        let each = if expected == 200 { 5 } else { 0 };
        assert_eq!((a.requests(), b.requests()), (each, each), "{when}");
        // One that is well again is enough to leave the others alone.
        a.answer_probes_by(200);
        app.until_metric(&a.metric("available"), 1).await;
        for _ in 0..10 {
            assert_eq!(client.body().await, "a", "{when}");
        }
    }
}

#[tokio::test]
async fn who_comes_back_gets_little_at_first_and_then_its_share() {
    for (slow_start, least, most) in [("60s", 1, 15), ("200ms", 20, 20)] {
        let stays = MoodyBackend::start("stays").await;
        let returns = MoodyBackend::start("returns").await;
        let upstream = format!("{CHECKED}    slow_start: {slow_start}\n");
        let app = start_balancer(&[stays.url(), returns.url()], &upstream, "", "");
        let mut client = ready(&app).await;
        for backend in [&stays, &returns] {
            app.until_metric(&backend.metric("available"), 1).await;
        }
        // Who is there at the start is no newcomer.
        for _ in 0..20 {
            client.body().await;
        }
        assert_eq!(returns.requests(), 10);
        returns.fall().await;
        app.until_metric(&returns.metric("available"), 0).await;
        returns.rise();
        app.until_metric(&returns.metric("available"), 1).await;
        eventually(&format!("{least} to {most} of 40"), async || {
            let before = returns.requests();
            let mut client = SteadyClient::new(app.http.unwrap());
            for _ in 0..40 {
                client.body().await;
            }
            let share = returns.requests() - before;
            // Of 60 s the first six give it one in eleven; all of it gives it half.
            assert!(slow_start == "200ms" || share <= most, "{share}");
            (least..=most).contains(&share)
        })
        .await;
    }
}

#[tokio::test]
async fn transitions_are_counted_once() {
    let backend = MoodyBackend::start("x").await;
    let app = start_balancer(&[backend.url()], CHECKED, "", "");
    let [falls, recoveries] = ["falls_total", "recoveries_total"].map(|name| backend.metric(name));
    app.until_metric(&backend.metric("available"), 1).await;
    let at_start = app.metric(&recoveries).await;
    for times in 1..=3 {
        backend.answer_probes_by(500);
        app.until_metric(&falls, times).await;
        // Further probes say the same, and are no further transitions.
        let probes = backend.probes();
        eventually("it is probed", async || backend.probes() > probes + 3).await;
        assert_eq!(app.metric(&falls).await, times);
        assert_eq!(app.metric(&recoveries).await, at_start + times - 1);
        backend.answer_probes_by(200);
        app.until_metric(&recoveries, at_start + times).await;
        let probes = backend.probes();
        eventually("it is probed", async || backend.probes() > probes + 3).await;
        assert_eq!(app.metric(&recoveries).await, at_start + times);
        assert_eq!(app.metric(&falls).await, times);
    }
}

/// `recoveries` are times that the checks found a backend healthy *again*.
#[tokio::test]
async fn the_first_verdict_is_no_transition() {
    let (well, ill) = (
        MoodyBackend::start("well").await,
        MoodyBackend::start("ill").await,
    );
    ill.answer_probes_by(500);
    let app = start_balancer(&[well.url(), ill.url()], CHECKED, "", "");
    ready(&app).await;
    for backend in [&well, &ill] {
        for name in ["falls_total", "recoveries_total"] {
            assert_eq!(app.metric(&backend.metric(name)).await, 0, "{name}");
        }
    }
}

/// A stalled probe is a failed one, and holds up nobody.
#[tokio::test]
async fn a_backend_that_takes_probes_and_says_nothing_is_unhealthy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let good = MoodyBackend::start("good").await;
    let app = start_balancer(&[format!("http://{addr}"), good.url()], CHECKED, "", "");
    let mut client = ready(&app).await;
    app.until_metric(&good.metric("available"), 1).await;
    for _ in 0..10 {
        assert_eq!(client.body().await, "good");
    }
    let healthy = format!("weir_backend_healthy{{upstream=\"app\",backend=\"{addr}\"}}");
    assert_eq!(app.metric(&healthy).await, 0);
    let (mut probe, _) = listener.accept().await.unwrap();
    let mut head = [0; 12];
    probe.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"GET /health ");
}

/// A server that knows no `/health` is served by default, and one that fails a check says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_check_says_what_it_asked() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        // A TCP check asks nothing.
        let Some(request) = wire.request().await else {
            return;
        };
        let status = match request.value("host") == "app.example" {
            true => "404 Not Found",
            false => "200 OK",
        };
        wire.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
            .await;
    });
    let backend = backend.await;
    let (directory, url) = (tempfile::tempdir().unwrap(), backend.url());
    let file = directory.path().join("weir.yaml");
    let check = "health_check: { http: /up?x=1, method: HEAD, host: app.example, headers: { X-Probe: weir } }\n";
    for (check, expected) in [("", 200), (check, 503)] {
        let yaml = format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app:\n    backends: [\"{url}\"]\n    {check}"
        );
        std::fs::write(&file, yaml).unwrap();
        let config = format!("--config={}", file.display());
        let process = Process::start(&["--cdn-host=cdn.example", &config]);
        if !check.is_empty() {
            let event = process.until_logged("backend is unhealthy");
            let failure = event["failure"].as_str().unwrap();
            let addr = backend.addr;
            let asked = format!("HEAD /up?x=1 on {addr} answered 404, expected 200-399");
            assert_eq!(failure, asked);
            let probes = backend.requests();
            let probe = probes.iter().find(|seen| seen.target == "/up?x=1").unwrap();
            assert_eq!(probe.value("x-probe"), "weir");
        }
        let mut client = SteadyClient::new(process.http.unwrap());
        assert_eq!(client.get("/").await.unwrap().0, expected);
    }
}
