//! Client connections, from the first byte to the end. Knows HTTP/1.1 and HTTP/2, limits and the
//! phases of a stop, and no service: what a request means is the service's to say.

use std::{cell::Cell, future::poll_fn, net::IpAddr, rc::Rc};

use crate::{
    data::{listener::ConnectionSlot, service::Service, worker::WorkerContext},
    net::Transport,
    shutdown::Phase,
    state::{Cause, CloseCause, Protocol},
};

mod frame_meter;
mod header_budget;
mod http1;
mod http2;
mod http2_socket;
mod sniff;
mod wakers;

pub(in crate::data) use header_budget::head_bytes;

use self::{http1::Http1Connection, sniff::sniff};

/// What is known of a client connection, for all that happens on it.
#[derive(Debug)]
pub(in crate::data) struct Connection {
    pub(in crate::data) worker: Rc<WorkerContext>,
    pub(in crate::data) service: Service,
    pub(in crate::data) peer: Peer,
    /// Whether its listener is gone, so that the client has to connect elsewhere.
    is_leaving: Cell<bool>,
    /// Why it ended, while what it carried is given up.
    ended: Cell<Option<CloseCause>>,
}

/// The other end of a client connection.
#[derive(Debug)]
pub(in crate::data) struct Peer {
    pub(in crate::data) ip: IpAddr,
    /// The same as text, which most requests are forwarded with.
    pub(in crate::data) text: Box<str>,
}

impl Peer {
    pub(in crate::data) fn new(ip: IpAddr) -> Self {
        Self {
            ip,
            text: ip.to_string().into(),
        }
    }
}

impl Connection {
    pub(in crate::data) fn new(worker: Rc<WorkerContext>, service: Service, peer: IpAddr) -> Self {
        Self {
            worker,
            service,
            peer: Peer::new(peer),
            is_leaving: Cell::new(false),
            ended: Cell::new(None),
        }
    }

    /// Tells the client to connect elsewhere, as the listener is gone.
    pub(in crate::data) fn ask_to_leave(&self) {
        self.is_leaving.set(true);
    }

    /// Whether the client was told to connect elsewhere.
    fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Whether a response over HTTP/1.1 must be the last on the connection.
    pub(in crate::data) fn is_last_response(&self) -> bool {
        self.is_leaving() || self.phase() >= Phase::Draining
    }

    fn phase(&self) -> Phase {
        self.worker.phases.current()
    }

    /// Notes why it ended.
    fn end(&self, cause: CloseCause) {
        self.ended.set(Some(cause));
    }

    /// Why a call on it is given up before its end.
    pub(in crate::data) fn cause_of_loss(&self) -> Cause {
        match self.ended.get() {
            Some(CloseCause::Stalled) => Cause::ClientStalled,
            Some(
                CloseCause::Cut
                | CloseCause::Drained
                | CloseCause::AgeLimit
                | CloseCause::IdleTimeout,
            ) => Cause::Cut,
            Some(
                CloseCause::Done
                | CloseCause::ConnectionError
                | CloseCause::MalformedHead
                | CloseCause::HeadLimit
                | CloseCause::FirstByteTimeout
                | CloseCause::HeaderTimeout
                | CloseCause::ConnectionLimit
                | CloseCause::ClientLimit
                | CloseCause::Panic,
            )
            | None => Cause::ClientClosed,
        }
    }
}

/// Serves an accepted connection to its end.
pub(in crate::data) async fn serve(
    slot: ConnectionSlot,
    service: Service,
    peer: IpAddr,
    transport: Transport,
) {
    let worker = Rc::clone(slot.worker());
    let _told = Told::of_phases(&worker).await;
    let cause = run(Rc::clone(&worker), service, peer, transport).await;
    slot.release(cause);
}

async fn run(
    worker: Rc<WorkerContext>,
    service: Service,
    peer: IpAddr,
    transport: Transport,
) -> CloseCause {
    if !service.speaks_http() {
        // In a box, as it is not there for most connections.
        return Box::pin(service.serve_bytes(transport)).await;
    }
    let mut transport = transport;
    let (protocol, opening) = match sniff(&worker, &mut transport).await {
        Ok(opened) => opened,
        Err(cause) => return cause,
    };
    worker.state().stats.connections(protocol).increment();
    let connection = Rc::new(Connection::new(worker, service, peer));
    match protocol {
        Protocol::Http1 => {
            let mut http1 = Http1Connection::new(connection, transport, opening);
            poll_fn(|cx| http1.poll(cx)).await
        }
        Protocol::Http2 => Box::pin(http2::serve(connection, transport, opening)).await,
    }
}

/// A place among the tasks that are woken when a stop goes on.
struct Told<'a> {
    worker: &'a WorkerContext,
    key: usize,
}

impl<'a> Told<'a> {
    async fn of_phases(worker: &'a WorkerContext) -> Self {
        let key = poll_fn(|cx| std::task::Poll::Ready(worker.phases.join(cx.waker()))).await;
        Self { worker, key }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.worker.phases.leave(self.key);
    }
}
