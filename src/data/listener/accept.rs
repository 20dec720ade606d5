//! The accept loops of one worker.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    thread,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{self, JoinSet},
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    data::{
        context::WorkerContext,
        downstream,
        listener::{HandoverSender, placement::Accepted},
        service::Services,
    },
    listener::{Listener, ListenerReceiver, ServiceId},
    net::{AcceptPause, AcceptRetry, Transport, accept_retry},
    shutdown::{Phase, PhaseReceiver},
    state::{AcceptFault, ClientPlace, CloseCause, ListenerPlace, ListenerStats},
};

/// What the accept loops of one worker use.
#[derive(Debug)]
pub(in crate::data) struct Acceptor {
    services: Rc<Services>,
    handover: HandoverSender,
}

impl Acceptor {
    pub(in crate::data) fn new(services: Rc<Services>, handover: HandoverSender) -> Self {
        Self { services, handover }
    }

    fn worker(&self) -> &Rc<WorkerContext> {
        self.services.worker()
    }
}

/// Accepts on every listener that comes, until a stop. `started` is dropped once those that were
/// there at the start are being accepted on.
pub(in crate::data) async fn run(
    acceptor: Rc<Acceptor>,
    mut listeners: ListenerReceiver,
    mut phase: PhaseReceiver,
    started: mpsc::Sender<Infallible>,
) {
    let mut loops = JoinSet::new();
    let for_loops = phase.clone();
    let accept = |listener| accept(Rc::clone(&acceptor), listener, for_loops.clone());
    while let Ok(listener) = listeners.try_recv() {
        loops.spawn_local(accept(listener));
    }
    drop(started);
    loop {
        tokio::select! {
            biased;
            _ = phase.wait_for(|&phase| phase >= Phase::Draining) => break,
            Some(listener) = listeners.recv() => {
                loops.spawn_local(accept(listener));
            }
            // A panic there is caught by the runtime, and its listener is gone with it.
            Some(_ended) = loops.join_next() => {}
        }
    }
    listeners.close();
    while listeners.recv().await.is_some() {
        acceptor.worker().shared.accept_loop_ended();
    }
    while loops.join_next().await.is_some() {}
}

/// Where connections come from.
#[derive(Debug)]
struct Origin {
    service: ServiceId,
    stats: Arc<ListenerStats>,
}

/// Accepts until a stop or a reload closes the listener, then takes what the kernel still holds:
/// those clients believe that they are connected.
async fn accept(acceptor: Rc<Acceptor>, listener: Listener, phase: PhaseReceiver) {
    let Listener {
        service,
        socket,
        stats,
        closed,
    } = listener;
    let origin = Origin { service, stats };
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => {
            accept_until_closed(&acceptor, &origin, &socket, closed, phase).await;
            socket.into_std()
        }
        Err(error) => Err(error),
    };
    match socket {
        Ok(socket) => accept_waiting(&acceptor, &origin, &socket),
        Err(error) => tracing::error!(%error, "cannot accept what is waiting"),
    }
    acceptor.worker().shared.accept_loop_ended();
}

async fn accept_until_closed(
    acceptor: &Acceptor,
    origin: &Origin,
    listener: &TcpListener,
    closed: CancellationToken,
    mut phase: PhaseReceiver,
) {
    let mut pause = AcceptPause::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|&phase| phase >= Phase::Draining) => return,
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                log_recovery(acceptor.worker(), pause.reset());
                admit(acceptor, origin, stream, peer);
            }
            Err(error) => rest(acceptor.worker(), &error, &mut pause).await,
        }
    }
}

/// Empties the kernel's queue. Asks the system itself: the runtime may stop early, by its budget
/// or by what it remembers of the socket's readiness.
fn accept_waiting(acceptor: &Acceptor, origin: &Origin, listener: &std::net::TcpListener) {
    loop {
        let accepted = listener.accept().and_then(|(stream, peer)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, peer))
        });
        match accepted {
            Ok((stream, peer)) => admit(acceptor, origin, stream, peer),
            Err(error) if accept_retry(&error) == AcceptRetry::AtOnce => {}
            // Nothing is waiting any more, or there is no file for it.
            Err(_would_block_or_exhausted) => return,
        }
    }
}

/// Serves the connections that other workers hand over.
pub(in crate::data) async fn receive(
    acceptor: Rc<Acceptor>,
    mut handed_over: mpsc::Receiver<Accepted<std::net::TcpStream>>,
    mut phase: PhaseReceiver,
) {
    let worker = Rc::clone(acceptor.worker());
    loop {
        tokio::select! {
            Some(accepted) = handed_over.recv() => {
                let slot = ConnectionSlot::taken(&worker, accepted.client, accepted.listener);
                match TcpStream::from_std(accepted.stream) {
                    Ok(stream) => start(&acceptor, slot, accepted.service, accepted.peer, stream),
                    Err(error) => tracing::error!(%error, "cannot take over a connection"),
                }
            }
            _ = phase.wait_for(|&phase| phase >= Phase::ClosingIdle) => break,
        }
    }
    handed_over.close();
    while let Some(accepted) = handed_over.recv().await {
        drop(ConnectionSlot::taken(
            &worker,
            accepted.client,
            accepted.listener,
        ));
    }
}

/// Counts an accepted connection and gives it to the worker that should have it.
fn admit(acceptor: &Acceptor, origin: &Origin, stream: TcpStream, peer: SocketAddr) {
    let worker = acceptor.worker();
    let refuse = |cause| worker.state().stats.closed(cause).increment();
    let limit = worker.connections().limit.map_or(usize::MAX, usize::from);
    let for_clients = worker.shared.open_files.client_connections_max();
    if worker.shared.open_connections() >= limit.min(for_clients) {
        return refuse(CloseCause::ConnectionLimit);
    }
    let Some(client) = worker.shared.clients.enter(peer.ip()) else {
        return refuse(CloseCause::ClientLimit);
    };
    #[cfg(not(target_os = "linux"))]
    let _best_effort = stream.set_nodelay(true);
    worker.state().connection_opened();
    // On a socket for both families an IPv4 client looks like an IPv6 one.
    let peer = peer.ip().to_canonical();
    let service = origin.service;
    let accepted = Accepted {
        service,
        peer,
        stream,
        client,
        listener: ListenerPlace::taken(&origin.stats),
    };
    let Some(accepted) = acceptor
        .handover
        .place(worker.index, accepted, &worker.shared)
    else {
        return;
    };
    let slot = ConnectionSlot::taken(worker, accepted.client, accepted.listener);
    start(acceptor, slot, service, peer, accepted.stream);
}

fn start(
    acceptor: &Acceptor,
    slot: ConnectionSlot,
    service: ServiceId,
    peer: IpAddr,
    stream: TcpStream,
) {
    let service = acceptor.services.of(service);
    task::spawn_local(async move {
        let transport = Transport::Tcp(stream);
        let cause = downstream::serve(slot.worker(), service, peer, transport).await;
        slot.release(cause);
    });
}

async fn rest(worker: &WorkerContext, error: &std::io::Error, pause: &mut AcceptPause) {
    let stats = &worker.state().stats;
    if accept_retry(error) == AcceptRetry::AtOnce {
        stats.accept_faults(AcceptFault::Aborted).increment();
        return;
    }
    stats.accept_faults(AcceptFault::Exhausted).increment();
    if pause.is_first() {
        tracing::warn!(worker = worker.index, %error, "cannot accept connections; pausing");
    }
    time::sleep(pause.next_pause()).await;
}

fn log_recovery(worker: &WorkerContext, pauses: u32) {
    if pauses > 0 {
        tracing::info!(worker = worker.index, pauses, "accepting connections again");
    }
}

/// A counted place among the open connections; given back when it is dropped, whatever ends the
/// connection.
#[derive(Debug)]
struct ConnectionSlot {
    worker: Rc<WorkerContext>,
    _client: ClientPlace,
    _listener: ListenerPlace,
    cause: CloseCause,
}

impl ConnectionSlot {
    /// Owns a place that was counted before.
    fn taken(worker: &Rc<WorkerContext>, client: ClientPlace, listener: ListenerPlace) -> Self {
        // A connection that never says how it ended went down with its worker.
        Self {
            worker: Rc::clone(worker),
            _client: client,
            _listener: listener,
            cause: CloseCause::Cut,
        }
    }

    /// The worker that serves the connection.
    fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Gives the place back.
    fn release(mut self, cause: CloseCause) {
        self.cause = cause;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let cause = if thread::panicking() {
            CloseCause::Panic
        } else {
            self.cause
        };
        self.worker.state().stats.closed(cause).increment();
        self.worker.state().connection_closed();
    }
}
