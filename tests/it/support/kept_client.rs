//! A client that keeps its HTTP/1.1 connection and reads one response after the other.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{End, read_to_end};

/// One connection.
pub struct KeptClient {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// A whole response of known length.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl KeptClient {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Connects with so little room that a server must wait until the client reads.
    pub async fn connect_narrow(addr: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self {
            stream: socket.connect(addr).await.unwrap(),
            unread: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a `GET` and reads the response.
    pub async fn get(&mut self, target: &str) -> KeptAnswer {
        self.send(get(target)).await;
        self.answer().await
    }

    /// The next response.
    pub async fn answer(&mut self) -> KeptAnswer {
        let head = self.head().await;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        KeptAnswer {
            status: head[9..12].parse().unwrap(),
            head,
            body: String::from_utf8(self.take(length).await).unwrap(),
        }
    }

    /// The body that a head announces, in chunks or by its length.
    pub async fn rest_of(&mut self, head: &str) -> String {
        if let Some(length) = head.split("content-length: ").nth(1) {
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            return self.text(length).await;
        }
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = String::new();
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line += &self.text(1).await;
            }
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let chunk = self.text(length + 2).await;
            body += chunk.strip_suffix("\r\n").unwrap();
            if length == 0 {
                return body;
            }
        }
    }

    /// The next head, in lower case.
    pub async fn head(&mut self) -> String {
        loop {
            let end = self.unread.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.take(end + 4).await;
                return String::from_utf8(head).unwrap().to_lowercase();
            }
            self.read_more().await;
        }
    }

    /// The next bytes, as many as these.
    pub async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            self.read_more().await;
        }
        self.unread.drain(..length).collect()
    }

    /// The next text, as long as this one must be.
    pub async fn text(&mut self, length: usize) -> String {
        String::from_utf8(self.take(length).await).unwrap()
    }

    /// What is left until the connection ends, and how it ends.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        let mut rest = std::mem::take(&mut self.unread);
        let talk = read_to_end(&mut self.stream, PATIENCE).await;
        rest.extend(talk.received);
        (rest, talk.end)
    }

    async fn read_more(&mut self) {
        let reading = self.stream.read_buf(&mut self.unread);
        let read = timeout(PATIENCE, reading).await.expect("no answer");
        let read = read.unwrap_or(0);
        if read == 0 {
            let tail = &self.unread[self.unread.len().saturating_sub(300)..];
            let seen = String::from_utf8_lossy(tail);
            panic!("the connection ended behind {seen:?}");
        }
    }
}

/// A plain request.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: web.example\r\n\r\n")
}

const PATIENCE: Duration = Duration::from_secs(20);
