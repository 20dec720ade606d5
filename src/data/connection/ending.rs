//! How a connection must end, and why it did.

use crate::{
    data::connection::Connection,
    shutdown::Phase,
    state::{Cause, CloseCause},
};

impl Connection {
    /// Notes that the rest of a request body is read by nobody, so that the close must wait for
    /// the client to have read its answer.
    pub(in crate::data) fn leave_unread(&self) {
        self.left_unread.set(true);
    }

    /// Whether the client may still be sending.
    pub(in crate::data) fn is_left_unread(&self) -> bool {
        self.left_unread.get()
    }

    /// Notes that a client reads the response until the connection ends (HTTP/1.0).
    pub(in crate::data) fn ends_by_close(&self) {
        self.end_is_close.set(true);
    }

    /// Notes that a response broke off. HTTP/2 and HTTP/1.1 clients see that by themselves; to
    /// one that reads until the end, the connection must not end as a whole one would.
    pub(in crate::data) fn broke_off(&self) {
        self.broken.set(self.end_is_close.get());
    }

    /// Whether its end must be a reset.
    pub(in crate::data) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Notes why it ended.
    pub(in crate::data) fn end(&self, cause: CloseCause) {
        self.ended.set(Some(cause));
    }

    /// Why a call on it, or the rest of an answer, is given up.
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

    /// Why it ended, now that hyper is done with it.
    pub(in crate::data) fn cause_of_end(
        &self,
        phase: Phase,
        ended: hyper::Result<()>,
    ) -> CloseCause {
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
