//! When an HTTP/2 connection ends: by its limits, by its age, by a stop.

use tokio::time::{Duration, Instant};

use crate::{
    data::downstream::http2::{Http2Connection, Lifecycle},
    shutdown::Phase,
    state::CloseCause,
};

impl Http2Connection {
    /// The next time limit, and what it asks.
    pub(super) fn due(&self) -> (Instant, Due) {
        let limits = &self.connection.limits;
        let streams = self.stream_due.map(|at| (at, Due::Streams));
        let ends = match self.lifecycle {
            Lifecycle::Leaving { until, cause } => (until, Due::Close(cause)),
            Lifecycle::Open if self.is_idle() => {
                let idle = self.idle_since + limits.idle_timeout;
                match idle <= self.leaves_at {
                    true => (idle, Due::Leave(CloseCause::IdleTimeout)),
                    false => (self.leaves_at, Due::Leave(CloseCause::AgeLimit)),
                }
            }
            Lifecycle::Open => (self.leaves_at, Due::Leave(CloseCause::AgeLimit)),
        };
        match streams {
            Some(streams) if streams.0 < ends.0 => streams,
            Some(_) | None => ends,
        }
    }

    /// Whether it has nothing to do: watches do not count only where a drain asks.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Tells the client to go: GOAWAY, then its calls may end.
    pub(super) fn leave(&mut self, now: Instant, cause: CloseCause) {
        if let Lifecycle::Leaving { .. } = self.lifecycle {
            return;
        }
        let grace = match self.is_idle() {
            true => DRAIN_TIME_MAX,
            false => self.connection.limits.max_connection_age_grace,
        };
        self.lifecycle = Lifecycle::Leaving {
            until: now + grace,
            cause,
        };
        self.h2.graceful_shutdown();
    }

    /// Does what the phase of a stop asks.
    pub(super) fn follow_phase(&mut self, now: Instant) -> Option<CloseCause> {
        match self.connection.phase() {
            Phase::Running | Phase::LameDuck => None,
            Phase::Draining => {
                self.send_goaway(now);
                None
            }
            Phase::ClosingIdle => {
                self.send_goaway(now);
                // They have no end of their own.
                self.streams.retain(|_, stream| !stream.call.is_watch());
                self.hasten(now + DRAIN_TIME_MAX);
                let is_done = self.streams.is_empty() && !self.h2.has_streams();
                is_done.then_some(CloseCause::Drained)
            }
            Phase::Cut => Some(CloseCause::Cut),
        }
    }

    /// Says GOAWAY once, for a stop. The stop itself bounds how long the calls may take.
    pub(super) fn send_goaway(&mut self, now: Instant) {
        if let Lifecycle::Open = self.lifecycle {
            self.lifecycle = Lifecycle::Leaving {
                until: now + STOP_TIME_MAX,
                cause: CloseCause::Drained,
            };
            self.h2.graceful_shutdown();
        }
    }

    /// Shortens the time that a connection has to leave in.
    pub(super) fn hasten(&mut self, at_the_latest: Instant) {
        if let Lifecycle::Leaving { until, .. } = &mut self.lifecycle
            && *until > at_the_latest
        {
            *until = at_the_latest;
        }
    }

    pub(super) fn cause_of_end(&self) -> CloseCause {
        match self.lifecycle {
            Lifecycle::Leaving { cause, .. } => cause,
            Lifecycle::Open => CloseCause::Done,
        }
    }

    pub(super) fn cause_of_error(&self, error: &h2::Error) -> CloseCause {
        match self.lifecycle {
            Lifecycle::Leaving { cause, .. } => cause,
            // A client that goes without a word has done nothing wrong.
            Lifecycle::Open if error.is_io() && self.streams.is_empty() => CloseCause::Done,
            Lifecycle::Open => CloseCause::ConnectionError,
        }
    }
}

/// What a time limit asks of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Look at the streams.
    Streams,
    /// Say GOAWAY.
    Leave(CloseCause),
    /// Close.
    Close(CloseCause),
}

/// A duration give or take a tenth, so that connections made together do not leave together
/// (gRFC A9).
pub(super) fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// What the end of a body may take to leave when a stop closes idle connections.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Longer than any stop, which ends by itself.
const STOP_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
