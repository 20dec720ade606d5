//! An HTTP/1.1 backend that keeps every byte that it gets, and does what its script says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::support::{
    ok,
    raw_http2::{self, HEADERS, SETTINGS},
    strict_http1::{Fault, RawRequest, parse_head, parse_request},
};

/// One scripted server. Ends when it is dropped.
pub struct RecordingBackend {
    pub addr: SocketAddr,
    received: Received,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    connections: usize,
    /// What came, with the connection on which it did.
    parts: Vec<(usize, Vec<u8>)>,
}

type Received = Arc<Mutex<Log>>;

impl RecordingBackend {
    /// Answers 200 with this body to every whole request, and keeps its connections.
    pub async fn replying(body: &'static str) -> Self {
        Self::scripted(move |mut wire| async move {
            while let Some(request) = wire.request().await {
                let whole = ok(body);
                let answer = match request.method.as_str() {
                    "HEAD" => whole.strip_suffix(body).unwrap(),
                    _ => &whole,
                };
                wire.send(answer).await;
            }
        })
        .await
    }

    /// Runs a script on each of its connections, which ends with it.
    pub async fn scripted<F>(script: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let received = Received::default();
        let log = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = {
                    let mut log = log.lock().unwrap();
                    log.connections += 1;
                    log.connections - 1
                };
                serving.spawn(script(Wire {
                    stream,
                    index,
                    unread: Vec::new(),
                    received: Arc::clone(&log),
                }));
            }
        });
        Self {
            addr,
            received,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn connections(&self) -> usize {
        self.received.lock().unwrap().connections
    }

    /// Everything that came, connection by connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let log = self.received.lock().unwrap();
        let of = |index| log.parts.iter().filter(move |part| part.0 == index);
        let bytes = |index| of(index).flat_map(|part| part.1.clone()).collect();
        (0..log.connections).map(bytes).collect()
    }

    /// The requests that came, in the order in which they ended, and how many broke off. Panics
    /// if any byte of them could be read in two ways.
    #[track_caller]
    pub fn seen(&self) -> (Vec<RawRequest>, usize) {
        self.try_seen().unwrap_or_else(|what| panic!("{what}"))
    }

    /// The same, with what could be read in two ways for an error.
    pub fn try_seen(&self) -> Result<(Vec<RawRequest>, usize), String> {
        let log = self.received.lock().unwrap();
        let mut unread = vec![Vec::new(); log.connections];
        let mut whole = Vec::new();
        for (connection, part) in &log.parts {
            let unread: &mut Vec<u8> = &mut unread[*connection];
            unread.extend_from_slice(part);
            loop {
                match parse_request(unread) {
                    Ok((request, length)) => {
                        unread.drain(..length);
                        whole.push(request);
                    }
                    Err(Fault::Incomplete) => break,
                    Err(Fault::Malformed(what)) => {
                        let unread = String::from_utf8_lossy(unread);
                        return Err(format!("{what} in {unread:?}"));
                    }
                }
            }
        }
        let broken = unread.iter().filter(|unread| !unread.is_empty()).count();
        Ok((whole, broken))
    }

    /// The requests that came, all of them whole.
    #[track_caller]
    pub fn requests(&self) -> Vec<RawRequest> {
        let (whole, broken) = self.seen();
        assert_eq!(broken, 0, "{:?}", self.received());
        whole
    }
}

impl Drop for RecordingBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The backend's end of one connection.
pub struct Wire {
    stream: TcpStream,
    index: usize,
    unread: Vec<u8>,
    received: Received,
}

impl Wire {
    /// Which connection of the backend it is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Reads a whole request; `None` at the end of the connection.
    pub async fn request(&mut self) -> Option<RawRequest> {
        self.read(parse_request).await
    }

    /// Reads the head of a request, and leaves its body where it is.
    pub async fn head(&mut self) -> Option<RawRequest> {
        self.read(parse_head).await
    }

    async fn read(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<(RawRequest, usize), Fault>,
    ) -> Option<RawRequest> {
        loop {
            match parse(&self.unread) {
                Ok((request, length)) => {
                    self.unread.drain(..length);
                    return Some(request);
                }
                // `seen` says what is wrong with it.
                Err(Fault::Malformed(_)) => return None,
                Err(Fault::Incomplete) => self.read_more().await?,
            }
        }
    }

    async fn read_more(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        let read = self
            .stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|&read| read > 0)?;
        buffer.truncate(read);
        self.unread.extend_from_slice(&buffer);
        self.received
            .lock()
            .unwrap()
            .parts
            .push((self.index, buffer));
        Some(())
    }

    /// Reads whatever comes next, for a script that speaks another protocol.
    pub async fn bytes(&mut self) -> Option<Vec<u8>> {
        if self.unread.is_empty() {
            self.read_more().await?;
        }
        Some(std::mem::take(&mut self.unread))
    }

    /// Sends bytes; whether they can still arrive.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Speaks HTTP/2 with these settings: answers each request's head, counted from 1, by the parts
    /// that `answer` makes for its number and its stream. Ends when the other side does.
    pub async fn speak_http2(
        &mut self,
        settings: &[u8],
        answer: impl Fn(usize, u32) -> Vec<Vec<u8>>,
    ) {
        self.send(raw_http2::frame(SETTINGS, 0, 0, settings)).await;
        let (mut received, mut answered) = (Vec::new(), 0);
        while let Some(bytes) = self.bytes().await {
            received.extend(bytes);
            let frames = raw_http2::frames(&received);
            let heads = frames.iter().filter(|frame| frame.kind == HEADERS);
            for head in heads.skip(answered) {
                answered += 1;
                for part in answer(answered, head.stream) {
                    self.send(part).await;
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Reads until the other side ends the connection.
    pub async fn until_closed(&mut self) {
        while self.read_more().await.is_some() {}
    }

    /// Ends the sending direction, and goes on reading.
    pub async fn end_sending(&mut self) {
        let _closed = self.stream.shutdown().await;
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Lets time pass, unless the other side ends the connection before.
    pub async fn pause(&mut self, time: Duration) {
        let _either = timeout(time, self.until_closed()).await;
    }
}
