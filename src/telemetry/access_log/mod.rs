//! The access log of the HTTP balancer: one line for each request.
//!
//! A worker formats its lines into the buffer of its own [`Sink`] and hands whole buffers over;
//! one thread writes them out. Nothing here ever makes a worker wait: where the disk or the pipe
//! is slower than the traffic, buffers are dropped and their lines are counted as lost.
//!
//! Event logs are elsewhere (`telemetry`); what a request is, is decided in `data::http`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
};

mod entry;
mod escape;
mod format;
mod sink;
mod timestamp;
mod writer;

pub use entry::{Attempt, Entry, RequestLine, SessionEntry};
pub use sink::Sink;

use crate::config::{LogFormat, LogTarget};

use writer::{Batch, Output, Writer};

/// A handle to the running access log. Cheap to clone; the last one to be dropped finishes it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    writer: Arc<Writer>,
}

impl AccessLog {
    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or created, or no thread can be started.
    pub fn start(target: &LogTarget, format: LogFormat) -> io::Result<Self> {
        let output = Output::open(target)?;
        let (queue, batches) = sync_channel(BATCHES_WAITING_MAX);
        let writer = Writer::start(output, queue, batches)?;
        Ok(Self {
            format,
            writer: Arc::new(writer),
        })
    }

    /// Makes a worker's own end. It may outlive this handle, but what it then hands over is lost.
    pub fn sink(&self) -> Sink {
        Sink::new(self.format, self.writer.link())
    }

    /// Opens the file again by its name before the next write, as a rotation asks for. Where
    /// that fails, the old file stays in use. Standard output stays as it is.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Whether both are handles of one log.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.writer, &other.writer)
    }

    /// Lines that were dropped, because the queue was full or a write failed.
    pub fn lost_lines(&self) -> u64 {
        self.writer.tally().lost.load(Ordering::Relaxed)
    }

    /// Lines that were written.
    pub fn written_lines(&self) -> u64 {
        self.writer.tally().written.load(Ordering::Relaxed)
    }

    /// Writes out all that sinks have handed over, and ends the thread. Waits for it, but not
    /// longer than five seconds: a reader of a pipe may have stopped reading. Whatever comes later
    /// is lost. At the second time it does nothing.
    pub fn finish(&self) {
        self.writer.finish();
    }
}

/// What sinks and the writer share.
#[derive(Debug, Default)]
struct Tally {
    /// Sinks and the writer add, metrics read. It orders nothing else, so relaxed.
    lost: AtomicU64,
    /// The writer adds, metrics read; relaxed as above.
    written: AtomicU64,
    /// A handle sets it, the writer takes it; relaxed, since it carries no other data.
    reopen: AtomicBool,
    /// A handle sets it before it wakes the writer; release and acquire, so that a writer woken
    /// by whatever message sees it.
    finish: AtomicBool,
}

/// A sink's way to the writer.
#[derive(Clone, Debug)]
struct Link {
    queue: SyncSender<Batch>,
    tally: Arc<Tally>,
}

impl Link {
    /// Hands lines over, or counts them as lost. Never waits.
    fn hand_over(&self, batch: Batch) {
        let lines = batch.lines;
        if self.queue.try_send(batch).is_err() {
            self.tally.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// Buffers on their way to the writer: about 8 MiB when they are full, and enough for 256 workers
/// that flush in the same moment.
const BATCHES_WAITING_MAX: usize = 256;

#[cfg(test)]
mod tests;
