//! A network between Weir and a server, which loses what a test wants.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Connections over TCP to a server's Unix socket. End when it is dropped.
pub struct Link {
    pub addr: SocketAddr,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Default)]
struct Network {
    /// Connections that were opened.
    opened: usize,
    /// Of how many of them answers get lost.
    lost: usize,
    /// Whether those of all get lost.
    is_down: bool,
}

impl Link {
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (network, seen) = watch::channel(Network::default());
        let opens = network.clone();
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = opens.borrow().opened;
                opens.send_modify(|network| network.opened += 1);
                links.spawn(pass(client, socket.clone(), number, seen.clone()));
            }
        });
        Self {
            addr,
            network,
            task,
        }
    }

    /// Connections that were opened.
    pub fn opened(&self) -> usize {
        self.network.borrow().opened
    }

    /// Lets no answer through; questions reach the server.
    pub fn lose_answers(&self) {
        self.network.send_modify(|network| network.is_down = true);
    }

    /// Lets answers through that come from now on.
    pub fn pass_answers(&self) {
        self.network.send_modify(|network| network.is_down = false);
    }

    /// Loses the answers of all connections that are open, for ever. Those to come are whole.
    pub fn lose_open_connections(&self) {
        self.network
            .send_modify(|network| network.lost = network.opened);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    client: TcpStream,
    socket: PathBuf,
    number: usize,
    network: watch::Receiver<Network>,
) {
    let Ok(server) = UnixStream::connect(socket).await else {
        return;
    };
    let (mut questions, mut client) = client.into_split();
    let (mut answers, mut server) = server.into_split();
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = answers.read(&mut buffer).await {
            let network = *network.borrow();
            let is_lost = network.is_down || number < network.lost;
            if !is_lost && client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ended = copy(&mut questions, &mut server) => {}
        () = back => {}
    }
}
