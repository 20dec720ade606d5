//! A backend that does what a test tells it, byte for byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

/// One scripted HTTP/1.1 server. Ends when it is dropped.
pub struct FakeBackend {
    pub addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What a backend does after it read a request's head.
#[derive(Clone)]
pub enum Script {
    /// Writes these bytes and keeps the connection.
    Reply(String),
    /// Writes these bytes and closes.
    ReplyAndClose(String),
    /// Reads as many bytes of the body, then writes and keeps the connection.
    ReadBody(usize, String),
    /// Answers the first request of a connection, and closes at the second without a word.
    CloseAtSecond(String),
    /// Answers with this body, a byte every 20 ms.
    Drip(String),
    /// Says nothing.
    Silence,
}

impl FakeBackend {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, script)
    }

    /// Answers 200 with this body to everything.
    pub async fn replying(body: &str) -> Self {
        Self::start(Script::Reply(ok(body))).await
    }

    /// An address where nobody listens. It stays taken until the process ends, so that no other
    /// test listens there by chance; this one may.
    pub async fn refusing() -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = socket.local_addr().unwrap();
        std::mem::forget(socket);
        addr
    }

    pub fn serve(listener: TcpListener, script: Script) -> Self {
        let addr = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&heads), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                serving.spawn(converse(stream, script.clone(), Arc::clone(&log)));
            }
        });
        Self {
            addr,
            heads,
            connections,
            task,
        }
    }

    /// The heads of all requests but the probes'.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole 200 with a body.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn converse(mut stream: TcpStream, script: Script, heads: Arc<Mutex<Vec<String>>>) {
    let mut requests = 0;
    while let Some(head) = read_head(&mut stream).await {
        if head.starts_with("GET /health ") {
            let _gone = stream.write_all(ok("healthy").as_bytes()).await;
            continue;
        }
        requests += 1;
        heads.lock().unwrap().push(head);
        let reply = match &script {
            Script::Reply(reply) => reply,
            Script::ReplyAndClose(reply) => {
                let _gone = stream.write_all(reply.as_bytes()).await;
                return;
            }
            Script::ReadBody(bytes, reply) => {
                stream.read_exact(&mut vec![0; *bytes]).await.unwrap();
                reply
            }
            Script::CloseAtSecond(_) if requests == 2 => return,
            Script::CloseAtSecond(reply) => reply,
            Script::Drip(body) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _gone = stream.write_all(head.as_bytes()).await;
                for byte in body.bytes() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    let _gone = stream.write_all(&[byte]).await;
                }
                continue;
            }
            Script::Silence => {
                let _closed = stream.read(&mut [0]).await;
                return;
            }
        };
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}
