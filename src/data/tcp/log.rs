//! The last stage: what the logs and counts say of a session.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    data::{
        fault::{Blame, Fault},
        tcp::session::Session,
    },
    state::{Backend, Cause},
    telemetry::access_log::{self as log, SessionEntry},
};

/// A backend that was tried, and why that failed.
#[derive(Debug)]
pub(super) struct Attempt {
    backend: Arc<Backend>,
    pub(super) failed: Option<Cause>,
}

impl Attempt {
    pub(super) fn at(backend: &Arc<Backend>) -> Self {
        Self {
            backend: Arc::clone(backend),
            failed: None,
        }
    }

    fn entry(&self) -> log::Attempt<'_> {
        log::Attempt {
            backend: &*self.backend,
            failed: self.failed.map(Cause::label),
        }
    }
}

impl Session {
    /// Logs that no backend took it, if that is not the client's fault.
    pub(super) fn log_failure(&self, fault: &Fault) {
        let row = fault.row();
        if row.blame == Blame::Client {
            return;
        }
        let Some(unlogged) = self.tcp.failures.admit(Instant::now()) else {
            return;
        };
        let backend = self.attempts.last().map(|attempt| &*attempt.backend);
        tracing::warn!(
            upstream = self.upstream.get().name(),
            backend = backend.map(tracing::field::display),
            attempts = self.attempts.len(),
            cause = row.cause.label(),
            client = %self.addresses.client.ip(),
            listener = %self.settings.listen,
            unlogged,
            "session failed: {fault}"
        );
    }

    fn log(&self, cause: Option<Cause>) {
        let attempts: Vec<log::Attempt<'_>> = self.attempts.iter().map(Attempt::entry).collect();
        self.tcp.log_entry(&SessionEntry {
            time: self.time,
            client: self.addresses.client,
            listener: self.settings.listen,
            upstream: self.upstream.get().name(),
            attempts: &attempts,
            connect: self.connected_at.map(|at| at - self.began),
            total: self.began.elapsed(),
            bytes_received: self.flow.received(),
            bytes_sent: self.flow.sent(),
            cause: cause.map_or("ok", Cause::label),
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that never says how it ended was cut by a stop.
        let outcome = self.outcome.unwrap_or(Err(Cause::Cut));
        let cause = outcome.err();
        if let Some(cause) = cause {
            self.tcp.stats().session_faults(cause).increment();
        }
        self.log(cause);
    }
}
