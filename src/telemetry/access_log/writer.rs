//! The thread that writes the access log: the only one that ever waits for a disk or a pipe.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    config::LogTarget,
    telemetry::access_log::{Link, Tally},
};

/// Whole lines on their way to the writer. One without lines only wakes it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The lines with their ends.
    pub(super) bytes: Vec<u8>,
    /// How many they are.
    pub(super) lines: u64,
}

/// The running thread, seen from outside. Dropped, it finishes.
#[derive(Debug)]
pub(super) struct Writer {
    link: Link,
    /// Taken by the first call of `finish`; later ones need not wait.
    thread: Mutex<Option<Running>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        output: Output,
        queue: SyncSender<Batch>,
        batches: Receiver<Batch>,
    ) -> io::Result<Self> {
        let tally = Arc::new(Tally::default());
        let (ended, ends) = sync_channel(1);
        let work = Work {
            output,
            tally: Arc::clone(&tally),
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                work.run(&batches);
                let _nobody_waits = ended.try_send(());
            })?;
        Ok(Self {
            link: Link { queue, tally },
            thread: Mutex::new(Some(Running { thread, ends })),
        })
    }

    /// A sink's way to the thread.
    pub(super) fn link(&self) -> Link {
        self.link.clone()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.link.tally
    }

    /// Has the file opened again.
    pub(super) fn reopen(&self) {
        self.tally().reopen.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Has the queue written out, and waits for the thread's end.
    pub(super) fn finish(&self) {
        let taken = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(running) = taken else {
            return;
        };
        self.tally().finish.store(true, Ordering::Release);
        self.wake();
        if running.ends.recv_timeout(FINISH_WAIT_MAX).is_err() {
            tracing::error!("the access log's reader is stuck; its last lines are lost");
            return;
        }
        let _panic_was_reported = running.thread.join();
    }

    /// Makes the thread look at its flags. A full queue needs no message: the thread looks at them
    /// after each.
    fn wake(&self) {
        let _full_or_ended = self.link.queue.try_send(Batch::default());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Gets a message, or closes, when the thread is done: a join has no time limit.
    ends: Receiver<()>,
}

/// The thread's own state.
struct Work {
    output: Output,
    tally: Arc<Tally>,
    /// The last write failed, and that was logged.
    failing: bool,
}

impl Work {
    fn run(mut self, batches: &Receiver<Batch>) {
        while !self.tally.finish.load(Ordering::Acquire) {
            // Closes when the handles and all sinks are gone.
            let Ok(batch) = batches.recv() else {
                return;
            };
            self.handle(&batch);
        }
        while let Ok(batch) = batches.try_recv() {
            self.handle(&batch);
        }
    }

    fn handle(&mut self, batch: &Batch) {
        if self.tally.reopen.swap(false, Ordering::Relaxed)
            && let Err(error) = self.output.reopen()
        {
            tracing::error!(%error, "cannot reopen the access log; the old file stays in use");
        }
        if batch.lines == 0 {
            return;
        }
        match self.output.append(&batch.bytes) {
            Ok(()) => {
                self.tally.written.fetch_add(batch.lines, Ordering::Relaxed);
                self.failing = false;
            }
            Err(error) => {
                self.tally.lost.fetch_add(batch.lines, Ordering::Relaxed);
                if !self.failing {
                    tracing::error!(%error, "cannot write the access log; lines are lost");
                }
                self.failing = true;
            }
        }
    }
}

/// What is written to.
#[derive(Debug)]
pub(super) enum Output {
    /// Not through the library's handle: its lock would be held while a full pipe makes us wait,
    /// and threads that log an event would wait, too.
    Stdout(File),
    File {
        path: PathBuf,
        file: File,
        /// A failed write left the beginning of a line.
        torn: bool,
    },
}

impl Output {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        match target {
            LogTarget::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                Ok(Self::Stdout(File::from(stdout)))
            }
            LogTarget::File(path) => Ok(Self::File {
                path: path.clone(),
                file: open_to_append(path)?,
                torn: false,
            }),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file, torn } = self {
            *file = open_to_append(path)?;
            *torn = false;
        }
        Ok(())
    }

    /// Writes all, or fails after some of it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes),
            Self::File { file, torn, .. } => {
                if *torn {
                    file.write_all(b"\n")?;
                }
                *torn = true;
                file.write_all(bytes)?;
                *torn = false;
                Ok(())
            }
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    let is_fifo = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let mut options = OpenOptions::new();
    match is_fifo {
        // To open its writing end alone would wait for a reader.
        true => options.read(true).write(true),
        false => options.append(true).create(true),
    };
    options.open(path)
}

/// Long enough for a slow disk, short enough for a stop.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::Read as _,
        os::{fd::OwnedFd, unix::net::UnixStream},
    };

    use super::*;

    /// Before that, the process waited at its start until somebody read the log.
    #[test]
    fn a_pipe_without_a_reader_can_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let (sender, opened) = sync_channel(1);
        let target = LogTarget::File(path.clone());
        thread::spawn(move || sender.send(Output::open(&target)));
        let mut output = opened
            .recv_timeout(Duration::from_secs(10))
            .unwrap()
            .unwrap();
        output.append(b"a line\n").unwrap();
        let mut line = [0; 7];
        File::open(&path).unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"a line\n");
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let (mut reader, stream) = UnixStream::pair().unwrap();
        for stream in [&reader, &stream] {
            stream.set_nonblocking(true).unwrap();
        }
        let mut output = Output::File {
            path: PathBuf::new(),
            file: File::from(OwnedFd::from(stream)),
            torn: false,
        };
        // More than the socket takes: a part is written.
        output.append(&vec![b'a'; 16 << 20]).unwrap_err();
        let mut buffer = vec![0; 16 << 20];
        while reader.read(&mut buffer).is_ok() {}
        output.append(b"next\n").unwrap();
        output.append(b"and next\n").unwrap();
        let count = reader.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"\nnext\nand next\n");
    }
}
