//! How an HTTP/1.1 connection ends so that its client gets what was sent last.
//!
//! Closing a socket with unread input resets it, and a reset makes the client's system throw away
//! the last answer.

use std::{pin::Pin, task::Poll};

use tokio::time::{Duration, Instant};

use crate::{
    data::{
        connection::Connection,
        downstream::http1::{Http1Connection, State, Step, Then},
        stream::Turn,
    },
    shutdown::Phase,
    state::CloseCause,
};

/// Carries a tunnel on. A stop cuts it at the last.
pub(super) fn poll_tunnel(
    turn: &mut Turn<'_, '_>,
    connection: &Connection,
    mut tunnel: Pin<Box<dyn Future<Output = CloseCause>>>,
) -> Step {
    match tunnel.as_mut().poll(turn.cx) {
        Poll::Ready(cause) => Step::End(cause),
        Poll::Pending if connection.phase() == Phase::Cut => {
            connection.end(CloseCause::Cut);
            Step::End(CloseCause::Cut)
        }
        Poll::Pending => Step::Wait(State::Tunnel(tunnel)),
    }
}

impl Http1Connection {
    pub(super) fn poll_flush(
        &mut self,
        turn: &mut Turn<'_, '_>,
        since: Instant,
        then: Then,
    ) -> Step {
        match self.http1().poll_flush(turn.cx) {
            Poll::Pending => Step::Wait(State::Flushing { since, then }),
            Poll::Ready(Err(_gone)) => Step::End(CloseCause::ConnectionError),
            Poll::Ready(Ok(())) => match then {
                Then::NextRequest => Step::Go(State::idle(turn.now)),
                Then::Close(cause) if !self.is_sending(turn) => Step::End(cause),
                Then::Close(cause) => Step::Go(State::lingering(turn.now, LINGER_BYTES_MAX, cause)),
                Then::Linger(cause, bytes) => Step::Go(State::lingering(turn.now, bytes, cause)),
            },
        }
    }

    /// Whether the client sent more than was read. A close would reset it, and a reset makes the
    /// client's system throw away the last answer.
    fn is_sending(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        if self.http1().has_unread() {
            return true;
        }
        matches!(self.http1().poll_discard(turn), Poll::Ready(Ok(1..)))
    }

    /// Ends this side's direction, then reads and discards until the client ends its own, or takes
    /// too long.
    pub(super) fn poll_linger(
        &mut self,
        turn: &mut Turn<'_, '_>,
        until: Instant,
        mut bytes_left: usize,
        cause: CloseCause,
    ) -> Step {
        match self.http1().poll_shutdown(turn.cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_gone)) => return Step::End(cause),
            Poll::Pending => {
                return Step::Wait(State::Lingering {
                    until,
                    bytes_left,
                    cause,
                });
            }
        }
        loop {
            match self.http1().poll_discard(turn) {
                Poll::Ready(Ok(0) | Err(_)) => return Step::End(cause),
                Poll::Ready(Ok(bytes)) if bytes > bytes_left => return Step::End(cause),
                Poll::Ready(Ok(bytes)) => bytes_left -= bytes,
                Poll::Pending => {
                    return Step::Wait(State::Lingering {
                        until,
                        bytes_left,
                        cause,
                    });
                }
            }
        }
    }
}

impl State {
    fn lingering(now: Instant, bytes_left: usize, cause: CloseCause) -> Self {
        Self::Lingering {
            until: now + LINGER_TIME_MAX,
            bytes_left,
            cause,
        }
    }
}

/// Bounds on what is read only to be thrown away. The rest of an announced body is bounded by time
/// alone: the client looks for the answer when it has sent it.
pub(super) const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
