//! The phases of a stop, seen by every worker and connection.
//!
//! `control::drain` alone moves from one to the next; it never goes back.

use tokio::sync::watch;

/// How far a stop has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub enum Phase {
    /// No stop was asked for.
    Running,
    /// Readiness is red; new connections are still accepted and served.
    LameDuck,
    /// Listeners are closed. HTTP/2 clients got a GOAWAY, HTTP/1.1 answers say
    /// `Connection: close`. Idle HTTP/1.1 connections stay, since closing one races with its
    /// client's next request.
    Draining,
    /// No call is in flight and none came for a while: idle connections close.
    ClosingIdle,
    /// Time is up: whatever is left is cut.
    Cut,
}

/// The control plane's end.
pub type PhaseSender = watch::Sender<Phase>;
/// A worker's or a connection's end.
pub type PhaseReceiver = watch::Receiver<Phase>;

/// Makes both ends, in [`Phase::Running`].
pub fn phases() -> (PhaseSender, PhaseReceiver) {
    watch::channel(Phase::Running)
}
