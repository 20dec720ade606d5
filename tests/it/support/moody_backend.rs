//! A backend whose behaviour a test changes while it serves.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// One HTTP/1.1 server, which answers with its own name. Ends when it is dropped.
pub struct MoodyBackend {
    pub addr: SocketAddr,
    state: Arc<State>,
    serving: Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listened on: keeps the port for us while nobody listens.
    _reserved: TcpSocket,
}

/// What becomes of requests; probes (`/health`) have a status of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mood {
    /// 200 and the backend's name.
    Good,
    /// This status, and no body.
    Status(u16),
    /// The connection is closed without an answer.
    Closing,
    /// Nothing, until the mood is another.
    Waiting,
}

struct State {
    name: &'static str,
    mood: watch::Sender<Mood>,
    probe_status: AtomicU16,
    requests: AtomicUsize,
    probes: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl MoodyBackend {
    pub async fn start(name: &'static str) -> Self {
        let reserved = socket("127.0.0.1:0".parse().unwrap());
        let backend = Self {
            addr: reserved.local_addr().unwrap(),
            state: Arc::new(State {
                name,
                mood: watch::Sender::new(Mood::Good),
                probe_status: AtomicU16::new(200),
                requests: AtomicUsize::new(0),
                probes: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                open: AtomicUsize::new(0),
            }),
            serving: Mutex::default(),
            _reserved: reserved,
        };
        backend.rise();
        backend
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A metric of this backend in the upstream `app`.
    pub fn metric(&self, name: &str) -> String {
        format!(
            "weir_backend_{name}{{upstream=\"app\",backend=\"{}\"}}",
            self.addr
        )
    }

    pub fn set(&self, mood: Mood) {
        self.state.mood.send_replace(mood);
    }

    pub fn answer_probes_by(&self, status: u16) {
        self.state.probe_status.store(status, Ordering::Relaxed);
    }

    /// Closes the listener and all connections: whoever connects now is refused.
    pub async fn fall(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            let _aborted = serving.await;
        }
    }

    /// Listens again, on the same port.
    pub fn rise(&self) {
        let listener = socket(self.addr).listen(1024).unwrap();
        let state = Arc::clone(&self.state);
        let serving = tokio::spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                state.connections.fetch_add(1, Ordering::Relaxed);
                conversations.spawn(converse(stream, Arc::clone(&state)));
                while conversations.try_join_next().is_some() {}
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }

    /// Requests that came, probes aside.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    pub fn probes(&self) -> usize {
        self.state.probes.load(Ordering::Relaxed)
    }

    /// Connections that ever came, those of probes included.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }
}

impl Drop for MoodyBackend {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }
}

fn socket(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}

/// Counts an open connection while it lives.
struct OpenConnection<'a>(&'a AtomicUsize);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    state.open.fetch_add(1, Ordering::Relaxed);
    let _open = OpenConnection(&state.open);
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let mut mood = state.mood.subscribe();
    while let Some(head) = read_head(&mut stream).await {
        if head.starts_with(b"GET /health ") {
            state.probes.fetch_add(1, Ordering::Relaxed);
            let status = state.probe_status.load(Ordering::Relaxed);
            let length = if status == 204 {
                ""
            } else {
                "Content-Length: 0\r\n"
            };
            let answer = format!("HTTP/1.1 {status} Probed\r\n{length}\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        state.requests.fetch_add(1, Ordering::Relaxed);
        let mood = *mood.wait_for(|&mood| mood != Mood::Waiting).await.unwrap();
        let (status, body) = match mood {
            Mood::Good => (200, state.name),
            Mood::Status(status) => (status, ""),
            Mood::Closing | Mood::Waiting => return,
        };
        let answer = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(head)
}
