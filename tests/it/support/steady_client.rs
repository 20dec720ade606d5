//! A client that keeps its connection, and takes whatever is not a whole answer for a failure.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// One HTTP/1.1 client.
pub struct SteadyClient {
    addr: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// Status and body.
pub type Said = (u16, String);

impl SteadyClient {
    /// Connects at the first request.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, stream: None }
    }

    /// Asks, on the kept connection if there is one.
    pub async fn get(&mut self, target: &str) -> Result<Said, String> {
        match timeout(PATIENCE, self.exchange(target)).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("no answer".to_owned()),
        }
    }

    /// Asks, and returns the body of a 200.
    #[track_caller]
    pub fn body(&mut self) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            match self.get("/").await {
                Ok((200, body)) => body,
                other => panic!("{other:?} at {caller}"),
            }
        }
    }

    async fn exchange(&mut self, target: &str) -> std::io::Result<Said> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.addr).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let request = format!("GET {target} HTTP/1.1\r\nHost: web.example\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        if !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        let status = head[9..12].parse().unwrap();
        Ok((status, String::from_utf8(body).unwrap()))
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
