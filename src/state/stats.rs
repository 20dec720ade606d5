//! The statistics of one worker. Summed over all workers at the scrape.

#![expect(
    clippy::indexing_slicing,
    reason = "each array is as long as the enum or table that indexes it"
)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::StatusCode;

use crate::{
    redirect::{RejectReason, Target},
    state::Cause,
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
    /// Time from a forwarded request's head to its response's.
    pub request_duration: DurationHistogram,
    /// Responses of the HTTP load balancer, by the first digit of their status.
    responses: [Counter; 6],
    /// Requests that went wrong, by [`Cause`].
    faults: [Counter; Cause::ALL.len()],
    /// Second attempts, by what became of the first.
    retries: [Counter; Cause::ALL.len()],
    /// Connections that became tunnels.
    pub upgrades: Counter,
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

    /// The counter of responses whose status has the same first digit.
    pub fn responses(&self, status: StatusCode) -> &Counter {
        self.responses_of_class(status.as_u16() / 100)
    }

    /// The counter of responses whose status has this first digit.
    pub fn responses_of_class(&self, class: u16) -> &Counter {
        &self.responses[usize::from(class.min(5))]
    }

    /// The counter of requests that went wrong for one reason.
    pub fn faults(&self, cause: Cause) -> &Counter {
        &self.faults[cause as usize]
    }

    /// The counter of second attempts after a first that failed for one reason.
    pub fn retries(&self, cause: Cause) -> &Counter {
        &self.retries[cause as usize]
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

/// A counter with a single writing thread: no locked instruction is needed to add to it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only ever called by the thread that owns the shard.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`. Only ever called by the thread that owns the shard.
    pub fn add(&self, amount: u64) {
        // Release, so that a reader who sees a call finished also sees that it started.
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(sum, Ordering::Release);
    }

    /// The current count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// How long calls took, in buckets.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// One count for each of [`DURATION_BOUNDS`], and the last for what is longer.
    buckets: [Counter; DURATION_BOUNDS.len() + 1],
    sum_nanos: Counter,
}

impl DurationHistogram {
    /// Counts one duration. Costs a comparison for each bound below it.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS
            .iter()
            .take_while(|bound| nanos > bound.as_nanos() as u64)
            .count();
        self.buckets[bucket].increment();
        self.sum_nanos.add(nanos);
    }

    /// The count of each bucket, not cumulated.
    pub fn counts(&self) -> [u64; DURATION_BOUNDS.len() + 1] {
        self.buckets.each_ref().map(Counter::get)
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.get())
    }
}

/// The upper bounds of the buckets, themselves included.
pub const DURATION_BOUNDS: [Duration; 14] = [
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

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

/// Why a client connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseCause {
    /// The client closed it, or an exchange ended it in good order.
    Done,
    /// It broke, or the client broke the protocol.
    ConnectionError,
    /// What came is no head of a request (HTTP/1.1).
    MalformedHead,
    /// A request's head was too long, or had too many headers (HTTP/1.1).
    HeadLimit,
    /// No first byte, or no whole HTTP/2 preface, in time.
    FirstByteTimeout,
    /// A request head took too long.
    HeaderTimeout,
    /// No call for too long.
    IdleTimeout,
    /// Calls were open, but none of them ended for too long.
    Stalled,
    /// Its age was reached.
    AgeLimit,
    /// The connection limit was reached; closed at accept.
    ConnectionLimit,
    /// The client's own connection limit was reached; closed at accept.
    ClientLimit,
    /// It had nothing to do when the process stopped.
    Drained,
    /// It was still busy at the end of the drain.
    Cut,
    /// A panic while it was served: a fault of ours.
    Panic,
}

impl CloseCause {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::ConnectionError,
        Self::MalformedHead,
        Self::HeadLimit,
        Self::FirstByteTimeout,
        Self::HeaderTimeout,
        Self::IdleTimeout,
        Self::Stalled,
        Self::AgeLimit,
        Self::ConnectionLimit,
        Self::ClientLimit,
        Self::Drained,
        Self::Cut,
        Self::Panic,
    ];

    /// The value of the metrics' `cause` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ConnectionError => "connection_error",
            Self::MalformedHead => "malformed_head",
            Self::HeadLimit => "head_limit",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Stalled => "stalled",
            Self::AgeLimit => "age_limit",
            Self::ConnectionLimit => "connection_limit",
            Self::ClientLimit => "client_limit",
            Self::Drained => "drained",
            Self::Cut => "cut",
            Self::Panic => "panic",
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
            AcceptFault::ALL
                .iter()
                .enumerate()
                .all(|(index, &fault)| fault as usize == index)
        );
    }

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_includes_them() {
        let histogram = DurationHistogram::default();
        for (nanos, bucket) in [
            (0, 0),
            (5_000, 0),
            (5_001, 1),
            (10_000_000_000, 13),
            (10_000_000_001, 14),
        ] {
            let before = histogram.counts()[bucket];
            histogram.record(Duration::from_nanos(nanos));
            assert_eq!(histogram.counts()[bucket], before + 1, "{nanos} ns");
        }
        assert_eq!(histogram.sum(), Duration::from_nanos(20_000_010_002));
    }
}
