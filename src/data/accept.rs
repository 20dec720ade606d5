//! The accept loop of one worker.

use std::{rc::Rc, thread};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task, time,
};

use crate::{
    data::{Face, WorkerContext, serve::serve},
    net::{AcceptPause, AcceptRetry, accept_retry},
    shutdown::Phase,
    state::{AcceptFault, CloseCause},
};

/// Accepts until the drain closes listeners, then takes what the kernel still holds: those
/// clients believe that they are connected.
pub(super) async fn accept(worker: Rc<WorkerContext>, face: Face, listener: TcpListener) {
    accept_until_draining(&worker, face, &listener).await;
    match listener.into_std() {
        Ok(listener) => accept_waiting(&worker, face, &listener),
        Err(error) => tracing::error!(%error, "cannot accept what is waiting"),
    }
    worker.shared.accept_loop_ended();
}

async fn accept_until_draining(worker: &Rc<WorkerContext>, face: Face, listener: &TcpListener) {
    let mut phase = worker.phase.clone();
    let mut pause = AcceptPause::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = phase.wait_for(|&phase| phase >= Phase::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                log_recovery(worker, pause.reset());
                admit(worker, face, stream);
            }
            Err(error) => rest(worker, &error, &mut pause).await,
        }
    }
}

/// Empties the kernel's queue. Asks the system itself: the runtime may stop early, by its budget
/// or by what it remembers of the socket's readiness.
fn accept_waiting(worker: &Rc<WorkerContext>, face: Face, listener: &std::net::TcpListener) {
    loop {
        let accepted = listener.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        });
        match accepted {
            Ok(stream) => admit(worker, face, stream),
            Err(error) if accept_retry(&error) == AcceptRetry::AtOnce => {}
            // Nothing is waiting any more, or there is no file for it.
            Err(_would_block_or_exhausted) => return,
        }
    }
}

/// Serves the connections that other workers hand over.
pub(super) async fn receive(
    worker: Rc<WorkerContext>,
    mut handed_over: mpsc::Receiver<(Face, std::net::TcpStream)>,
) {
    let mut phase = worker.phase.clone();
    loop {
        tokio::select! {
            Some((face, stream)) = handed_over.recv() => {
                let slot = ConnectionSlot::taken(&worker);
                match TcpStream::from_std(stream) {
                    Ok(stream) => start(slot, face, stream),
                    Err(error) => tracing::error!(%error, "cannot take over a connection"),
                }
            }
            _ = phase.wait_for(|&phase| phase >= Phase::ClosingIdle) => break,
        }
    }
    handed_over.close();
    while handed_over.recv().await.is_some() {
        drop(ConnectionSlot::taken(&worker));
    }
}

/// Counts an accepted connection and gives it to the worker that should have it.
fn admit(worker: &Rc<WorkerContext>, face: Face, stream: TcpStream) {
    if worker.shared.open_connections() >= worker.connection_limit {
        worker
            .state()
            .stats
            .closed(CloseCause::ConnectionLimit)
            .increment();
        return;
    }
    #[cfg(not(target_os = "linux"))]
    let _best_effort = stream.set_nodelay(true);
    worker.state().connection_opened();
    let Some(stream) = worker
        .handover
        .place(worker.index, face, stream, &worker.shared)
    else {
        return;
    };
    start(ConnectionSlot::taken(worker), face, stream);
}

fn start(slot: ConnectionSlot, face: Face, stream: TcpStream) {
    task::spawn_local(serve(slot, face, stream));
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
pub(super) struct ConnectionSlot {
    worker: Rc<WorkerContext>,
    cause: CloseCause,
}

impl ConnectionSlot {
    /// Owns a place that was counted before.
    fn taken(worker: &Rc<WorkerContext>) -> Self {
        // A connection that never says how it ended went down with its worker.
        Self {
            worker: Rc::clone(worker),
            cause: CloseCause::Cut,
        }
    }

    /// The worker that serves the connection.
    pub(super) fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Gives the place back.
    pub(super) fn release(mut self, cause: CloseCause) {
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
