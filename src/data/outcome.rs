//! What a request leaves to the client's connection.

use std::{fmt, pin::Pin, rc::Rc};

use crate::{
    data::{context::WorkerContext, stream::Http1Stream},
    state::CloseCause,
};

/// What the client's connection does after a request. Over HTTP/2 only that stream ends.
pub(in crate::data) enum Outcome {
    /// It waits for the next request.
    Done,
    /// It ends.
    Close(Ending),
    /// It carries another protocol.
    Switch(Carry),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::data) enum Ending {
    /// Once everything was sent.
    Flush,
    /// The same, but the client may still be sending, and a reset would cost it the answer.
    Linger,
    /// By a reset, as the client must not take what it got for complete.
    Reset,
    /// The same, as the client does not take what is there.
    Stalled,
}

/// Carries another protocol on a client's connection until that ends.
pub(in crate::data) type Carry =
    Box<dyn FnOnce(Http1Stream) -> Pin<Box<dyn Future<Output = CloseCause>>>>;

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Close(ending) => write!(f, "Close({ending:?})"),
            Self::Switch(_) => f.write_str("Switch"),
        }
    }
}

/// Counts a call from its head to its end, so that a drain can wait for it.
#[derive(Default)]
pub(in crate::data) struct CallCount(Option<Rc<WorkerContext>>);

impl CallCount {
    /// Counts the beginning of a call.
    pub(in crate::data) fn begin(worker: &Rc<WorkerContext>) -> Self {
        worker.state().stats.calls_started.increment();
        Self(Some(Rc::clone(worker)))
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.state().stats.calls_finished.increment();
        }
    }
}

impl fmt::Debug for CallCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallCount")
    }
}
