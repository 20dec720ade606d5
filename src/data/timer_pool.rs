//! Timers that requests lend each other.
//!
//! Nearly every request has a limit that it does not reach. A timer of its own would be put on the
//! runtime's wheel and taken off again each time, both under a lock. One that was used before
//! stays there, and is only told that it is due later, which takes one atomic instruction.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timers of one worker that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct TimerPool(RefCell<Vec<Pin<Box<Sleep>>>>);

impl TimerPool {
    /// Lends a timer that is due then.
    pub(super) fn lend(self: &Rc<Self>, due: Instant) -> Timer {
        let idle = self.0.borrow_mut().pop();
        let sleep = match idle {
            Some(mut sleep) => {
                sleep.as_mut().reset(due);
                sleep
            }
            None => Box::pin(sleep_until(due)),
        };
        Timer {
            sleep: Some(sleep),
            pool: Rc::clone(self),
        }
    }
}

/// A lent timer; goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Timer {
    /// Gone only while it is dropped.
    sleep: Option<Pin<Box<Sleep>>>,
    pool: Rc<TimerPool>,
}

impl Timer {
    /// Ends at `due()`, which may move while it waits: later costs nothing, sooner a reset.
    pub(super) fn poll_until(
        &mut self,
        due: impl Fn() -> Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else {
            return Poll::Ready(());
        };
        let now_due = due();
        if now_due < sleep.deadline() {
            sleep.as_mut().reset(now_due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            let due = due();
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut idle = self.pool.0.borrow_mut();
        if let Some(sleep) = self.sleep.take()
            && idle.len() < IDLE_MAX
        {
            idle.push(sleep);
        }
    }
}

/// More than that many requests at a time make timers of their own.
const IDLE_MAX: usize = 1024;
