//! A worker's end of the access log.

use std::{cell::RefCell, mem};

use crate::config::LogFormat;
use crate::telemetry::access_log::{
    Link,
    entry::{Entry, SessionEntry},
    format::{push_line, push_session},
    timestamp::Timestamp,
    writer::Batch,
};

/// Gathers a worker's lines. Belongs to one thread and never waits. Dropped, it hands over what
/// it has.
#[derive(Debug)]
pub struct Sink {
    format: LogFormat,
    /// Borrowed only within one call of this file.
    lines: RefCell<Lines>,
    link: Link,
}

impl Sink {
    pub(super) fn new(format: LogFormat, link: Link) -> Self {
        Self {
            format,
            lines: RefCell::default(),
            link,
        }
    }

    /// Appends the line of a request. Costs its formatting, some hundred nanoseconds; once in about
    /// a hundred lines also a buffer's allocation and hand-over.
    pub fn write(&self, entry: &Entry<'_>) {
        self.push(|format, out, timestamp| push_line(format, out, timestamp, entry));
    }

    /// Appends the line of a session.
    pub fn write_session(&self, entry: &SessionEntry<'_>) {
        self.push(|format, out, timestamp| push_session(format, out, timestamp, entry));
    }

    fn push(&self, line: impl FnOnce(LogFormat, &mut Vec<u8>, &mut Timestamp)) {
        let mut lines = self.lines.borrow_mut();
        let Lines { batch, timestamp } = &mut *lines;
        if batch.bytes.capacity() == 0 {
            batch.bytes.reserve(BATCH_BYTES + LINE_BYTES_USUAL);
        }
        line(self.format, &mut batch.bytes, timestamp);
        batch.lines += 1;
        if batch.bytes.len() >= BATCH_BYTES {
            self.link.hand_over(mem::take(batch));
        }
    }

    /// Hands over what there is. To be called every second, so that lines of a quiet hour are
    /// seen soon.
    pub fn flush(&self) {
        let batch = mem::take(&mut self.lines.borrow_mut().batch);
        if batch.lines > 0 {
            self.link.hand_over(batch);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What was not handed over yet, and the time's text.
#[derive(Debug, Default)]
struct Lines {
    batch: Batch,
    timestamp: Timestamp,
}

/// A buffer is handed over when it has that many bytes.
const BATCH_BYTES: usize = 32 * 1024;
/// Room for the line that fills a buffer; a longer one makes it grow.
const LINE_BYTES_USUAL: usize = 2 * 1024;
