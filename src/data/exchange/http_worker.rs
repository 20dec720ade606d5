//! What one worker's exchanges share: connections to backends, the access log, spare heads.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use tokio::time::Instant;

use crate::{
    config::AdminState,
    data::{
        context::WorkerContext,
        exchange::{Record, failure_log::FailureLog},
        stream::Turn,
        upstream::ConnPool,
    },
    message::RequestHead,
    state::{Member, WorkerStats},
    telemetry::access_log::{Entry, Sink},
};

/// The HTTP balancer's part of one worker.
#[derive(Debug)]
pub(in crate::data) struct HttpWorker {
    pub(super) context: Rc<WorkerContext>,
    pub(super) pool: Rc<ConnPool>,
    /// The latest requests that failed, as far as they are logged.
    pub(super) failures: FailureLog,
    /// Where requests are logged, if they are.
    log: RefCell<Option<Sink>>,
    /// Heads that no exchange uses now, with the memory that they once needed.
    heads: RefCell<Vec<RequestHead>>,
}

impl HttpWorker {
    /// The part of a worker.
    pub(in crate::data) fn new(context: &Rc<WorkerContext>) -> Self {
        Self {
            context: Rc::clone(context),
            pool: Rc::new(ConnPool::new(&context.shared)),
            failures: FailureLog::new(Instant::now()),
            log: RefCell::default(),
            heads: RefCell::default(),
        }
    }

    /// The connections to backends.
    pub(in crate::data) fn pool(&self) -> &Rc<ConnPool> {
        &self.pool
    }

    /// Logs requests there from now on; nowhere if `None`.
    pub(in crate::data) fn log_to(&self, log: Option<Sink>) {
        *self.log.borrow_mut() = log;
    }

    /// Whether requests are logged.
    pub(super) fn is_logged(&self) -> bool {
        self.log.borrow().is_some()
    }

    /// Writes the line of a request.
    pub(super) fn log(&self, record: &Record) {
        if let Some(log) = &*self.log.borrow() {
            record.write(log);
        }
    }

    /// Writes the line of what never became a request.
    pub(super) fn log_entry(&self, entry: &Entry<'_>) {
        if let Some(log) = &*self.log.borrow() {
            log.write(entry);
        }
    }

    /// Lends a head.
    pub(super) fn lend_head(&self) -> RequestHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a head back.
    pub(super) fn return_head(&self, head: RequestHead) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < SPARE_HEADS_MAX {
            heads.push(head);
        }
    }

    /// The index of this worker.
    pub(super) fn worker(&self) -> usize {
        self.context.index
    }

    /// The counts of this worker.
    pub(super) fn stats(&self) -> &WorkerStats {
        &self.context.state().stats
    }

    /// Does what has to be done each second: flushes the log, so that a quiet worker's lines come
    /// in time, and closes connections that no request should use any more.
    pub(in crate::data) fn keep_house(&self) {
        if let Some(log) = &*self.log.borrow() {
            log.flush();
        }
        self.failures.tick(Instant::now());
        let snapshot = self.context.snapshot();
        let members = snapshot
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.members.iter());
        let is_wanted = |member: &&Member| member.admin_state != AdminState::Disabled;
        let wanted: HashSet<usize> = members
            .filter(is_wanted)
            .map(|member| member.backend.id)
            .collect();
        let mut scratch = self.context.scratch.borrow_mut();
        let mut turn = Turn {
            cx: &mut std::task::Context::from_waker(std::task::Waker::noop()),
            now: Instant::now(),
            scratch: &mut scratch,
        };
        self.pool
            .close_old(&mut turn, |backend| !wanted.contains(&backend));
    }
}

/// More are only there while that many requests are in flight.
const SPARE_HEADS_MAX: usize = 64;
