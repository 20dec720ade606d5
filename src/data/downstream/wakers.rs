//! Wakers that tell a connection which of its streams can go on.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// The streams of one connection that can go on, and the connection's task. Locked for some
/// instructions, by the worker's own thread and, rarely, by one that ends a name look-up.
#[derive(Debug, Default)]
pub(super) struct ReadyList(Mutex<Ready>);

#[derive(Debug, Default)]
struct Ready {
    streams: Vec<usize>,
    task: Option<Waker>,
}

impl ReadyList {
    /// Notes the task to wake.
    pub(super) fn register(&self, waker: &Waker) {
        let mut ready = self.lock();
        match &mut ready.task {
            Some(task) => task.clone_from(waker),
            task => *task = Some(waker.clone()),
        }
    }

    /// Swaps the streams that can go on into `streams`, which is empty.
    pub(super) fn take(&self, streams: &mut Vec<usize>) {
        mem::swap(&mut self.lock().streams, streams);
    }

    fn wake(&self, stream: Option<usize>) {
        let task = {
            let mut ready = self.lock();
            ready.streams.extend(stream);
            ready.task.clone()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the connection for one stream.
#[derive(Debug)]
pub(super) struct StreamWaker {
    ready: Arc<ReadyList>,
    stream: usize,
}

impl StreamWaker {
    pub(super) fn waker(ready: &Arc<ReadyList>, stream: usize) -> Waker {
        let ready = Arc::clone(ready);
        Waker::from(Arc::new(Self { ready, stream }))
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.wake(Some(self.stream));
    }
}

/// Wakes the connection for its socket. Muted while the connection's own poll hands responses to
/// `h2`, which asks each time to be polled: it is polled at the end of that poll anyway.
#[derive(Debug)]
pub(super) struct ConnectionWaker {
    ready: Arc<ReadyList>,
    /// Written and read by the worker's thread.
    is_muted: AtomicBool,
}

impl ConnectionWaker {
    pub(super) fn new(ready: &Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Self {
            ready: Arc::clone(ready),
            is_muted: AtomicBool::new(false),
        })
    }

    pub(super) fn mute(&self, is_muted: bool) {
        self.is_muted.store(is_muted, Ordering::Relaxed);
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_muted.load(Ordering::Relaxed) {
            self.ready.wake(None);
        }
    }
}
