//! HTTP/2 clients that send much to make us work or keep more: bounded, cut, and felt by nobody
//! else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::support::{
    Ask, Process, Protocol, RecordingBackend, TestApp, ask, eventually, http1, metric, ok,
    raw_http2::{
        CONTINUATION, DATA, END_STREAM, GET, HEADERS, Outcome, PING, POST, PRIORITY, RST_STREAM,
        RawHttp2, SETTINGS, WINDOW_UPDATE, block, data, frame, headers,
    },
    start_balancer,
};

const PATIENCE: Duration = Duration::from_secs(20);
const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;
const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The balancer as a process, whose memory can be told from the test's.
struct Balancer {
    process: Process,
    http: SocketAddr,
    idle_bytes: u64,
    _directory: tempfile::TempDir,
}

impl Balancer {
    async fn start(backend: &RecordingBackend, file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.yaml");
        let url = backend.url();
        let yaml = format!(
            "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\n\
             upstreams:\n  app: {{ backends: [\"{url}\"], connect_timeout: 100ms, idle_timeout: 500ms, response_timeout: 2s }}\n{file}"
        );
        std::fs::write(&path, yaml).unwrap();
        let config = path.to_str().unwrap();
        let process =
            Process::start(&["--cdn-host=cdn.example", "--workers=2", "--config", config]);
        let http = process.http.unwrap();
        // So that what both workers need at all is there.
        for _ in 0..8 {
            assert_eq!(
                ask(Protocol::Http2, http, &Ask::get("/small")).await.status,
                200
            );
        }
        let (idle_bytes, _) = process.memory_bytes();
        Self {
            process,
            http,
            idle_bytes,
            _directory: directory,
        }
    }

    /// Another client is served, and memory never grew by more than this.
    async fn is_well(&self, bytes_max: u64) {
        let began = Instant::now();
        assert_eq!(
            ask(Protocol::Http2, self.http, &Ask::get("/small"))
                .await
                .status,
            200
        );
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        let (_, peak) = self.process.memory_bytes();
        let grown = peak.saturating_sub(self.idle_bytes);
        assert!(grown <= bytes_max, "grew by {} KiB", grown >> 10);
    }
}

/// Sends the same frames until they are refused or there were enough; the connection's last word,
/// and how often they were sent.
async fn flood(mut client: RawHttp2, bytes: &[u8], times: usize) -> (Option<u32>, usize) {
    let mut sent = 0;
    while sent < times && client.send(bytes).await {
        sent += 1;
    }
    (client.goaway().await, sent)
}

fn app_before(backend: &RecordingBackend) -> TestApp {
    start_balancer(
        &[backend.url()],
        "",
        "",
        "connections: { idle_timeout: 300ms }\n",
    )
}

#[tokio::test]
async fn rapid_reset_is_cut_and_costs_no_backend() {
    let backend = RecordingBackend::replying("fine").await;
    let app = app_before(&backend);
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    let cancel = |stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    let mut resets = 0;
    for first in (1..200_000).step_by(400) {
        let burst: Vec<u8> = (first..first + 400)
            .step_by(2)
            .flat_map(|stream| [headers(stream, true, &GET), cancel(stream)].concat())
            .collect();
        if !client.send(&burst).await {
            break;
        }
        resets += 200;
    }
    assert_eq!(client.goaway().await, Some(ENHANCE_YOUR_CALM));
    assert!(resets < 100_000);
    assert!(backend.connections() < 100, "{}", backend.connections());
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// CVE-2025-8671, in the ways that differ from the redirect listener's test.
#[tokio::test]
async fn resets_that_a_client_provokes_are_counted() {
    let backend = RecordingBackend::replying("fine").await;
    let app = app_before(&backend);
    let provocations: [fn(u32) -> Vec<u8>; 3] = [
        |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
        // DATA after the end of the stream, and a priority that depends on itself.
        |stream| data(stream, true, b"x"),
        |stream| {
            frame(
                PRIORITY,
                0,
                stream,
                &[&stream.to_be_bytes()[..], &[0]].concat(),
            )
        },
    ];
    let mut cases = 0;
    for provoke in provocations {
        let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
        for first in (1..40_000).step_by(200) {
            let burst: Vec<u8> = (first..first + 200)
                .step_by(2)
                .flat_map(|stream| [headers(stream, true, &GET), provoke(stream)].concat())
                .collect();
            if !client.send(&burst).await {
                break;
            }
        }
        let code = client.goaway().await;
        assert!(code.is_some_and(|code| code > 0), "case {cases}: {code:?}");
        cases += 1;
    }
    assert_eq!(cases, 3);
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// CVE-2024-27316: a head that never ends.
#[tokio::test]
async fn a_continuation_flood_is_cut() {
    let backend = RecordingBackend::replying("fine").await;
    let balancer = Balancer::start(&backend, "").await;
    for part in [
        block(&[("a", "b")]),
        block(&[("a", &"b".repeat(16_000))]),
        Vec::new(),
    ] {
        let mut client = RawHttp2::connect(balancer.http, &[]).await;
        client
            .send(&frame(HEADERS, END_STREAM, 1, &block(&GET)))
            .await;
        let (code, sent) = flood(client, &frame(CONTINUATION, 0, 1, &part), 100_000).await;
        assert!(code.is_some_and(|code| code > 0), "{code:?} after {sent}");
    }
    balancer.is_well(16 << 20).await;
}

/// RUSTSEC-2026-0258: frames that carry nothing and cost no window.
#[tokio::test]
async fn an_empty_data_flood_is_cut_or_bounded() {
    let backend = RecordingBackend::scripted(|mut wire| async move {
        while let Some(request) = wire.head().await {
            if request.target == "/small" {
                wire.send(ok("small")).await;
            }
        }
    });
    let backend = backend.await;
    let balancer = Balancer::start(&backend, "").await;
    let mut client = RawHttp2::connect(balancer.http, &[]).await;
    client.send(&headers(1, false, &POST)).await;
    let (code, sent) = flood(client, &frame(DATA, 0, 1, &[]).repeat(1000), 1000).await;
    assert!(code.is_some(), "after {sent}");
    balancer.is_well(16 << 20).await;
}

#[tokio::test]
async fn control_frame_floods_are_cut_or_bounded() {
    let backend = RecordingBackend::replying("fine").await;
    let balancer = Balancer::start(
        &backend,
        "connections: { idle_timeout: 500ms, max_connection_age_grace: 500ms }\n",
    )
    .await;
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
    let floods = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &setting),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
        // Unknown kinds are ignored.
        frame(0xbe, 0, 0, &[0; 8]),
    ];
    let count = floods.len();
    for bytes in floods {
        let client = RawHttp2::connect(balancer.http, &[]).await;
        // It reads nothing of what the flood makes us answer.
        let (_code, sent) = flood(client, &bytes.repeat(1000), 200).await;
        assert!(sent > 0);
        balancer.is_well(16 << 20).await;
    }
    assert_eq!(count, 6);
}

/// A table entry of 4 KiB, named over and over: a few bytes that stand for many.
#[tokio::test]
async fn an_hpack_bomb_is_refused() {
    let backend = RecordingBackend::replying("fine").await;
    let balancer = Balancer::start(&backend, "").await;
    for references in [20, 2_000, 15_000] {
        let mut client = RawHttp2::connect(balancer.http, &[(HEADER_TABLE_SIZE, 4096)]).await;
        let mut bomb = block(&GET);
        // A literal that enters the table, and then its index, 62.
        bomb.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
        bomb.extend([b'b'; 4000]);
        bomb.extend(vec![0x80 | 62; references]);
        let (head, rest) = bomb.split_at(bomb.len().min(16_000));
        let flags = END_STREAM | if rest.is_empty() { 4 } else { 0 };
        client.send(&frame(HEADERS, flags, 1, head)).await;
        if !rest.is_empty() {
            client.send(&frame(CONTINUATION, 4, 1, rest)).await;
        }
        let outcome = client.outcome(1).await;
        let refused = matches!(
            outcome,
            Outcome::Status(431) | Outcome::Reset(_) | Outcome::GoAway(_)
        );
        assert!(refused, "{references}: {outcome:?}");
    }
    balancer.is_well(16 << 20).await;
}

#[tokio::test]
async fn one_stream_too_many_is_refused() {
    let backend = RecordingBackend::scripted(|mut wire| async move { wire.until_closed().await });
    let backend = backend.await;
    let app = start_balancer(&[backend.url()], "", "", "");
    let mut client = RawHttp2::connect(app.http.unwrap(), &[]).await;
    // Only who has seen our SETTINGS must keep to them.
    assert_eq!(client.frame().await.unwrap().kind, SETTINGS);
    client.send(&frame(SETTINGS, 1, 0, &[])).await;
    let heads = (0..257).flat_map(|index| headers(2 * index + 1, true, &GET));
    client.send(&heads.collect::<Vec<_>>()).await;
    assert_eq!(client.outcome(513).await, Outcome::Reset(REFUSED_STREAM));
    app.until_metric("weir_calls_in_flight", 256).await;
}

/// Answers 8 MiB to everything but `/small`.
async fn large_backend() -> RecordingBackend {
    let large = Arc::new(ok(&"x".repeat(8 << 20)));
    let backend = RecordingBackend::scripted(move |mut wire| {
        let large = Arc::clone(&large);
        async move {
            while let Some(request) = wire.request().await {
                let sent = match request.target.as_str() {
                    "/small" => wire.send(ok("small")).await,
                    _ => wire.send(large.as_bytes()).await,
                };
                if !sent {
                    return;
                }
            }
        }
    });
    backend.await
}

/// A hundred large responses that nobody takes: what is kept is bounded, the backend is not read
/// any further, and in the end the connection is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shut_window_keeps_little_and_is_reaped() {
    const STREAMS: u32 = 100;
    let backend = large_backend().await;
    let limits = "connections: { idle_timeout: 1s }\n";
    let balancer = Balancer::start(&backend, limits).await;
    let mut client = RawHttp2::connect(balancer.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let heads = (0..STREAMS).flat_map(|index| headers(2 * index + 1, true, &GET));
    client.send(&heads.collect::<Vec<_>>()).await;
    let ended = async { while client.frame().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("never cut");
    balancer.is_well(u64::from(STREAMS) * (512 << 10)).await;
    let page = || async {
        let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        http1(balancer.process.admin, ask).await.1
    };
    eventually("no call is left", async || {
        metric(&page().await, "weir_calls_in_flight") == 0
    })
    .await;
    let page = page().await;
    let given_up = ["client_stalled", "client_closed"].map(|cause| {
        let name = format!("weir_http_faults_total{{cause=\"{cause}\"}}");
        metric(&page, &name)
    });
    assert!(given_up[0] > 0, "{given_up:?}");
    assert_eq!(given_up.iter().sum::<u64>(), u64::from(STREAMS));
}

/// A window that opens by a byte at a time keeps nothing alive for ever, and no backend busy
/// beyond what is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dripping_window_keeps_little() {
    let backend = large_backend().await;
    let balancer = Balancer::start(&backend, "connections: { idle_timeout: 1s }\n").await;
    let mut client = RawHttp2::connect(balancer.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let heads = (0..50).flat_map(|index| headers(2 * index + 1, true, &GET));
    client.send(&heads.collect::<Vec<_>>()).await;
    let mut received = 0;
    for _ in 0..100 {
        client
            .send(&frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()))
            .await;
        let Ok(Some(frame)) = timeout(PATIENCE, client.frame()).await else {
            break;
        };
        received += usize::from(frame.kind == DATA);
    }
    assert!(received > 0);
    balancer.is_well(50 * (512 << 10)).await;
}
