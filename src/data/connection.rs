//! What is known of a client connection, for all that happens on it.

use std::{cell::Cell, net::IpAddr, rc::Rc};

use crate::{
    data::context::{LocalConnections, WorkerContext},
    shutdown::Phase,
    state::{Cause, CloseCause},
};

/// What is known of a client connection, for all that happens on it.
#[derive(Debug)]
pub(in crate::data) struct Connection {
    pub(in crate::data) worker: Rc<WorkerContext>,
    pub(in crate::data) peer: Peer,
    /// Its limits and timeouts.
    pub(in crate::data) limits: LocalConnections,
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
    pub(in crate::data) fn new(worker: Rc<WorkerContext>, peer: IpAddr) -> Self {
        Self {
            limits: worker.connections(),
            worker,
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
    pub(in crate::data) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Whether a response over HTTP/1.1 must be the last on the connection.
    pub(in crate::data) fn is_last_response(&self) -> bool {
        self.is_leaving() || self.phase() >= Phase::Draining
    }

    /// How far a stop has come.
    pub(in crate::data) fn phase(&self) -> Phase {
        self.worker.phases.current()
    }

    /// Notes why it ended.
    pub(in crate::data) fn end(&self, cause: CloseCause) {
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
