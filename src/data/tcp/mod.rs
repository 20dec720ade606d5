//! The TCP load balancer: bytes between a client and a backend, for as long as a session lasts. One file
//! a stage: who the client is, which backend takes it, what is carried, what is logged.

use std::{cell::RefCell, rc::Rc};

use tokio::time::Instant;

use crate::{
    data::{context::WorkerContext, event_budget::EventBudget, upstream::ConnPool},
    state::WorkerStats,
    telemetry::access_log::{SessionEntry, Sink},
};

mod acquire;
mod log;
mod proxy_header;
mod relay;
mod session;

pub(in crate::data) use session::serve;

/// The TCP balancer's part of one worker.
#[derive(Debug)]
pub(in crate::data) struct TcpWorker {
    context: Rc<WorkerContext>,
    /// The HTTP balancer's connections, of which idle ones give way where files are short.
    pool: Rc<ConnPool>,
    /// Where sessions are logged, if they are.
    log: RefCell<Option<Sink>>,
    /// The latest sessions that failed, as far as they are logged.
    failures: EventBudget,
}

impl TcpWorker {
    /// The part of a worker.
    pub(in crate::data) fn new(context: &Rc<WorkerContext>, pool: &Rc<ConnPool>) -> Self {
        Self {
            context: Rc::clone(context),
            pool: Rc::clone(pool),
            log: RefCell::default(),
            failures: EventBudget::new(Instant::now()),
        }
    }

    /// Logs sessions there from now on; nowhere if `None`.
    pub(in crate::data) fn log_to(&self, log: Option<Sink>) {
        *self.log.borrow_mut() = log;
    }

    /// Writes the line of a session.
    fn log_entry(&self, entry: &SessionEntry<'_>) {
        if let Some(log) = &*self.log.borrow() {
            log.write_session(entry);
        }
    }

    /// Does what has to be done each second.
    pub(in crate::data) fn keep_house(&self) {
        if let Some(log) = &*self.log.borrow() {
            log.flush();
        }
        let unlogged = self.failures.left_out(Instant::now());
        if unlogged > 0 {
            tracing::warn!(unlogged, "more sessions failed than are logged one by one");
        }
    }

    fn stats(&self) -> &WorkerStats {
        &self.context.state().stats
    }
}
