//! Too much of everything before the HTTP load balancer: connections, patience, answers of a
//! probe, reloads, a stop.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{
    Ask, End, Process, Protocol, RecordingBackend, TestApp, ask, eventually, http1, metric, ok,
    read_to_end, start_balancer, talk,
};

const PATIENCE: Duration = Duration::from_secs(60);
const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn sections(url: &str) -> String {
    format!(
        "http:\n  - listen: 127.0.0.1:0\n    routes: [{{ path: /, upstream: app }}]\nupstreams:\n  app: {{ backends: [\"{url}\"] }}\n"
    )
}

/// Two thousand connections where there are files for some tens.
#[tokio::test]
async fn a_flood_of_connections_leaves_the_process_well() {
    weir::net::raise_open_files_limit();
    let backend = RecordingBackend::replying("fine").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.yaml");
    std::fs::write(&path, sections(&backend.url())).unwrap();
    let config = path.to_str().unwrap();
    let arguments = ["--cdn-host=cdn.example", "--workers=2", "--config", config];
    let process = Process::start_with_open_files(256, &arguments);
    let http = process.http.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2_000 {
        if let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(http)).await
        {
            streams.push(stream);
        }
    }
    assert!(streams.len() > 1_900, "{}", streams.len());
    let refused = "weir_connections_closed_total{cause=\"connection_limit\"}";
    eventually("most are closed at accept", async || {
        metric(&http1(process.admin, METRICS).await.1, refused) > 1_000
    })
    .await;
    drop(streams);
    eventually("it serves again", async || {
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        talk(http, request, Duration::from_secs(1)).await.statuses() == [200]
    })
    .await;
}

const SLOW: [&str; 4] = [
    "",
    "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
    "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
];

/// Slow clients, hundreds of each kind. None of them reads.
async fn slow_clients(http: SocketAddr) -> Vec<(&'static str, TcpStream)> {
    const EACH: usize = 300;
    let mut clients = Vec::new();
    for start in SLOW {
        for _ in 0..EACH {
            let mut stream = TcpStream::connect(http).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            clients.push((start, stream));
        }
    }
    clients
}

async fn backend_of_the_slow() -> RecordingBackend {
    let large = Arc::new(ok(&"x".repeat(4 << 20)));
    let backend = RecordingBackend::scripted(move |mut wire| {
        let large = Arc::clone(&large);
        async move {
            while let Some(request) = wire.head().await {
                let sent = match request.target.as_str() {
                    "/large" => wire.send(large.as_bytes()).await,
                    "/small" => wire.send(ok("small")).await,
                    _ => return wire.until_closed().await,
                };
                if !sent {
                    return;
                }
            }
        }
    });
    backend.await
}

/// Slow heads, slow bodies and slow readers, with all the time they want: nobody feels them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_disturb_nobody() {
    weir::net::raise_open_files_limit();
    let backend = backend_of_the_slow().await;
    let a_minute = "connections: { header_timeout: 60s, first_byte_timeout: 60s }\n";
    let app = start_balancer(&[backend.url()], "", "", a_minute);
    let http = app.http.unwrap();
    let slow = slow_clients(http).await;
    // Each of these is answered long before the first of the slow has to go.
    assert_eq!(app.readiness().await, 200);
    let small = Ask::get("/small");
    assert_eq!(ask(Protocol::Http1, http, &small).await.status, 200);
    assert_eq!(ask(Protocol::Http2, http, &small).await.status, 200);
    let open = app.open_connections().await;
    assert!(open >= slow.len() as u64, "{open}");
}

/// Slow heads, slow bodies and slow readers: closed in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_are_closed() {
    weir::net::raise_open_files_limit();
    let backend = backend_of_the_slow().await;
    let app = start_balancer(
        &[backend.url()],
        "    idle_timeout: 500ms\n    response_timeout: 2s\n",
        "",
        "connections: { header_timeout: 500ms, idle_timeout: 500ms, first_byte_timeout: 500ms }\n",
    );
    let slow = slow_clients(app.http.unwrap()).await;
    for (start, mut stream) in slow {
        let talk = read_to_end(&mut stream, PATIENCE).await;
        assert_ne!(talk.end, End::Open, "{start}");
        // A head gets no answer; a body that stops a 408; what was not read is cut.
        let statuses = talk.statuses();
        let fine = match start.split(' ').nth(1) {
            Some("/body") => statuses == [408],
            Some("/large") => matches!(statuses[..], [] | [200 | 504]),
            _ => statuses.is_empty() || statuses == [408],
        };
        assert!(fine, "{start:?} {statuses:?}");
    }
    app.until_metric("weir_calls_in_flight", 0).await;
}

/// A probe's answer that never ends: the verdict comes from its head, or in time.
#[tokio::test]
async fn a_probe_reads_no_endless_answer() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let backend = RecordingBackend::scripted(move |mut wire| {
        let sent = Arc::clone(&count);
        async move {
            wire.request().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while wire.send(&chunk).await {
                sent.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    });
    let backend = backend.await;
    let check =
        "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 2 }\n";
    let app = start_balancer(&[backend.url()], check, "", "");
    eventually("some probes", async || backend.connections() > 5).await;
    assert_eq!(app.readiness().await, 200);
    let probes = backend.connections();
    let each = sent.load(Ordering::Relaxed) / probes;
    // What socket buffers take, and no more.
    assert!(each < 16 << 20, "{each} bytes a probe");
}

/// One check in three fails: `fall` in a row is never reached.
#[tokio::test]
async fn a_flapping_backend_stays_in() {
    let probes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&probes);
    let backend = RecordingBackend::scripted(move |mut wire| {
        let probes = Arc::clone(&count);
        async move {
            while let Some(request) = wire.request().await {
                let fails =
                    request.target == "/health" && probes.fetch_add(1, Ordering::Relaxed) % 3 == 2;
                let answer = match fails {
                    true => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    false => ok("fine"),
                };
                wire.send(answer).await;
            }
        }
    });
    let backend = backend.await;
    let check =
        "    health_check: { http: /health, interval: 100ms, timeout: 100ms, fall: 2, rise: 2 }\n";
    let app = start_balancer(&[backend.url()], check, "", "");
    eventually("readiness", async || app.readiness().await == 200).await;
    let healthy = format!(
        "weir_backend_healthy{{upstream=\"app\",backend=\"{}\"}}",
        backend.addr
    );
    while probes.load(Ordering::Relaxed) < 15 {
        assert_eq!(app.metric(&healthy).await, 1);
        let answer = ask(Protocol::Http1, app.http.unwrap(), &Ask::get("/")).await;
        assert_eq!(answer.status, 200);
    }
}

/// Clients that ask without a pause on kept connections, until they are told to stop.
struct Load {
    clients: JoinSet<usize>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(app: &TestApp, clients: usize) -> Self {
        let http = app.http.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let stop = Arc::clone(&stop);
            set.spawn(async move {
                let mut answers = 0;
                let mut kept: Option<TcpStream> = None;
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        // Nobody listens any more: the load ends.
                        None => match TcpStream::connect(http).await {
                            Ok(stream) => stream,
                            Err(_refused) => break,
                        },
                    };
                    let head = exchange(&mut stream).await;
                    assert!(head.starts_with("HTTP/1.1 200"), "{head:?} after {answers}");
                    if !head.contains("connection: close") {
                        kept = Some(stream);
                    }
                    answers += 1;
                }
                answers
            });
        }
        Self { clients: set, stop }
    }

    async fn answers(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = 0;
        while let Some(client) = self.clients.join_next().await {
            answers += client.unwrap();
        }
        answers
    }
}

async fn exchange(stream: &mut TcpStream) -> String {
    let _closed = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nfine") {
        let mut buffer = [0; 1024];
        match timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("no answer")
        {
            Ok(read) if read > 0 => answer.extend_from_slice(&buffer[..read]),
            _closed_or_reset => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn reloads_under_load_fail_no_request() {
    let backend = RecordingBackend::replying("fine").await;
    let app = TestApp::start("", &sections(&backend.url()));
    let load = Load::start(&app, 8);
    for reload in 0..50 {
        let limit = format!("{}# {reload}\n", sections(&backend.url()));
        app.rewrite("", &limit);
        app.reload().await;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(load.answers().await > 100);
}

#[tokio::test]
async fn a_stop_under_load_fails_no_request() {
    let backend = RecordingBackend::replying("fine").await;
    let app = TestApp::start(
        "",
        &format!(
            "{}drain: {{ lame_duck: 200ms, quiet: 50ms, timeout: 10s }}\n",
            sections(&backend.url())
        ),
    );
    let load = Load::start(&app, 8);
    eventually("load", async || {
        app.metric("weir_http_responses_total{upstream=\"app\",class=\"2xx\"}")
            .await
            > 200
    })
    .await;
    app.stop().await;
    // The clients end by themselves, once nobody listens.
    let report = app.stopped().await;
    assert_eq!(report.cut, 0);
    assert!(load.answers().await > 200);
}
