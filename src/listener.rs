//! A bound socket, what is served on it, and how the planes hand it on.
//!
//! The control plane binds and closes listeners, the workers accept on them.

use std::net::TcpListener;

use tokio::sync::{mpsc, watch};

/// One worker's socket of a listener.
#[derive(Debug)]
pub struct Listener {
    /// What is served.
    pub face: Face,
    /// The socket.
    pub socket: TcpListener,
    /// Ends when the listener is to be closed.
    pub open: Open,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Face {
    /// The redirect service.
    Redirect,
    /// The HTTP load balancer's listener of this id.
    Http(usize),
}

/// Keeps a listener open while it lives.
pub type Keeper = watch::Sender<()>;
/// The other end of a [`Keeper`].
#[derive(Clone, Debug)]
pub struct Open(watch::Receiver<()>);

impl Open {
    /// Makes both ends.
    pub fn new() -> (Keeper, Self) {
        let (keeper, open) = watch::channel(());
        (keeper, Self(open))
    }

    /// Ends when the keeper is gone.
    pub async fn closed(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Takes listeners to one worker.
pub type ListenerSender = mpsc::Sender<Listener>;
/// A worker's end of a [`ListenerSender`].
pub type ListenerReceiver = mpsc::Receiver<Listener>;

/// Makes the channels to all workers.
pub fn listener_channels(workers: usize) -> (Vec<ListenerSender>, Vec<ListenerReceiver>) {
    (0..workers).map(|_| mpsc::channel(QUEUE_MAX)).unzip()
}

/// Listeners on their way to one worker: far more than a configuration has.
const QUEUE_MAX: usize = 1024;
