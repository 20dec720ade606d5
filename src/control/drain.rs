//! The stop: who is told what, in which order, and how long each step may take.

use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    config::Drain,
    shutdown::{Phase, PhaseSender},
    state::{Protocol, Shared},
};

/// What became of the calls that were in flight, or came, during a stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DrainReport {
    /// Calls in flight when the stop began.
    pub in_flight: u64,
    /// Calls that ended since then.
    pub finished: u64,
    /// Calls that were cut.
    pub cut: u64,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            in_flight,
            finished,
            cut,
        } = self;
        write!(f, "in_flight={in_flight} finished={finished} cut={cut}")
    }
}

/// The counts when a stop began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    in_flight: u64,
    finished_before: u64,
}

impl Progress {
    pub(super) fn begin(shared: &Shared) -> Self {
        Self {
            in_flight: shared.calls_in_flight(),
            finished_before: shared.calls_finished(),
        }
    }

    /// Ends the stop: what is still in flight is cut.
    pub(super) fn end(self, shared: &Shared, phase: &PhaseSender) -> DrainReport {
        let report = DrainReport {
            in_flight: self.in_flight,
            finished: shared.calls_finished() - self.finished_before,
            cut: shared.calls_in_flight(),
        };
        enter(phase, Phase::Cut);
        report
    }
}

/// Goes through the phases of a stop, up to its end. Takes at most `lame_duck + timeout`.
pub(super) async fn drain(shared: &Shared, phase: &PhaseSender, limits: &Drain) {
    let at_most = limits.lame_duck + limits.timeout;
    tracing::info!(
        in_flight = shared.calls_in_flight(),
        connections = shared.open_connections(),
        ?at_most,
        "stopping"
    );
    enter(phase, Phase::LameDuck);
    let lame_duck_over = Instant::now() + limits.lame_duck;
    let no_new_connection = quiet(limits.quiet, || connections_accepted(shared));
    // Whichever comes first is the end of the lame-duck time.
    let _either = timeout_at(lame_duck_over, no_new_connection).await;

    enter(phase, Phase::Draining);
    let deadline = Instant::now() + limits.timeout;
    let all_closed = || until(|| shared.open_connections() == 0);
    let calls_done = async {
        // What the kernel still holds is accepted first: until then, no connection is the last.
        until(|| shared.is_closed_to_new()).await;
        tokio::select! {
            () = all_closed() => {}
            () = calls_done(shared, limits.quiet) => {}
        }
    };
    let _or_deadline = timeout_at(deadline, calls_done).await;

    enter(phase, Phase::ClosingIdle);
    let _or_deadline = timeout_at(deadline, all_closed()).await;
}

fn enter(phase: &PhaseSender, next: Phase) {
    tracing::debug!(phase = ?next, "next phase of the stop");
    phase.send_replace(next);
}

/// Waits until no call is in flight and none began for a while.
async fn calls_done(shared: &Shared, quiet_for: Duration) {
    loop {
        quiet(quiet_for, || shared.calls_finished()).await;
        if shared.calls_in_flight() == 0 {
            return;
        }
    }
}

/// Waits until a count has stood still for a while.
async fn quiet(quiet_for: Duration, count: impl Fn() -> u64) {
    let mut last = count();
    let mut since = Instant::now();
    while since.elapsed() < quiet_for {
        sleep(LOOK_EVERY).await;
        let current = count();
        if current != last {
            last = current;
            since = Instant::now();
        }
    }
    sleep(LOOK_EVERY).await;
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(LOOK_EVERY).await;
    }
}

fn connections_accepted(shared: &Shared) -> u64 {
    let accepted = |protocol| {
        shared
            .workers()
            .iter()
            .map(move |worker| worker.stats.connections(protocol).get())
    };
    Protocol::ALL.into_iter().flat_map(accepted).sum()
}

/// Looking costs the control plane some reads; a stop is not in a hurry.
const LOOK_EVERY: Duration = Duration::from_millis(10);
