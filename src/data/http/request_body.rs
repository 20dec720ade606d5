//! A client's body on its way to a backend: streamed, bounded, and never standing still for too
//! long.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};

use crate::data::{
    connection::Connection,
    http::{
        body_error::{BodyError, is_complete},
        headers,
    },
    timer_pool::Timer,
};

/// What is known of a request's body, whoever sends it now.
#[derive(Debug)]
pub(super) struct Upload {
    incoming: RefCell<Option<Incoming>>,
    connection: Rc<Connection>,
    bytes_left: Cell<u64>,
    bytes_taken: Cell<u64>,
    /// What was sent so far, while it is little enough to be sent again.
    replay: RefCell<Replay>,
    /// Which attempt may take more of it. An earlier one may live on for a moment.
    attempt: Cell<u32>,
    ended: Cell<bool>,
    error: Cell<Option<BodyError>>,
    /// When anything of the exchange last moved, in either direction.
    progress_at: Cell<Instant>,
    /// Who waits for more of it.
    waiting: RefCell<Option<Waker>>,
    /// Who wants to know when it ends.
    watching: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Replay {
    frames: Vec<Bytes>,
    bytes: usize,
    /// More was sent than is kept.
    overflown: bool,
}

impl Replay {
    fn overflown() -> Self {
        Self {
            overflown: true,
            ..Self::default()
        }
    }
}

impl Upload {
    /// A body of at most `bytes_max`.
    pub(super) fn new(connection: &Rc<Connection>, incoming: Incoming, bytes_max: u64) -> Rc<Self> {
        let ended = is_complete(&incoming);
        if !ended {
            connection.upload_began();
        }
        Rc::new(Self {
            incoming: RefCell::new((!ended).then_some(incoming)),
            connection: Rc::clone(connection),
            bytes_left: Cell::new(bytes_max),
            bytes_taken: Cell::new(0),
            replay: RefCell::default(),
            attempt: Cell::new(0),
            ended: Cell::new(ended),
            error: Cell::new(None),
            progress_at: Cell::new(connection.now()),
            waiting: RefCell::new(None),
            watching: RefCell::new(None),
        })
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn can_be_repeated(&self) -> bool {
        !self.replay.borrow().overflown && self.error.get().is_none()
    }

    /// Gives up what is left of it: the answer is complete without. The client's connection must
    /// then not be read on as if the body were over.
    pub(super) fn abandon(&self) {
        if !self.ended.get() {
            self.fail(BodyError::Broken);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }

    /// The body for another attempt, from its beginning; `None` if too much of it was sent.
    pub(super) fn body(self: &Rc<Self>, idle_timeout: Duration) -> Option<RequestBody> {
        if !self.can_be_repeated() {
            return None;
        }
        // Each attempt has its own limits, which the connection's must not undercut.
        self.connection.progress();
        self.progress();
        self.attempt.set(self.attempt.get() + 1);
        Some(RequestBody {
            upload: Rc::clone(self),
            attempt: self.attempt.get(),
            again: 0,
            idle_timeout,
            idle: None,
        })
    }

    /// Whether all of it was taken from the client.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Wakes this one when the body has ended. Costs nothing once it has.
    pub(super) fn tell_the_end_to(&self, waker: &Waker) {
        if self.ended.get() {
            return;
        }
        let mut watching = self.watching.borrow_mut();
        match watching.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *watching = Some(waker.clone()),
        }
    }

    /// The time, as the client's connection knows it.
    pub(super) fn now(&self) -> Instant {
        self.connection.now()
    }

    /// Lends a timer for this exchange.
    pub(super) fn timer(&self, due: Instant) -> Timer {
        self.connection.worker().timers.lend(due)
    }

    /// Why it will never be whole.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.error.get()
    }

    /// Bytes taken from the client.
    pub(super) fn bytes_taken(&self) -> u64 {
        self.bytes_taken.get()
    }

    /// When the exchange last moved, or an attempt began.
    pub(super) fn progress_at(&self) -> Instant {
        self.progress_at.get()
    }

    /// Notes that the exchange moved, in either direction.
    pub(super) fn progress(&self) {
        self.progress_at.set(self.connection.now());
    }

    fn fail(&self, error: BodyError) -> BodyError {
        self.incoming.take();
        self.error.set(Some(error));
        self.connection.leave_unread();
        error
    }

    fn end(&self) {
        if !self.ended.replace(true) {
            self.connection.upload_ended();
            if let Some(watching) = self.watching.take() {
                watching.wake();
            }
        }
    }

    fn keep(&self, data: &Bytes) {
        let mut replay = self.replay.borrow_mut();
        replay.bytes += data.len();
        if replay.bytes > KEPT_BYTES_MAX {
            *replay = Replay::overflown();
        } else if !replay.overflown {
            replay.frames.push(data.clone());
        }
    }

    /// Counts what came from the client.
    fn took(&self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        self.progress();
        self.connection.progress();
        let Some(data) = frame.data_ref() else {
            // Trailers are not kept, so the body cannot be sent again.
            *self.replay.borrow_mut() = Replay::overflown();
            return Ok(());
        };
        let length = data.len() as u64;
        self.bytes_taken.set(self.bytes_taken.get() + length);
        let left = self.bytes_left.get().checked_sub(length);
        self.bytes_left.set(left.ok_or(BodyError::TooLong)?);
        self.keep(data);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.connection.leave_unread();
            self.connection.upload_ended();
        }
    }
}

/// One attempt to send a client's body.
pub(super) struct RequestBody {
    upload: Rc<Upload>,
    attempt: u32,
    /// Which of the kept frames is next.
    again: usize,
    idle_timeout: Duration,
    /// There from the first time that the client makes us wait.
    idle: Option<Timer>,
}

impl RequestBody {
    fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let upload = Rc::clone(&self.upload);
        let mut incoming = upload.incoming.borrow_mut();
        let Some(body) = incoming.as_mut() else {
            // Given up, it has no clean end.
            return Poll::Ready(upload.error.get().map(Err));
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let ended = is_complete(body);
        drop(incoming);
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                // Nothing comes after trailers.
                if ended || frame.is_trailers() {
                    upload.end();
                }
                if let Err(error) = upload.took(&frame) {
                    return Poll::Ready(Some(Err(upload.fail(error))));
                }
                // Replay frames come before this one at the next attempt, not at this.
                self.again = upload.replay.borrow().frames.len();
                if let Some(trailers) = frame.trailers_mut() {
                    headers::remove_forbidden_trailers(trailers);
                    headers::remove_ambiguous(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(upload.fail(BodyError::from(&error)))))
            }
            Poll::Ready(None) => {
                upload.progress();
                upload.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                upload.waiting.replace(Some(cx.waker().clone()));
                let due = || upload.progress_at() + self.idle_timeout;
                let timers = &upload.connection.worker().timers;
                let idle = self.idle.get_or_insert_with(|| timers.lend(due()));
                ready!(idle.poll_until(due, cx));
                Poll::Ready(Some(Err(upload.fail(BodyError::Stalled))))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.attempt != self.upload.attempt.get() {
            // A later attempt has it.
            return Poll::Ready(Some(Err(BodyError::Broken)));
        }
        let again = self.upload.replay.borrow().frames.get(self.again).cloned();
        if let Some(data) = again {
            self.again += 1;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.poll_client(cx)
    }

    fn is_end_stream(&self) -> bool {
        let all_sent = self.again >= self.upload.replay.borrow().frames.len();
        let incoming = self.upload.incoming.borrow();
        all_sent && incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let replay = self.upload.replay.borrow();
        let again = replay.frames.iter().skip(self.again).map(Bytes::len);
        let again = again.sum::<usize>() as u64;
        let incoming = self.upload.incoming.borrow();
        let rest = incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(again));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(again));
        }
        hint
    }
}

/// What of a body is kept to be sent again. Most calls of services fit.
const KEPT_BYTES_MAX: usize = 16 * 1024;
