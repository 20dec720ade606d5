//! A client that sends what no library would, and reads all that comes back.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How a connection went that began with some bytes.
#[derive(Clone, Debug)]
pub struct Talk {
    pub received: Vec<u8>,
    pub end: End,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Closed,
    Reset,
    /// Still open after some time of silence.
    Open,
}

/// Sends bytes and reads until the server closes, or says nothing for `patience`.
pub async fn talk(addr: SocketAddr, request: impl AsRef<[u8]>, patience: Duration) -> Talk {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // A server that closes early may reset before all is written.
    let _early_end = timeout(patience, stream.write_all(request.as_ref())).await;
    read_to_end(&mut stream, patience).await
}

pub async fn read_to_end(stream: &mut TcpStream, patience: Duration) -> Talk {
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let end = loop {
        match timeout(patience, stream.read(&mut buffer)).await {
            Err(_elapsed) => break End::Open,
            Ok(Err(_reset)) => break End::Reset,
            Ok(Ok(0)) => break End::Closed,
            Ok(Ok(read)) => received.extend_from_slice(&buffer[..read]),
        }
    };
    Talk { received, end }
}

impl Talk {
    /// The status codes of all heads, interim ones included.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.received);
        let after = text.split("HTTP/1.1 ").skip(1);
        after.map(|head| head[..3].parse().unwrap()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}
