//! The TCP load balancer: sessions from their accept to their end.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::support::{Process, TestApp, eventually, weir};

/// A backend that hands each of its connections to the test.
pub struct TcpBackend {
    pub addr: SocketAddr,
    accepted: mpsc::Receiver<TcpStream>,
    task: tokio::task::JoinHandle<()>,
    /// Keeps the port from others once nothing is accepted.
    _held: socket2::Socket,
}

impl TcpBackend {
    pub async fn start() -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap());
        listener.listen(128).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener.into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, accepted) = mpsc::channel(1024);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let _the_test_is_over = sender.send(stream).await;
            }
        });
        Self {
            addr,
            accepted,
            task,
            _held: bind(addr),
        }
    }

    /// The next connection.
    pub async fn session(&mut self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.accepted.recv()).await;
        accepted.expect("no connection").unwrap()
    }

    /// The next connection on which this comes first. Checks are connections, too.
    pub async fn session_that_says(&mut self, text: &str) -> TcpStream {
        loop {
            let mut session = self.session().await;
            let mut heard = vec![0; text.len()];
            if session.read_exact(&mut heard).await.is_ok() && heard == text.as_bytes() {
                return session;
            }
        }
    }

    /// Whether no connection is waiting.
    pub fn is_idle(&mut self) -> bool {
        self.accepted.try_recv().is_err()
    }

    /// Accepts nothing more. What was accepted stays.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

/// A socket whose port another one may have, too.
fn bind(addr: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

/// A listener before these backends, with more keys of both.
pub fn sections(listener: &str, backends: &[SocketAddr], upstream: &str) -> String {
    let backends: Vec<String> = backends
        .iter()
        .map(|addr| format!("tcp://{addr}"))
        .collect();
    format!(
        "tcp:\n  - {{ listen: 127.0.0.1:0, upstream: db, {listener} }}\nupstreams:\n  db:\n    backends: [{}]\n{upstream}",
        backends.join(", ")
    )
}

pub async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.tcp.unwrap()).await.unwrap()
}

/// Whether a connection is reset at once. That may be seen while it is made.
pub async fn is_refused(addr: SocketAddr) -> bool {
    match TcpStream::connect(addr).await {
        Ok(mut stream) => end(&mut stream).await.is_err(),
        Err(_reset) => true,
    }
}

pub async fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

#[track_caller]
pub fn hears(stream: &mut TcpStream, expected: &str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let mut heard = vec![0; expected.len()];
        let read = timeout(PATIENCE, stream.read_exact(&mut heard)).await;
        read.unwrap_or_else(|_| panic!("nothing came at {caller}"))
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), expected, "at {caller}");
    }
}

/// The end of what comes: in good order (`Ok`) or by a reset.
pub async fn end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let read = read.expect("no end");
    assert_eq!(String::from_utf8_lossy(&rest), "");
    read.map(|_| ())
}

#[tokio::test]
async fn bytes_pass_both_ways_and_the_server_may_speak_first() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections("", &[backend.addr], ""));
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    says(&mut session, "hello").await;
    hears(&mut client, "hello").await;
    for text in ["one", "two"] {
        says(&mut client, text).await;
        hears(&mut session, text).await;
    }
    let received = "weir_tcp_bytes_total{upstream=\"db\",from=\"client\"}";
    app.until_metric(received, 6).await;
    assert_eq!(
        app.metric("weir_tcp_bytes_total{upstream=\"db\",from=\"backend\"}")
            .await,
        5
    );
    drop(session);
    end(&mut client).await.unwrap();
    drop(client);
    eventually("it is over", async || {
        app.metric("weir_calls_in_flight").await == 0
    })
    .await;
    assert_eq!(
        app.metric("weir_tcp_sessions_total{upstream=\"db\"}").await,
        1
    );
}

/// A client that ends its side waits for the whole answer.
#[tokio::test]
async fn an_end_is_passed_on_and_the_other_side_goes_on() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections("", &[backend.addr], ""));
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    says(&mut client, "all of it").await;
    client.shutdown().await.unwrap();
    hears(&mut session, "all of it").await;
    end(&mut session).await.unwrap();
    says(&mut session, "the answer").await;
    hears(&mut client, "the answer").await;
    drop(session);
    end(&mut client).await.unwrap();
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_as_one() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections("", &[backend.addr], ""));
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    says(&mut session, "hello").await;
    hears(&mut client, "hello").await;
    session.set_zero_linger().unwrap();
    drop(session);
    assert!(end(&mut client).await.is_err());
    app.until_metric("weir_tcp_faults_total{cause=\"response_broken\"}", 1)
        .await;
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    says(&mut client, "hello").await;
    hears(&mut session, "hello").await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(end(&mut session).await.is_err());
    app.until_metric("weir_tcp_faults_total{cause=\"client_closed\"}", 1)
        .await;
}

#[tokio::test]
async fn the_next_backend_takes_what_one_refuses() {
    let (mut gone, mut backend) = (TcpBackend::start().await, TcpBackend::start().await);
    gone.stop().await;
    let app = TestApp::start("", &sections("", &[gone.addr, backend.addr], ""));
    for _ in 0..4 {
        let mut client = connect(&app).await;
        says(&mut backend.session().await, "hello").await;
        hears(&mut client, "hello").await;
    }
    let retries = app
        .metric("weir_tcp_retries_total{cause=\"connect_refused\"}")
        .await;
    assert!(retries > 0);
    backend.stop().await;
    assert!(is_refused(app.tcp.unwrap()).await);
    app.until_metric("weir_tcp_faults_total{cause=\"connect_refused\"}", 1)
        .await;
}

#[tokio::test]
async fn a_session_waits_where_backends_are_full() {
    let mut backend = TcpBackend::start().await;
    let keys = "    max_connections: 1\n    queue: { length: 1, timeout: 20s }\n";
    let app = TestApp::start("", &sections("", &[backend.addr], keys));
    let first = connect(&app).await;
    let first_session = backend.session().await;
    let mut second = connect(&app).await;
    app.until_metric("weir_upstream_queue{upstream=\"db\"}", 1)
        .await;
    assert!(backend.is_idle());
    // The queue is full, too.
    assert!(is_refused(app.tcp.unwrap()).await);
    app.until_metric("weir_tcp_faults_total{cause=\"queue_full\"}", 1)
        .await;
    drop((first, first_session));
    says(&mut backend.session().await, "hello").await;
    hears(&mut second, "hello").await;
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_the_queue() {
    let mut backend = TcpBackend::start().await;
    let keys = "    max_connections: 1\n    queue: { length: 1, timeout: 20s }\n";
    let app = TestApp::start("", &sections("", &[backend.addr], keys));
    let _first = connect(&app).await;
    let _session = backend.session().await;
    let waiting = "weir_upstream_queue{upstream=\"db\"}";
    let second = connect(&app).await;
    app.until_metric(waiting, 1).await;
    drop(second);
    app.until_metric(waiting, 0).await;
    app.until_metric("weir_tcp_faults_total{cause=\"client_closed\"}", 1)
        .await;
}

#[tokio::test]
async fn a_place_that_does_not_come_free_in_time() {
    let mut backend = TcpBackend::start().await;
    let keys = "    max_connections: 1\n    queue: { length: 1, timeout: 50ms }\n";
    let app = TestApp::start("", &sections("", &[backend.addr], keys));
    let _first = connect(&app).await;
    let _session = backend.session().await;
    assert!(is_refused(app.tcp.unwrap()).await);
    app.until_metric("weir_tcp_faults_total{cause=\"queue_timeout\"}", 1)
        .await;
}

#[tokio::test]
async fn silent_sessions_end() {
    let mut backend = TcpBackend::start().await;
    for (listener, upstream) in [
        ("idle_timeout: 100ms", ""),
        ("", "    idle_timeout: 100ms\n"),
    ] {
        let app = TestApp::start("", &sections(listener, &[backend.addr], upstream));
        let mut client = connect(&app).await;
        let mut session = backend.session().await;
        assert!(end(&mut client).await.is_err());
        assert!(end(&mut session).await.is_err());
        app.until_metric("weir_tcp_faults_total{cause=\"idle_timeout\"}", 1)
            .await;
    }
}

/// A side that ended says nothing more, so the other one may not be silent for as long as both could.
#[tokio::test]
async fn half_open_sessions_end_sooner() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start(
        "",
        &sections("half_open_timeout: 100ms", &[backend.addr], ""),
    );
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    client.shutdown().await.unwrap();
    end(&mut session).await.unwrap();
    assert!(end(&mut client).await.is_err());
    app.until_metric("weir_tcp_faults_total{cause=\"idle_timeout\"}", 1)
        .await;
}

/// What a slow reader does not take is not read from the other side.
#[tokio::test]
async fn much_passes_unchanged_and_a_slow_side_pushes_back() {
    const BYTES: usize = 32 << 20;
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections("", &[backend.addr], ""));
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    let sent: Vec<u8> = (0..BYTES).map(|index| ((index * 31) >> 7) as u8).collect();
    let (to_send, expected) = (sent.clone(), sent);
    let sending = tokio::spawn(async move {
        session.write_all(&to_send).await.unwrap();
        session
    });
    // Nothing is read, so most of it stays with the sender.
    let passed = "weir_tcp_bytes_total{upstream=\"db\",from=\"backend\"}";
    let (latest, times) = (Cell::new(0), Cell::new(0));
    eventually("it stands still", async || {
        let now = app.metric(passed).await;
        let is_still = now > 0 && latest.replace(now) == now;
        times.set(if is_still { times.get() + 1 } else { 0 });
        times.get() == 20
    })
    .await;
    assert!(app.metric(passed).await < BYTES as u64 && !sending.is_finished());
    let mut received = vec![0; BYTES];
    timeout(PATIENCE, client.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received == expected);
    drop(sending.await.unwrap());
    end(&mut client).await.unwrap();
}

#[tokio::test]
async fn sessions_of_a_backend_that_is_marked_down_are_closed() {
    let mut backend = TcpBackend::start().await;
    let keys = "    on_marked_down: close_sessions\n    health_check: { tcp: true, interval: 100ms, timeout: 100ms, fall: 1 }\n";
    let app = TestApp::start("", &sections("", &[backend.addr], keys));
    app.until_metric("weir_upstream_available{upstream=\"db\"}", 1)
        .await;
    let mut client = connect(&app).await;
    says(&mut client, "hello").await;
    let mut session = backend.session_that_says("hello").await;
    backend.stop().await;
    assert!(end(&mut client).await.is_err());
    assert!(end(&mut session).await.is_err());
    app.until_metric("weir_tcp_faults_total{cause=\"marked_down\"}", 1)
        .await;
}

#[tokio::test]
async fn a_backup_is_there_for_the_time_when_no_other_is_available() {
    let (mut backend, mut backup) = (TcpBackend::start().await, TcpBackend::start().await);
    let sections = format!(
        "tcp:\n  - {{ listen: 127.0.0.1:0, upstream: db }}\nupstreams:\n  db:\n    backends: [\"tcp://{}\", {{ url: \"tcp://{}\", backup: true }}]\n    \
         health_check: {{ tcp: true, interval: 100ms, timeout: 100ms, fall: 1 }}\n",
        backend.addr, backup.addr
    );
    let app = TestApp::start("", &sections);
    let available = |backend: SocketAddr| {
        format!("weir_backend_available{{upstream=\"db\",backend=\"tcp://{backend}\"}}")
    };
    for addr in [backend.addr, backup.addr] {
        app.until_metric(&available(addr), 1).await;
    }
    for _ in 0..3 {
        let mut client = connect(&app).await;
        says(&mut client, "first").await;
        backend.session_that_says("first").await;
    }
    backend.stop().await;
    app.until_metric(&available(backend.addr), 0).await;
    let mut client = connect(&app).await;
    says(&mut client, "second").await;
    backup.session_that_says("second").await;
}

/// Sessions last when a reload takes their listener away.
#[tokio::test]
async fn a_session_outlives_its_listener() {
    let mut backend = TcpBackend::start().await;
    let app = TestApp::start("", &sections("", &[backend.addr], ""));
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    app.rewrite("", "");
    app.reload().await;
    app.until_metric("weir_config_reloads_total{result=\"ok\"}", 1)
        .await;
    says(&mut client, "still here").await;
    hears(&mut session, "still here").await;
}

#[tokio::test]
async fn a_stop_waits_for_sessions_and_cuts_them_at_the_end() {
    let mut backend = TcpBackend::start().await;
    let drain = "drain: { lame_duck: 0s, quiet: 50ms, timeout: 30s }\n";
    let sections = format!("{drain}{}", sections("", &[backend.addr], ""));
    let app = TestApp::start("", &sections);
    let mut client = connect(&app).await;
    let mut session = backend.session().await;
    app.stop().await;
    eventually("it stops", async || app.readiness().await != 200).await;
    says(&mut client, "still here").await;
    hears(&mut session, "still here").await;
    drop((client, session));
    let report = app.stopped().await;
    assert_eq!(report.cut, 0, "{report}");
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_end() {
    let mut backend = TcpBackend::start().await;
    let drain = "drain: { lame_duck: 0s, quiet: 50ms, timeout: 200ms }\n";
    let sections = format!("{drain}{}", sections("", &[backend.addr], ""));
    let app = TestApp::start("", &sections);
    let mut client = connect(&app).await;
    let _session = backend.session().await;
    app.stop().await;
    let report = app.stopped().await;
    assert_eq!(report.cut, 1, "{report}");
    let _ended = end(&mut client).await;
}

/// Many sessions leave no file behind.
#[tokio::test]
async fn sessions_leave_nothing() {
    let mut backend = TcpBackend::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    let sections = sections("", &[backend.addr], "    health_check: off\n");
    std::fs::write(&file, format!("workers: 2\n{sections}")).unwrap();
    let mut command = weir();
    command.arg("--cdn-host=cdn.example.com");
    command.arg("--config").arg(&file);
    let process = Process::spawn(command);
    let round = async |backend: &mut TcpBackend| {
        for _ in 0..500 {
            let mut client = TcpStream::connect(process.tcp.unwrap()).await.unwrap();
            let mut session = backend.session().await;
            says(&mut client, "x").await;
            hears(&mut session, "x").await;
            drop(session);
            end(&mut client).await.unwrap();
        }
    };
    round(&mut backend).await;
    eventually("files are closed", async || process.open_files() < 60).await;
    let files = process.open_files();
    round(&mut backend).await;
    eventually("files are closed", async || process.open_files() <= files).await;
}

const PATIENCE: Duration = Duration::from_secs(20);
