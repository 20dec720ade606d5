//! What was tried so far, and so what may be tried next. Pure.
//!
//! What may be sent again: anything, while nothing of it was delivered (no connection; an HTTP/2
//! backend that says so); an idempotent request of which nothing came back, on a fresh connection
//! if it was on a kept one, and to one other backend. A `POST` is never delivered twice.

use crate::data::{
    fault::{Blame, Fault},
    upstream::Reuse,
};

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// Whether the request may be sent again.
    pub(super) again: Again,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Again {
    /// Never.
    No,
    /// To another backend: this one cannot be reached, or is leaving.
    Elsewhere,
    /// On a fresh connection, to the same backend first.
    Afresh,
}

/// What was tried so far, and so what may be tried next.
#[derive(Debug)]
pub(super) struct RetryState {
    /// Backends that are not asked again.
    pub(super) tried: Vec<usize>,
    attempts: usize,
    /// Whether kept connections may be used.
    pub(super) reuse: Reuse,
    /// Whether a backend had the request and nothing came back.
    was_lost: bool,
    /// Why the last attempt failed.
    last: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    SameBackend,
    AnotherBackend,
}

impl Default for RetryState {
    fn default() -> Self {
        Self {
            tried: Vec::new(),
            attempts: 0,
            reuse: Reuse::Allowed,
            was_lost: false,
            last: None,
        }
    }
}

impl RetryState {
    /// What to do after a failure there; nothing more if `None`.
    pub(super) fn next(&mut self, backend: usize, failure: &Failure) -> Option<Next> {
        // The backend closed the connection after it got the request, possibly because of it, so
        // the request goes to one more backend at most.
        let is_lost = matches!(failure.fault, Fault::NoResponse);
        let is_hopeless = is_lost && self.was_lost;
        self.was_lost |= is_lost;
        self.attempts += 1;
        if failure.again == Again::No || is_hopeless || self.attempts >= ATTEMPTS_MAX {
            return None;
        }
        // The others that were kept may be as stale.
        if failure.again == Again::Afresh && self.reuse == Reuse::Allowed {
            self.reuse = Reuse::Forbidden;
            return Some(Next::SameBackend);
        }
        self.tried.push(backend);
        Some(Next::AnotherBackend)
    }
}

impl RetryState {
    /// Notes why an attempt failed that is followed by another.
    pub(super) fn failed(&mut self, fault: Fault) {
        self.last = Some(fault);
    }

    /// Why the last attempt failed, if there was one.
    pub(super) fn take_failure(&mut self) -> Option<Fault> {
        self.last.take()
    }
}

impl Failure {
    /// Whether it counts towards an ejection of the backend.
    pub(super) fn blames_backend(&self) -> bool {
        self.fault.row().blame == Blame::Backend
    }

    pub(super) fn new(fault: Fault, again: Again) -> Self {
        Self { fault, again }
    }
}

/// A client waits for all of them; more only prolong an outage.
pub(super) const ATTEMPTS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::net::DialError;

    fn stale() -> Failure {
        Failure::new(Fault::StaleConnection, Again::Afresh)
    }

    fn lost() -> Failure {
        Failure::new(Fault::NoResponse, Again::Elsewhere)
    }

    fn refused() -> Failure {
        let source = DialError::Connect(io::ErrorKind::ConnectionRefused.into());
        let upstream = "app".to_owned();
        let error = Fault::Connect { upstream, source };
        Failure::new(error, Again::Elsewhere)
    }

    /// What follows these failures, each at another backend.
    #[track_caller]
    fn check(failures: &[fn() -> Failure], expected: &[Option<Next>]) {
        let mut history = RetryState::default();
        let failures = failures.iter().enumerate();
        let next: Vec<_> = failures
            .map(|(backend, failure)| history.next(backend, &failure()))
            .collect();
        assert_eq!(next, expected);
    }

    const SAME: Option<Next> = Some(Next::SameBackend);
    const ANOTHER: Option<Next> = Some(Next::AnotherBackend);

    #[test]
    fn what_was_not_delivered_goes_on_until_there_were_enough() {
        check(
            &[refused, refused, refused, refused],
            &[ANOTHER, ANOTHER, ANOTHER, None],
        );
    }

    #[test]
    fn what_was_lost_goes_to_one_more() {
        check(&[lost, lost], &[ANOTHER, None]);
        check(&[lost, refused, lost], &[ANOTHER, ANOTHER, None]);
    }

    #[test]
    fn a_stale_connection_is_the_last_that_was_kept() {
        check(&[stale, stale, stale], &[SAME, ANOTHER, ANOTHER]);
        check(&[stale, lost, lost], &[SAME, ANOTHER, None]);
    }

    #[test]
    fn what_may_not_be_sent_again_is_not() {
        let last = || Failure::new(Fault::StaleConnection, Again::No);
        check(&[last], &[None]);
    }

    #[test]
    fn a_backend_that_failed_is_not_asked_again_unless_its_connection_was_stale() {
        let mut history = RetryState::default();
        for backend in [3, 3, 5] {
            let _next = history.next(backend, &stale());
        }
        assert_eq!(history.tried, [3, 5]);
        assert_eq!(history.reuse, Reuse::Forbidden);
    }
}
