//! A backend's body: moved while it is asked for, bounded in time, and never made to look whole when
//! it is not.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::{
    data::{
        error::ForwardError,
        http::{
            body_error::{BodyError, is_complete},
            headers,
            lease::Lease,
            request_body::Upload,
        },
        timer_pool::Timer,
    },
    state::Cause,
};

/// A body that a backend sends.
#[derive(Debug)]
pub(super) struct RelayedBody {
    /// Gone once it was given up.
    incoming: Option<Incoming>,
    /// Gone once the backend has sent all of it.
    lease: Option<Lease>,
    upload: Rc<Upload>,
    idle_timeout: Duration,
    /// There from the first time that the backend makes us wait.
    idle: Option<Timer>,
    /// When the exchange as a whole must be over.
    deadline: Option<Deadline>,
    /// The bytes that were handed on last.
    last_bytes: usize,
    /// Why it was given up while nobody asked for it.
    given_up: Option<Broken>,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    timer: Timer,
}

/// Why a response breaks off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    pub(super) error: BodyError,
    pub(super) cause: Cause,
}

impl RelayedBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        idle_timeout: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        let upload = Rc::clone(&lease.upload);
        let mut lease = Some(lease);
        if incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
        Self {
            incoming: Some(incoming),
            lease,
            idle_timeout,
            idle: None,
            deadline: deadline.map(|at| Deadline {
                at,
                timer: upload.timer(at),
            }),
            last_bytes: 0,
            given_up: None,
            upload,
        }
    }

    /// Whether nothing of it is left but perhaps trailers.
    pub(super) fn is_complete(&self) -> bool {
        self.incoming.as_ref().is_some_and(is_complete)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_default()
    }

    /// Why it broke off while nobody asked for it, if it did.
    pub(super) fn given_up(&self) -> Option<Broken> {
        self.given_up
    }

    /// Gives it up, with what it holds of the backend, if its client has taken nothing for longer
    /// than either side may be idle, and than the part handed on last takes a slow client.
    pub(super) fn give_up_if_stalled(&mut self, now: Instant, client_idle_timeout: Duration) {
        let wait = self.idle_timeout.max(client_idle_timeout);
        let last_takes = Duration::from_secs((self.last_bytes / CLIENT_BYTES_A_SECOND_MIN) as u64);
        let stalls_at = self.upload.progress_at() + wait + last_takes;
        let deadline = self.deadline.as_ref().map(|deadline| deadline.at);
        let broken = if deadline.is_some_and(|deadline| deadline <= now) {
            self.broken(BodyError::TotalTimeout)
        } else if stalls_at <= now {
            Broken {
                error: BodyError::Stalled,
                cause: Cause::ClientStalled,
            }
        } else {
            return;
        };
        if self.lease.take().is_some() {
            self.given_up = Some(broken);
            self.incoming = None;
            self.upload.abandon();
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.timer.poll_until(|| deadline.at, cx).is_ready()
        {
            return Poll::Ready(Some(Err(self.broken(BodyError::TotalTimeout))));
        }
        match self.poll_incoming(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.upload.progress();
                self.last_bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(trailers) = frame.trailers_mut() {
                    headers::remove_forbidden_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(broken))) => Poll::Ready(Some(Err(broken))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let due = || self.upload.progress_at() + self.idle_timeout;
                let idle = self.idle.get_or_insert_with(|| self.upload.timer(due()));
                ready!(idle.poll_until(due, cx));
                Poll::Ready(Some(Err(self.broken(BodyError::Stalled))))
            }
        }
    }

    /// Whoever wants the body moves the connection that it comes on.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(self.given_up.map(Err));
        };
        let mut polled = Pin::new(&mut *incoming).poll_frame(cx);
        if let (Poll::Pending, Some(lease)) = (&polled, &mut self.lease) {
            lease.conn.drive(cx);
            polled = Pin::new(&mut *incoming).poll_frame(cx);
        }
        let has_ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => incoming.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if has_ended && let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        polled.map_err(|error| self.broken(BodyError::from(&error)))
    }

    /// Whose fault it is: where the request's body broke, the backend could not go on.
    fn broken(&self, error: BodyError) -> Broken {
        let cause = match (self.upload.error(), error) {
            (Some(error), _) => ForwardError::from(error).cause(),
            (None, BodyError::TotalTimeout) => Cause::TotalTimeout,
            (None, BodyError::Stalled) => Cause::UpstreamTimeout,
            (None, BodyError::TooLong | BodyError::Malformed | BodyError::Broken) => {
                Cause::ResponseBroken
            }
        };
        Broken { error, cause }
    }
}

/// Slower than any player.
const CLIENT_BYTES_A_SECOND_MIN: usize = 1024;
