//! A bound socket, what is served on it, and how the planes hand it on.
//!
//! The control plane binds and closes listeners, the workers accept on them.

use std::{net::TcpListener, sync::Arc};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::state::ListenerStats;

/// One worker's socket of a listener.
#[derive(Debug)]
pub struct Listener {
    /// What is served.
    pub service: ServiceId,
    /// The socket.
    pub socket: TcpListener,
    /// Its connections, for all workers.
    pub stats: Arc<ListenerStats>,
    /// Cancelled when the listener is to be closed.
    pub closed: CancellationToken,
}

/// What answers on a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceId {
    /// The redirect service.
    Redirect,
    /// The HTTP load balancer's listener of this id.
    Http(usize),
    /// The TCP load balancer's listener of this id.
    Tcp(usize),
    /// Sends back what it gets.
    #[cfg(test)]
    Echo,
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
