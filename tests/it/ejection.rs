//! A backend whose answers fail is left alone for a while, whatever its checks say.

use std::time::{Duration, Instant};

use crate::support::{
    Ask, Http2Backend, Http2Script, Mood, MoodyBackend, Protocol, RecordingBackend, Reply,
    SteadyClient, TestApp, ask, eventually, start_balancer,
};

/// Many in a row make it unhealthy, so that a busy machine's lost probes do not.
const CHECKED: &str =
    "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 10, rise: 2 }\n";

async fn three() -> [MoodyBackend; 3] {
    [
        MoodyBackend::start("a").await,
        MoodyBackend::start("b").await,
        MoodyBackend::start("c").await,
    ]
}

/// A balancer before these backends that is ready, and a client of it.
async fn balance(backends: &[&MoodyBackend], upstream: &str) -> (TestApp, SteadyClient) {
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    let app = start_balancer(&urls, upstream, "", "");
    for backend in backends {
        app.until_metric(&backend.metric("available"), 1).await;
    }
    let client = SteadyClient::new(app.http.unwrap());
    (app, client)
}

/// Asks until a backend got as many requests; returns the statuses that were not 200.
async fn ask_until(backend: &MoodyBackend, requests: usize, client: &mut SteadyClient) -> Vec<u16> {
    let began = Instant::now();
    let mut bad = Vec::new();
    while backend.requests() < requests {
        assert!(began.elapsed() < PATIENCE, "it gets no requests");
        let (status, _) = client.get("/").await.unwrap();
        if status != 200 {
            bad.push(status);
        }
    }
    bad
}

#[tokio::test]
async fn failing_answers_eject_whatever_the_checks_say() {
    let mut cases = 0;
    for checks in ["", CHECKED] {
        for mood in [
            Mood::Status(502),
            Mood::Status(503),
            Mood::Status(504),
            Mood::Closing,
        ] {
            let [a, bad, c] = three().await;
            let policy =
                format!("    ejection: {{ consecutive_failures: 3, base_time: 60s }}\n{checks}");
            let (app, mut client) = balance(&[&a, &bad, &c], &policy).await;
            bad.set(mood);
            let statuses = ask_until(&bad, 3, &mut client).await;
            // An answer is passed on, whatever it says; none is asked for elsewhere.
            let expected = match mood {
                Mood::Status(status) => vec![status; 3],
                _ => Vec::new(),
            };
            assert_eq!(statuses, expected, "{mood:?}");
            app.until_metric(&bad.metric("ejected"), 1).await;
            assert_eq!(app.metric(&bad.metric("available")).await, 0);
            assert_eq!(app.metric(&bad.metric("healthy")).await, 1);
            assert_eq!(app.metric(&bad.metric("ejections_total")).await, 1);
            let errors = match mood {
                Mood::Status(_) => 3,
                _ => 0,
            };
            assert_eq!(app.metric(&bad.metric("server_errors_total")).await, errors);
            let before = (a.requests(), c.requests());
            for _ in 0..20 {
                client.body().await;
            }
            let shares = (a.requests() - before.0, c.requests() - before.1);
            assert_eq!((shares, bad.requests()), ((10, 10), 3), "{mood:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 8);
}

/// A gRPC server answers 200 whatever happens, and says so in the same head.
#[tokio::test]
async fn a_grpc_server_that_is_unavailable_is_ejected() {
    let unavailable = Reply::default().header("grpc-status", 14);
    let other = Reply::default().header("grpc-status", 5);
    for (reply, ejections) in [(unavailable, 1), (other, 0)] {
        let bad = Http2Backend::start(Http2Script::Reply(reply)).await;
        let fine = Http2Backend::start(Http2Script::Reply(Reply::body("fine"))).await;
        let policy = "    ejection: { consecutive_failures: 3, base_time: 60s }\n";
        let app = start_balancer(&[bad.url(), fine.url()], policy, "", "");
        for _ in 0..6 {
            let answer = ask(Protocol::Http2, app.http.unwrap(), &Ask::get("/")).await;
            assert_eq!(answer.status, 200);
        }
        let name = format!(
            "weir_backend_ejections_total{{upstream=\"app\",backend=\"{}\"}}",
            bad.url()
        );
        app.until_metric(&name, ejections).await;
    }
}

/// However the time of a request is limited, a backend that keeps it is found out.
#[tokio::test]
async fn a_silent_backend_is_ejected_under_a_total_timeout_too() {
    let silent = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let silent = silent.await;
    let fine = RecordingBackend::replying("fine").await;
    let limits =
        "    total_timeout: 200ms\n    ejection: { consecutive_failures: 2, base_time: 60s }\n";
    let app = start_balancer(&[silent.url(), fine.url()], limits, "", "");
    let mut client = SteadyClient::new(app.http.unwrap());
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.get("/").await.unwrap().0);
    }
    let lost = statuses.iter().filter(|&&status| status == 504).count();
    // The third may be on its way before the ejection is known.
    assert!((2..=3).contains(&lost), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&200));
}

#[tokio::test]
async fn a_backend_that_goes_is_ejected_and_nobody_notices() {
    let [a, gone, c] = three().await;
    let policy = "    ejection: { consecutive_failures: 3, base_time: 60s }\n";
    let (app, mut client) = balance(&[&a, &gone, &c], policy).await;
    for _ in 0..30 {
        client.body().await;
    }
    assert_eq!(gone.requests(), 10);
    gone.fall().await;
    let began = Instant::now();
    while app.metric(&gone.metric("ejected")).await == 0 {
        assert!(began.elapsed() < PATIENCE, "it is never ejected");
        client.body().await;
    }
    let failures = app.metric(&gone.metric("failures_total")).await;
    for _ in 0..20 {
        client.body().await;
    }
    // Nobody tries it any more.
    assert_eq!(app.metric(&gone.metric("failures_total")).await, failures);
    assert_eq!(app.metric(&gone.metric("ejections_total")).await, 1);
}

#[tokio::test]
async fn it_comes_back_on_probation_and_goes_for_longer() {
    let [a, bad, _] = three().await;
    let policy = "    ejection: { consecutive_failures: 3, base_time: 1s }\n";
    let (app, mut client) = balance(&[&a, &bad], policy).await;
    bad.set(Mood::Status(503));
    ask_until(&bad, 3, &mut client).await;
    app.until_metric(&bad.metric("ejected"), 1).await;
    let mut ejected_at = Instant::now();
    let (mut requests, mut lengths) = (3, Vec::new());
    for ejections in 2..=3 {
        // One failure is enough now.
        requests += 1;
        ask_until(&bad, requests, &mut client).await;
        lengths.push(ejected_at.elapsed());
        ejected_at = Instant::now();
        app.until_metric(&bad.metric("ejections_total"), ejections)
            .await;
        assert_eq!(bad.requests(), requests);
    }
    // Each began a little before the clock was looked at: one second, and then two.
    assert!(lengths[0] > Duration::from_millis(500), "{lengths:?}");
    assert!(lengths[1] > Duration::from_millis(1500), "{lengths:?}");
}

#[tokio::test]
async fn a_success_ends_the_probation() {
    let [a, bad, _] = three().await;
    let policy = "    ejection: { consecutive_failures: 3, base_time: 100ms }\n";
    let (app, mut client) = balance(&[&a, &bad], policy).await;
    bad.set(Mood::Status(503));
    ask_until(&bad, 3, &mut client).await;
    app.until_metric(&bad.metric("ejections_total"), 1).await;
    bad.set(Mood::Good);
    ask_until(&bad, 4, &mut client).await;
    bad.set(Mood::Status(503));
    ask_until(&bad, 6, &mut client).await;
    // Two failures after a success; two more, and it would have been ejected before the second.
    assert_eq!(app.metric(&bad.metric("available")).await, 1);
    ask_until(&bad, 7, &mut client).await;
    app.until_metric(&bad.metric("ejections_total"), 2).await;
}

#[tokio::test]
async fn no_more_than_the_share_is_ejected() {
    let [a, b, good] = three().await;
    let policy = "    ejection: { consecutive_failures: 3, base_time: 60s, max_percent: 50% }\n";
    let (app, mut client) = balance(&[&a, &b, &good], policy).await;
    a.set(Mood::Status(503));
    b.set(Mood::Status(503));
    let ejected = async || {
        let page = app.metrics().await;
        [&a, &b].map(|backend| crate::support::metric(&page, &backend.metric("ejected")))
    };
    ask_until(&good, 10, &mut client).await;
    eventually("one is ejected", async || ejected().await != [0, 0]).await;
    let before = a.requests() + b.requests();
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(client.get("/").await.unwrap().0 == 503);
    }
    // The one that stays has its half, however it fails.
    assert_eq!((refused, a.requests() + b.requests() - before), (20, 20));
    assert_eq!(ejected().await.iter().sum::<u64>(), 1);
}

#[tokio::test]
async fn the_only_backend_is_never_ejected() {
    let only = MoodyBackend::start("only").await;
    let policy = "    ejection: { consecutive_failures: 1, base_time: 60s, max_percent: 100% }\n";
    let (app, mut client) = balance(&[&only], policy).await;
    only.set(Mood::Status(503));
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().0, 503);
    }
    assert_eq!(only.requests(), 20);
    only.set(Mood::Good);
    client.body().await;
    assert_eq!(app.metric(&only.metric("ejections_total")).await, 0);
}

/// As long as another takes requests in its place, a failing backend may be left alone; the last
/// one that does may not: a failing answer is better than none.
#[tokio::test]
async fn the_last_available_backend_is_never_ejected() {
    for state in ["disabled", "draining", "enabled"] {
        let [other, last, _] = three().await;
        // Where the operator did not take it out, its checks do.
        other.answer_probes_by(500);
        let app = TestApp::start(
            "",
            &format!(
                "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
                 upstreams:\n  app:\n    backends: [{{ url: \"{}\", state: {state} }}, \"{}\"]\n{CHECKED}    \
                 ejection: {{ consecutive_failures: 2, base_time: 60s, max_percent: 100% }}\n",
                other.url(),
                last.url()
            ),
        );
        app.until_metric(&last.metric("available"), 1).await;
        let mut client = SteadyClient::new(app.http.unwrap());
        last.set(Mood::Status(504));
        for request in 1..=20 {
            let (status, _) = client.get("/").await.unwrap();
            assert_eq!(status, 504, "{state}, request {request}");
        }
        assert_eq!(app.metric(&last.metric("ejections_total")).await, 0);
    }
}

#[tokio::test]
async fn zero_failures_switch_ejection_off() {
    let [a, bad, _] = three().await;
    let (app, mut client) =
        balance(&[&a, &bad], "    ejection: { consecutive_failures: 0 }\n").await;
    bad.set(Mood::Status(503));
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(client.get("/").await.unwrap().0 == 503);
    }
    assert_eq!((refused, bad.requests()), (20, 20));
    assert_eq!(app.metric(&bad.metric("ejections_total")).await, 0);
}

#[tokio::test]
async fn a_reload_that_switches_ejection_off_ends_it() {
    let [a, bad, _] = three().await;
    let sections = |ejection: &str| {
        format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app:\n    backends: [\"{}\", \"{}\"]\n    ejection: {{ {ejection} }}\n",
            a.url(),
            bad.url()
        )
    };
    let app = TestApp::start("", &sections("consecutive_failures: 3, base_time: 60s"));
    let mut client = SteadyClient::new(app.http.unwrap());
    bad.set(Mood::Status(503));
    ask_until(&bad, 3, &mut client).await;
    app.until_metric(&bad.metric("ejected"), 1).await;
    // It keeps what it has where nothing changes.
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 1)
        .await;
    assert_eq!(app.metric(&bad.metric("ejected")).await, 1);
    app.rewrite("", &sections("consecutive_failures: 0"));
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 2)
        .await;
    assert_eq!(app.metric(&bad.metric("available")).await, 1);
}

#[tokio::test]
async fn a_recovery_by_the_checks_ends_an_ejection() {
    let [a, bad, _] = three().await;
    let policy = format!("    ejection: {{ consecutive_failures: 3, base_time: 60s }}\n{CHECKED}");
    let (app, mut client) = balance(&[&a, &bad], &policy).await;
    bad.set(Mood::Status(503));
    ask_until(&bad, 3, &mut client).await;
    app.until_metric(&bad.metric("ejected"), 1).await;
    bad.answer_probes_by(500);
    app.until_metric(&bad.metric("healthy"), 0).await;
    bad.set(Mood::Good);
    bad.answer_probes_by(200);
    app.until_metric(&bad.metric("available"), 1).await;
    assert_eq!(app.metric(&bad.metric("ejected")).await, 0);
    for _ in 0..20 {
        client.body().await;
    }
    assert_eq!(bad.requests(), 13);
    // It is no probation either: it takes three failures again.
    bad.set(Mood::Status(503));
    ask_until(&bad, 15, &mut client).await;
    assert_eq!(app.metric(&bad.metric("available")).await, 1);
    assert_eq!(app.metric(&bad.metric("ejections_total")).await, 1);
}

const PATIENCE: Duration = Duration::from_secs(20);
