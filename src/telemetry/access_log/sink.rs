//! A worker's end of the access log.

use std::{cell::RefCell, mem};

use crate::config::LogFormat;
use crate::telemetry::access_log::{
    Link, entry::Entry, format::push_line, timestamp::Timestamp, writer::Batch,
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

    /// Appends one line. Costs its formatting, some hundred nanoseconds; once in about a hundred
    /// lines also a buffer's allocation and hand-over.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut lines = self.lines.borrow_mut();
        let Lines { batch, timestamp } = &mut *lines;
        if batch.bytes.capacity() == 0 {
            batch.bytes.reserve(BATCH_BYTES + LINE_BYTES_USUAL);
        }
        push_line(self.format, &mut batch.bytes, timestamp, entry);
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
