//! The statistics of one worker. Summed over all workers at the scrape.

#![expect(
    clippy::indexing_slicing,
    reason = "each array is as long as the enum or table that indexes it"
)]

use crate::{
    limit::Mode,
    redirect::{RejectReason, Target},
    state::{Cause, CloseCause, Counter, DurationHistogram, ResponseStats, Scope},
};

/// Counts that one worker writes and the control plane reads.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Answers that sent the player to the origin.
    pub redirects_origin: Counter,
    /// Answers that sent the player to the CDN.
    pub redirects_cdn: Counter,
    /// Refused calls, by [`RejectReason`].
    rejected: [Counter; RejectReason::ALL.len()],
    /// Time from a call's head to its answer.
    pub call_duration: DurationHistogram,
    /// Responses of the HTTP load balancer to requests that no upstream was chosen for.
    pub unrouted: ResponseStats,
    /// Requests that went wrong, by [`Cause`].
    faults: [Counter; Cause::ALL.len()],
    /// Second attempts, by what became of the first.
    retries: [Counter; Cause::ALL.len()],
    /// Sessions of the TCP load balancer that went wrong, by [`Cause`].
    session_faults: [Counter; Cause::ALL.len()],
    /// Further backends that they tried, by what became of the one before.
    session_retries: [Counter; Cause::ALL.len()],
    /// Connections that became tunnels.
    pub upgrades: Counter,
    /// Requests above a limit, by [`Scope`]: those that were refused.
    rate_limited: [Counter; Scope::ALL.len()],
    /// Those that would have been refused.
    shadow_limited: [Counter; Scope::ALL.len()],
    /// Requests of clients that the table of buckets had no room for.
    pub bucket_overflows: Counter,
    /// Calls that began.
    pub calls_started: Counter,
    /// Calls whose answer was handed to the connection, or that were given up.
    pub calls_finished: Counter,
    /// Accepted connections, by [`Protocol`].
    connections: [Counter; Protocol::ALL.len()],
    /// Ended connections, by [`CloseCause`].
    closed: [Counter; CloseCause::ALL.len()],
    /// Accepted connections that another worker was given.
    pub handed_over: Counter,
    /// Faults of the accept loop, by [`AcceptFault`].
    accept_faults: [Counter; AcceptFault::ALL.len()],
}

impl WorkerStats {
    /// The counter of answers of one kind.
    pub fn redirects(&self, target: Target) -> &Counter {
        match target {
            Target::Origin => &self.redirects_origin,
            Target::Cdn => &self.redirects_cdn,
        }
    }

    /// The counter of calls refused for one reason.
    pub fn rejected(&self, reason: RejectReason) -> &Counter {
        &self.rejected[reason as usize]
    }

    /// The counter of requests that went wrong for one reason.
    pub fn faults(&self, cause: Cause) -> &Counter {
        &self.faults[cause as usize]
    }

    /// The counter of second attempts after a first that failed for one reason.
    pub fn retries(&self, cause: Cause) -> &Counter {
        &self.retries[cause as usize]
    }

    /// The counter of sessions that went wrong for one reason.
    pub fn session_faults(&self, cause: Cause) -> &Counter {
        &self.session_faults[cause as usize]
    }

    /// The counter of further backends that sessions tried after one that failed for one reason.
    pub fn session_retries(&self, cause: Cause) -> &Counter {
        &self.session_retries[cause as usize]
    }

    /// The counter of requests above a limit.
    pub fn rate_limited(&self, scope: Scope, mode: Mode) -> &Counter {
        match mode {
            Mode::Enforce => &self.rate_limited[scope as usize],
            Mode::Shadow => &self.shadow_limited[scope as usize],
        }
    }

    /// The counter of connections that spoke one protocol.
    pub fn connections(&self, protocol: Protocol) -> &Counter {
        &self.connections[protocol as usize]
    }

    /// The counter of connections that ended for one cause.
    pub fn closed(&self, cause: CloseCause) -> &Counter {
        &self.closed[cause as usize]
    }

    /// The counter of one fault of the accept loop.
    pub fn accept_faults(&self, fault: AcceptFault) -> &Counter {
        &self.accept_faults[fault as usize]
    }

    /// Calls that began and did not end yet.
    pub fn calls_in_flight(&self) -> u64 {
        // The end is read first, so a call that ends in between is not subtracted twice.
        let finished = self.calls_finished.get();
        self.calls_started.get().saturating_sub(finished)
    }
}

/// What a client connection turned out to speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the protocols")]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The value of the metrics' `protocol` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// What went wrong in an accept loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcceptFault {
    /// The connection was gone before it was accepted.
    Aborted,
    /// No file descriptor, buffer or memory was free; the loop backs off.
    Exhausted,
}

impl AcceptFault {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Aborted, Self::Exhausted];

    /// The value of the metrics' `fault` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Exhausted => "exhausted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Condition;

    #[test]
    fn lists_are_in_the_order_of_their_discriminants() {
        assert!(
            RejectReason::ALL
                .iter()
                .enumerate()
                .all(|(index, &reason)| reason as usize == index)
        );
        assert!(
            Protocol::ALL
                .iter()
                .enumerate()
                .all(|(index, &protocol)| protocol as usize == index)
        );
        assert!(
            CloseCause::ALL
                .iter()
                .enumerate()
                .all(|(index, &cause)| cause as usize == index)
        );
        assert!(
            Cause::ALL
                .iter()
                .enumerate()
                .all(|(index, &cause)| cause as usize == index)
        );
        assert!(
            Condition::ALL
                .iter()
                .enumerate()
                .all(|(index, &condition)| condition as usize == index)
        );
        assert!(
            Scope::ALL
                .iter()
                .enumerate()
                .all(|(index, &scope)| scope as usize == index)
        );
        assert!(
            AcceptFault::ALL
                .iter()
                .enumerate()
                .all(|(index, &fault)| fault as usize == index)
        );
    }
}
