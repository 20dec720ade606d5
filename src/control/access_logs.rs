//! The access log of the process: opened at the start, changed by reloads.
//!
//! A log that a reload replaces lives a little longer: each worker hands over its last lines when it
//! learns of the new one.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Duration, sleep},
};

use crate::{
    config::{self, LogTarget},
    telemetry::access_log::AccessLog,
};

/// The access log that workers write to. Clones share it.
#[derive(Clone, Debug)]
pub struct AccessLogs {
    current: watch::Sender<Option<AccessLog>>,
    replaced: Arc<Mutex<Replaced>>,
}

/// Logs that workers may still have lines for, and the lines of those that are finished.
#[derive(Debug, Default)]
struct Replaced {
    logs: Vec<AccessLog>,
    finished: Lines,
}

/// How many lines were written, and how many were lost, since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    pub(super) written: u64,
    pub(super) lost: u64,
}

/// A log that is open and not in use yet.
#[derive(Debug)]
pub(super) struct Opened(Option<AccessLog>);

/// The target of an access log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {target}: {source}")]
pub struct AccessLogError {
    /// What was to be opened.
    target: LogTarget,
    /// What the system said.
    source: io::Error,
}

impl AccessLogs {
    /// Opens the log that a configuration asks for, if it asks for one.
    ///
    /// # Errors
    ///
    /// When the target cannot be opened.
    pub fn start(settings: Option<&config::AccessLog>) -> Result<Self, AccessLogError> {
        Ok(Self {
            current: watch::Sender::new(open(settings)?.0),
            replaced: Arc::default(),
        })
    }

    /// Tells a worker which log to write to.
    pub fn subscribe(&self) -> watch::Receiver<Option<AccessLog>> {
        self.current.subscribe()
    }

    /// Has the workers write to another log. Needs the control plane's runtime.
    pub(super) fn switch(&self, opened: Opened) {
        let Some(old) = self.current.send_replace(opened.0) else {
            return;
        };
        self.replaced().logs.push(old.clone());
        let logs = self.clone();
        tokio::spawn(async move {
            sleep(LAST_LINES_TIME).await;
            // Its reader may be stuck.
            let _finished = spawn_blocking(move || logs.finish_replaced(&old)).await;
        });
    }

    fn finish_replaced(&self, old: &AccessLog) {
        old.finish();
        let mut replaced = self.replaced();
        let finished = replaced.finished.plus(old);
        replaced.finished = finished;
        replaced.logs.retain(|log| !log.is_same(old));
    }

    /// Opens the file again by its name, as a rotation asks for.
    pub(super) fn reopen(&self) {
        if let Some(log) = &*self.current.borrow() {
            log.reopen();
        }
    }

    /// The lines so far; `None` if there never was a log.
    pub(super) fn lines(&self) -> Option<Lines> {
        let replaced = self.replaced();
        let current = self.current.borrow().clone();
        let logs = replaced.logs.iter().chain(&current);
        let lines = logs.fold(replaced.finished, Lines::plus);
        (current.is_some() || lines.written + lines.lost > 0).then_some(lines)
    }

    /// Writes out everything. Takes at most five seconds for each log whose reader is stuck.
    pub fn finish(&self) {
        let current = self.current.send_replace(None);
        let replaced = std::mem::take(&mut self.replaced().logs);
        for log in replaced.iter().chain(&current) {
            log.finish();
        }
    }

    fn replaced(&self) -> MutexGuard<'_, Replaced> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn plus(self, log: &AccessLog) -> Self {
        Self {
            written: self.written + log.written_lines(),
            lost: self.lost + log.lost_lines(),
        }
    }
}

/// Opens the log that a configuration asks for.
pub(super) fn open(settings: Option<&config::AccessLog>) -> Result<Opened, AccessLogError> {
    let open = |settings: &config::AccessLog| {
        AccessLog::start(&settings.target, settings.format).map_err(|source| AccessLogError {
            target: settings.target.clone(),
            source,
        })
    };
    settings.map(open).transpose().map(Opened)
}

/// A worker learns of another log in no time, unless it is saturated.
const LAST_LINES_TIME: Duration = Duration::from_secs(5);
