//! What is in flight on a connection: calls, and streams that may last as long as it does.

use std::rc::Rc;

use tokio::time::{Duration, Instant};

use crate::{data::connection::Connection, listener::Face};

impl Connection {
    /// Notes that a call's head is complete.
    pub(in crate::data) fn call_started(self: &Rc<Self>) -> Call {
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

    /// Notes a stream that may last as long as the connection; no call, so no drain waits for it.
    pub(in crate::data) fn watch_started(self: &Rc<Self>) -> Watch {
        self.head_since.set(None);
        self.watches.set(self.watches.get() + 1);
        Watch {
            connection: Rc::clone(self),
        }
    }
}

/// A call in flight. Ends when it is dropped, which is after its answer went to the connection.
#[derive(Debug)]
pub(in crate::data) struct Call {
    connection: Rc<Connection>,
    started_at: Instant,
    answered_at: Option<Instant>,
}

impl Call {
    /// When its head was complete.
    pub(in crate::data) fn started_at(&self) -> Instant {
        self.started_at
    }

    /// The connection that it came on.
    pub(in crate::data) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Records how long the answer took.
    pub(in crate::data) fn answered(&mut self) {
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
pub(in crate::data) struct Watch {
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
