//! What is known of one client connection, and what its time limits and a stop ask of it.
//!
//! The record that a connection's socket, its calls and its driver (`serve`) share. All of them
//! are on one worker's thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::time::{Duration, Instant};

use crate::{
    data::{WorkerContext, http::Tunnel},
    listener::Face,
    shutdown::Phase,
    state::{Cause, CloseCause, Protocol},
};

/// What is known of one client connection. Shared by its socket, its service and its calls, all
/// on the worker's thread.
#[derive(Debug)]
pub(super) struct Connection {
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
    /// Whether there is one.
    has_tunnel: Cell<bool>,
    /// When it is old enough to be asked to leave.
    age_limit_at: Instant,
}

impl Connection {
    pub(super) fn new(worker: Rc<WorkerContext>, face: Face, protocol: Protocol) -> Self {
        let now = Instant::now();
        let age_limit_at = now + spread(worker.connections.age_limit);
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
            stall_timeout: Cell::new(Duration::ZERO),
            head_since: Cell::new(None),
            leaving: Cell::new(None),
            ended: Cell::new(None),
            last_answers: Cell::new(false),
            end_is_close: Cell::new(false),
            broken: Cell::new(false),
            tunnel: RefCell::new(None),
            has_tunnel: Cell::new(false),
            age_limit_at,
        }
    }

    /// Notes that everything of it is polled now.
    pub(super) fn polled(&self) {
        self.polled_at.set(Instant::now());
    }

    /// When it was polled last.
    pub(super) fn polled_at(&self) -> Instant {
        self.polled_at.get()
    }

    /// The time, as exact as a limit needs it. All that concerns an HTTP/1.1 connection happens
    /// while it is polled, so that the clock is read once for all of it.
    pub(super) fn now(&self) -> Instant {
        match self.protocol {
            Protocol::Http1 => self.polled_at.get(),
            Protocol::Http2 => Instant::now(),
        }
    }

    /// What it speaks.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The worker it belongs to.
    pub(super) fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Whether an HTTP/1.1 answer must say `Connection: close`.
    pub(super) fn is_last_answer(&self) -> bool {
        self.last_answers.get() && self.protocol == Protocol::Http1
    }

    /// Notes that the client sent something.
    pub(super) fn bytes_arrived(&self, bytes: &[u8]) {
        let is_idle = self.calls.get() == 0 && self.uploads.get() == 0;
        let between_calls = is_idle && self.head_since.get().is_none();
        // Line breaks between requests are skipped (RFC 9112 section 2.2).
        let begins_a_head = |bytes: &[u8]| bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if self.protocol == Protocol::Http1 && between_calls && begins_a_head(bytes) {
            self.head_since.set(Some(self.now()));
        }
    }

    /// How long a head that is not complete has been coming.
    pub(super) fn head_age(&self) -> Duration {
        let since = self.head_since.get();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that a call's head is complete.
    pub(super) fn call_started(self: &Rc<Self>) -> Call {
        let now = self.now();
        if self.calls.get() == 0 {
            self.progress_at.set(now);
        }
        self.head_since.set(None);
        self.may_stand_still_for(match self.face {
            Face::Redirect => self.worker.redirect.call_timeout(),
            Face::Http(_) => Duration::ZERO,
        });
        self.calls.set(self.calls.get() + 1);
        self.worker.state().stats.calls_started.increment();
        Call {
            connection: Rc::clone(self),
            started_at: now,
            answered_at: None,
        }
    }

    /// Notes for how long a call may stand still now. Whatever it waits for has a limit of its
    /// own, which must come first. Calls that share a connection share the longest.
    pub(super) fn may_stand_still_for(&self, wait: Duration) {
        let timeout = self.worker.connections.idle_timeout.max(wait) + STALL_MARGIN;
        let is_shared = self.protocol == Protocol::Http2 && self.calls.get() > 0;
        self.stall_timeout.set(match is_shared {
            true => timeout.max(self.stall_timeout.get()),
            false => timeout,
        });
    }

    /// Notes that a body moved.
    pub(super) fn progress(&self) {
        self.progress_at.set(self.now());
    }

    /// Notes whether the client took a part of an answer, and whether some is left.
    pub(super) fn sent(&self, moved: bool, unsent: bool) {
        if moved {
            self.progress();
        }
        self.unsent.set(unsent);
    }

    /// Notes a request body that is still to come.
    pub(super) fn upload_began(&self) {
        self.uploads.set(self.uploads.get() + 1);
    }

    /// Notes that a request body came to its end, or that nobody wants it any more.
    pub(super) fn upload_ended(&self) {
        self.uploads.set(self.uploads.get() - 1);
    }

    /// Notes that the rest of a request body is read by nobody, so that the close must wait for
    /// the client to have read its answer.
    pub(super) fn left_unread(&self) {
        self.left_unread.set(true);
    }

    /// Whether the client may still be sending.
    pub(super) fn is_left_unread(&self) -> bool {
        self.left_unread.get()
    }

    /// Notes when the call in flight must be over.
    pub(super) fn must_end_by(&self, deadline: Option<Instant>) {
        if self.protocol == Protocol::Http1 {
            self.call_deadline.set(deadline);
        }
    }

    /// Notes that a client reads the response until the connection ends (HTTP/1.0).
    pub(super) fn ends_by_close(&self) {
        self.end_is_close.set(true);
    }

    /// Notes that a response broke off. HTTP/2 and HTTP/1.1 clients see that by themselves; to
    /// one that reads until the end, the connection must not end as a whole one would.
    pub(super) fn broke_off(&self) {
        self.broken.set(self.end_is_close.get());
    }

    /// Whether its end must be a reset.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Notes that it will carry another protocol once its answer was written.
    pub(super) fn becomes(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(tunnel));
        self.has_tunnel.set(true);
    }

    /// Whether it carries another protocol after this answer.
    pub(super) fn is_tunnel(&self) -> bool {
        self.has_tunnel.get()
    }

    /// What it became.
    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Notes a stream that may last as long as the connection; no call, so no drain waits for it.
    pub(super) fn watch_started(self: &Rc<Self>) -> Watch {
        self.head_since.set(None);
        self.watches.set(self.watches.get() + 1);
        Watch {
            connection: Rc::clone(self),
        }
    }

    /// Notes that its listener is gone: it is answered, and told to go.
    pub(super) fn ask_to_leave(&self) {
        self.last_answers.set(true);
    }

    /// Whether the client must be told to go before it asks again (HTTP/2).
    pub(super) fn must_say_goodbye(&self) -> bool {
        self.last_answers.get() && self.protocol == Protocol::Http2
    }

    /// Notes that a time limit asked it to leave.
    pub(super) fn leave(&self, now: Instant, cause: CloseCause) {
        self.leaving.set(Some((now, cause)));
    }

    /// Notes why it ended.
    pub(super) fn end(&self, cause: CloseCause) {
        self.ended.set(Some(cause));
    }

    /// Why a call on it, or the rest of an answer, is given up.
    pub(super) fn cause_of_loss(&self) -> Cause {
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

    /// The next time limit, and what it asks.
    pub(super) fn due(&self) -> (Instant, Due) {
        let limits = &self.worker.connections;
        if let Some((since, cause)) = self.leaving.get() {
            let grace = if cause == CloseCause::Drained {
                DRAIN_TAIL_MAX
            } else {
                limits.age_grace
            };
            return (since + grace, Due::Close(cause));
        }
        if let Some(since) = self.head_since.get() {
            return (
                since + limits.header_timeout,
                Due::Close(CloseCause::HeaderTimeout),
            );
        }
        let progress_at = self.progress_at.get();
        let age = (self.age_limit_at, Due::Leave(CloseCause::AgeLimit));
        let next = match (self.calls.get(), self.watches.get()) {
            // The call is over, but not for the client.
            (0, 0) if self.unsent.get() => (
                progress_at + self.stall_timeout.get(),
                Due::Close(CloseCause::Stalled),
            ),
            (0, 0) if self.may_park() => {
                (progress_at + PARK_AFTER.min(limits.idle_timeout), Due::Park)
            }
            (0, 0) => (
                progress_at + limits.idle_timeout,
                Due::Leave(CloseCause::IdleTimeout),
            ),
            (0, _) => age,
            (_, _) => (self.stalls_at(progress_at), Due::Close(CloseCause::Stalled)),
        };
        // Nothing tells an HTTP/1.1 client to leave but the close, which races with its next
        // request: such a connection has no age limit.
        if self.protocol == Protocol::Http2 && age.0 < next.0 {
            age
        } else {
            next
        }
    }

    /// When an idle connection has been idle for too long.
    pub(super) fn idle_until(&self) -> Instant {
        self.progress_at.get() + self.worker.connections.idle_timeout
    }

    /// Whether nothing at all is under way.
    fn may_park(&self) -> bool {
        self.protocol == Protocol::Http1 && self.uploads.get() == 0 && !self.last_answers.get()
    }

    fn stalls_at(&self, progress_at: Instant) -> Instant {
        let stalled = progress_at + self.stall_timeout.get();
        let deadline = self.call_deadline.get();
        // The call's own limit comes first, where the client lets it.
        deadline.map_or(stalled, |deadline| stalled.min(deadline + STALL_MARGIN))
    }

    /// Whether no call is in flight. Watches do not count: they have no end of their own.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.get() == 0
    }

    /// Whether nothing of its answers can be unwritten once the outbox is empty. Redirect answers
    /// are smaller than any buffer; the end of a forwarded body may wait inside hyper.
    pub(super) fn is_drained(&self) -> bool {
        self.is_idle() && self.face == Face::Redirect
    }

    /// What a phase asks of this connection.
    pub(super) fn enter(&self, phase: Phase) -> PhaseStep {
        match (phase, self.protocol) {
            (Phase::Running | Phase::LameDuck, _) => PhaseStep::Stay,
            (Phase::Draining, Protocol::Http1) => {
                self.last_answers.set(true);
                PhaseStep::Stay
            }
            (Phase::ClosingIdle, _) => {
                self.leave(Instant::now(), CloseCause::Drained);
                PhaseStep::Leave
            }
            (Phase::Draining, Protocol::Http2) => PhaseStep::Leave,
            (Phase::Cut, _) => PhaseStep::Close,
        }
    }

    /// Why it ended, now that hyper is done with it.
    pub(super) fn cause_of_end(&self, phase: Phase, ended: hyper::Result<()>) -> CloseCause {
        match (self.leaving.get(), ended) {
            (Some((_, cause)), _) => cause,
            (None, Err(error)) if error.is_parse_too_large() => CloseCause::HeadLimit,
            (None, Err(error)) if error.is_parse() => CloseCause::MalformedHead,
            (None, Err(_broken)) => CloseCause::ConnectionError,
            (None, Ok(())) if phase >= Phase::Draining => CloseCause::Drained,
            (None, Ok(())) => CloseCause::Done,
        }
    }
}

/// A call in flight. Ends when it is dropped, which is after its answer went to the connection.
#[derive(Debug)]
pub(super) struct Call {
    connection: Rc<Connection>,
    started_at: Instant,
    answered_at: Option<Instant>,
}

impl Call {
    /// When its head was complete.
    pub(super) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// The connection that it came on.
    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Records how long the answer took.
    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        self.answered_at = Some(now);
        let stats = &self.connection.worker.state().stats;
        let histogram = match self.connection.face {
            Face::Redirect => &stats.call_duration,
            Face::Http(_) => &stats.request_duration,
        };
        histogram.record(now - self.started_at);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let (Face::Http(_), None) = (self.connection.face, self.answered_at) {
            // Nobody was there any more to be answered.
            let stats = &self.connection.worker.state().stats;
            stats.faults(self.connection.cause_of_loss()).increment();
        }
        self.connection.calls.set(self.connection.calls.get() - 1);
        self.connection.call_deadline.set(None);
        let ended_at = match (self.connection.face, self.answered_at) {
            (Face::Redirect, Some(answered_at)) => answered_at,
            // A forwarded body may have gone on for long after its head.
            (Face::Http(_), _) | (Face::Redirect, None) => self.connection.now(),
        };
        let progress_at = &self.connection.progress_at;
        progress_at.set(progress_at.get().max(ended_at));
        self.connection
            .worker
            .state()
            .stats
            .calls_finished
            .increment();
    }
}

/// A stream that may last as long as its connection.
#[derive(Debug)]
pub(super) struct Watch {
    connection: Rc<Connection>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection
            .watches
            .set(self.connection.watches.get() - 1);
        self.connection.progress_at.set(Instant::now());
    }
}

/// What a phase of a stop asks of a connection.
pub(super) enum PhaseStep {
    Stay,
    Leave,
    Close,
}

/// What a time limit asks of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Finish the calls and go.
    Leave(CloseCause),
    /// Go.
    Close(CloseCause),
    /// Wait for the next request without holding buffers.
    Park,
}

/// A duration give or take a tenth, so that connections made together do not leave together
/// (gRFC A9).
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// What an HTTP/1.1 connection is idle for before it gives its buffers back. Long enough that a
/// busy connection is never built anew.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// What an answer may take to leave after its call's deadline before the connection is stalled.
const STALL_MARGIN: Duration = Duration::from_millis(200);
/// What the end of a body may take to leave when a stop closes idle connections.
const DRAIN_TAIL_MAX: Duration = Duration::from_secs(5);
