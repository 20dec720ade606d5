//! What is known of one client connection.
//!
//! The record that a connection's socket, its calls and its driver (`drive`) share, all of them on
//! one worker's thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::time::{Duration, Instant};

use crate::{
    data::{WorkerContext, http::Tunnel},
    listener::Face,
    state::{CloseCause, Protocol},
};

mod call;
mod ending;
mod limits;

pub(super) use call::{Call, Watch};
pub(super) use limits::{Due, PhaseStep};

use limits::spread;

/// What is known of one client connection.
#[derive(Debug)]
pub(in crate::data) struct Connection {
    worker: Rc<WorkerContext>,
    face: Face,
    protocol: Protocol,
    /// When it was polled last.
    polled_at: Cell<Instant>,
    /// Calls in flight.
    calls: Cell<u32>,
    /// Open streams that may last as long as the connection: health watches, reflection.
    watches: Cell<u32>,
    /// When a body last moved, a call last ended, or the first of those in flight began.
    progress_at: Cell<Instant>,
    /// Request bodies that did not come to an end yet. Until they do, what arrives is no head.
    uploads: Cell<u32>,
    /// Whether an answer waits for the client to take it.
    unsent: Cell<bool>,
    /// Whether the client may still be sending what nobody reads.
    left_unread: Cell<bool>,
    /// When the call in flight must be over, however slowly the client reads (HTTP/1.1).
    call_deadline: Cell<Option<Instant>>,
    /// What the calls in flight may take without moving.
    stall_timeout: Cell<Duration>,
    /// When the first byte of an unfinished HTTP/1.1 head came.
    head_since: Cell<Option<Instant>>,
    /// When and why it was asked to leave by a time limit.
    leaving: Cell<Option<(Instant, CloseCause)>>,
    /// Why it ended, while what it carried is given up.
    ended: Cell<Option<CloseCause>>,
    /// Whether answers must say that they are the last.
    last_answers: Cell<bool>,
    /// Whether the end of the connection is the end of a response.
    end_is_close: Cell<bool>,
    /// Whether a response broke off that would look whole.
    broken: Cell<bool>,
    /// What it becomes when hyper is done with it.
    tunnel: RefCell<Option<Tunnel>>,
    /// When it is old enough to be asked to leave.
    age_limit_at: Instant,
}

impl Connection {
    pub(in crate::data) fn new(worker: Rc<WorkerContext>, face: Face, protocol: Protocol) -> Self {
        let now = Instant::now();
        let age_limit_at = now + spread(worker.connections.age_limit);
        let stall_timeout = worker.connections.idle_timeout;
        Self {
            worker,
            face,
            protocol,
            polled_at: Cell::new(now),
            calls: Cell::new(0),
            watches: Cell::new(0),
            progress_at: Cell::new(now),
            uploads: Cell::new(0),
            unsent: Cell::new(false),
            left_unread: Cell::new(false),
            call_deadline: Cell::new(None),
            stall_timeout: Cell::new(stall_timeout),
            head_since: Cell::new(None),
            leaving: Cell::new(None),
            ended: Cell::new(None),
            last_answers: Cell::new(false),
            end_is_close: Cell::new(false),
            broken: Cell::new(false),
            tunnel: RefCell::new(None),
            age_limit_at,
        }
    }

    /// Notes that everything of it is polled now.
    pub(in crate::data) fn polled(&self) {
        self.polled_at.set(Instant::now());
    }

    /// When it was polled last.
    pub(in crate::data) fn polled_at(&self) -> Instant {
        self.polled_at.get()
    }

    /// The time, as exact as a limit needs it. All that concerns an HTTP/1.1 connection happens
    /// while it is polled, so that the clock is read once for all of it.
    pub(in crate::data) fn now(&self) -> Instant {
        match self.protocol {
            Protocol::Http1 => self.polled_at.get(),
            Protocol::Http2 => Instant::now(),
        }
    }

    /// What it speaks.
    pub(in crate::data) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The worker it belongs to.
    pub(in crate::data) fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Whether an HTTP/1.1 answer must say `Connection: close`.
    pub(in crate::data) fn is_last_answer(&self) -> bool {
        self.last_answers.get() && self.protocol == Protocol::Http1
    }

    /// Notes that the client sent something.
    pub(in crate::data) fn bytes_arrived(&self, bytes: &[u8]) {
        let is_idle = self.calls.get() == 0 && self.uploads.get() == 0;
        let between_calls = is_idle && self.head_since.get().is_none();
        // Line breaks between requests are skipped (RFC 9112 section 2.2).
        let begins_a_head = |bytes: &[u8]| bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if self.protocol == Protocol::Http1 && between_calls && begins_a_head(bytes) {
            self.head_since.set(Some(self.now()));
        }
    }

    /// How long a head that is not complete has been coming.
    pub(in crate::data) fn head_age(&self) -> Duration {
        let since = self.head_since.get();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that a body moved.
    pub(in crate::data) fn progress(&self) {
        self.progress_at.set(self.now());
    }

    /// Notes whether the client took a part of an answer, and whether some is left.
    pub(in crate::data) fn sent(&self, moved: bool, unsent: bool) {
        if moved {
            self.progress();
        }
        self.unsent.set(unsent);
    }

    /// Notes a request body that is still to come.
    pub(in crate::data) fn upload_began(&self) {
        self.uploads.set(self.uploads.get() + 1);
    }

    /// Notes that a request body came to its end, or that nobody wants it any more.
    pub(in crate::data) fn upload_ended(&self) {
        self.uploads.set(self.uploads.get() - 1);
    }

    /// Notes that it will carry another protocol once its answer was written.
    pub(in crate::data) fn becomes(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(tunnel));
    }

    /// Whether it carries another protocol after this answer.
    pub(in crate::data) fn is_tunnel(&self) -> bool {
        self.tunnel.borrow().is_some()
    }

    /// What it became.
    pub(in crate::data) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Notes that its listener is gone: it is answered, and told to go.
    pub(in crate::data) fn ask_to_leave(&self) {
        self.last_answers.set(true);
    }

    /// Whether the client must be told to go before it asks again (HTTP/2).
    pub(in crate::data) fn must_say_goodbye(&self) -> bool {
        self.last_answers.get() && self.protocol == Protocol::Http2
    }

    /// Whether no call is in flight. Watches do not count: they have no end of their own.
    pub(in crate::data) fn is_idle(&self) -> bool {
        self.calls.get() == 0
    }

    /// Whether nothing of its answers can be unwritten once the outbox is empty. Redirect answers
    /// are smaller than any buffer; the end of a forwarded body may wait inside hyper.
    pub(in crate::data) fn is_drained(&self) -> bool {
        self.is_idle() && self.face == Face::Redirect
    }
}
