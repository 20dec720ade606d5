//! What time limits and a stop ask of a connection.

use tokio::time::{Duration, Instant};

use crate::{
    data::connection::Connection,
    shutdown::Phase,
    state::{CloseCause, Protocol},
};

impl Connection {
    /// Notes for how long a call may stand still now. Whatever it waits for has a limit of its
    /// own, which must come first. Calls that share a connection share the longest.
    pub(in crate::data) fn may_stand_still_for(&self, wait: Duration) {
        let timeout = self.worker.connections.idle_timeout.max(wait) + STALL_MARGIN;
        let is_shared = self.protocol == Protocol::Http2 && self.calls.get() > 0;
        self.stall_timeout.set(match is_shared {
            true => timeout.max(self.stall_timeout.get()),
            false => timeout,
        });
    }

    /// Notes when the call in flight must be over.
    pub(in crate::data) fn must_end_by(&self, deadline: Option<Instant>) {
        if self.protocol == Protocol::Http1 {
            self.call_deadline.set(deadline);
        }
    }

    /// Notes that a time limit asked it to leave.
    pub(in crate::data) fn leave(&self, now: Instant, cause: CloseCause) {
        self.leaving.set(Some((now, cause)));
    }

    /// The next time limit, and what it asks.
    pub(in crate::data) fn due(&self) -> (Instant, Due) {
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
    pub(in crate::data) fn idle_until(&self) -> Instant {
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

    /// What a phase asks of this connection.
    pub(in crate::data) fn enter(&self, phase: Phase) -> PhaseStep {
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
}

/// What a phase of a stop asks of a connection.
pub(in crate::data) enum PhaseStep {
    Stay,
    Leave,
    Close,
}

/// What a time limit asks of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) enum Due {
    /// Finish the calls and go.
    Leave(CloseCause),
    /// Go.
    Close(CloseCause),
    /// Wait for the next request without holding buffers.
    Park,
}

/// A duration give or take a tenth, so that connections made together do not leave together
/// (gRFC A9).
pub(super) fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// What an HTTP/1.1 connection is idle for before it gives its buffers back. Long enough that a
/// busy connection is never built anew.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// What an answer may take to leave after its call's deadline before the connection is stalled.
const STALL_MARGIN: Duration = Duration::from_millis(200);
/// What the end of a body may take to leave when a stop closes idle connections.
const DRAIN_TAIL_MAX: Duration = Duration::from_secs(5);
