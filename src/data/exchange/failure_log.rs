//! The events about requests that the balancer could not serve. They are on by default, beside the
//! access log, which is not. An outage fails every request, so each worker logs ten a second and
//! counts the rest.

use std::fmt;

use tokio::time::Instant;

use crate::{
    data::{
        event_budget::EventBudget,
        exchange::Exchange,
        fault::{Blame, Fault},
    },
    message::RequestHead,
    state::Cause,
};

/// The events of one worker.
#[derive(Debug)]
pub(super) struct FailureLog(EventBudget);

/// The backends that an exchange has tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    count: u32,
    /// The id of the last one.
    last: Option<usize>,
}

impl Attempts {
    /// Counts an attempt.
    pub(super) fn at(&mut self, backend: usize) {
        self.count += 1;
        self.last = Some(backend);
    }
}

impl FailureLog {
    pub(super) fn new(now: Instant) -> Self {
        Self(EventBudget::new(now))
    }

    /// Says how many failed requests had no event, once no more fail.
    pub(super) fn tick(&self, now: Instant) {
        let unlogged = self.0.left_out(now);
        if unlogged > 0 {
            tracing::warn!(unlogged, "more requests failed than are logged one by one");
        }
    }

    /// Logs a request that went to no backend, if that is not the client's fault.
    pub(super) fn refused(&self, head: &RequestHead, request_id: &[u8], fault: &Fault) {
        let row = fault.row();
        if row.blame == Blame::Client {
            return;
        }
        let Some(unlogged) = self.0.admit(Instant::now()) else {
            return;
        };
        tracing::warn!(
            cause = row.cause.label(),
            status = row.status,
            request_id = %String::from_utf8_lossy(request_id),
            method = head.method_text(),
            path = shortened(head.path()),
            unlogged,
            "request failed: {fault}"
        );
    }
}

impl Exchange {
    /// Logs that it failed, if that is not the client's fault.
    pub(super) fn log_failure(&self, fault: &Fault) {
        let row = fault.row();
        if row.blame != Blame::Client {
            self.log_event(row.cause, Some(row.status), &fault);
        }
    }

    /// Logs that a stop ended it before its response was complete.
    pub(super) fn log_cut(&self) {
        self.log_event(Cause::Cut, None, &"cut by the stop");
    }

    fn log_event(&self, cause: Cause, status: Option<u16>, reason: &dyn fmt::Display) {
        let Some(unlogged) = self.http.failures.0.admit(Instant::now()) else {
            return;
        };
        let upstream = self.upstream.get();
        let Attempts { count, last } = self.attempts;
        let mut members = upstream.members.iter().map(|member| &member.backend);
        let backend = members.find(|backend| Some(backend.id) == last);
        let head = &self.request.outgoing;
        tracing::warn!(
            upstream = upstream.name(),
            backend = backend.map(tracing::field::display),
            attempts = count,
            cause = cause.label(),
            status,
            request_id = %String::from_utf8_lossy(self.request_id()),
            method = head.method_text(),
            path = shortened(head.path()),
            unlogged,
            "request failed: {reason}"
        );
    }
}

/// A query may hold what no log should, and a path may be 16 KiB long.
fn shortened(path: &str) -> &str {
    path.get(..path.floor_char_boundary(PATH_BYTES_MAX))
        .unwrap_or(path)
}

const PATH_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let path = "ä".repeat(200);
        assert_eq!(shortened(&path).len(), PATH_BYTES_MAX);
        assert_eq!(shortened("/a"), "/a");
    }
}
