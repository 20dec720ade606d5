//! Bounds how long an exchange may stand still.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// Costs nothing while a body moves, and little while it halts: the timer stays where it is, and
/// looks when it fires whether anything moved meanwhile.
#[derive(Debug)]
pub(super) struct IdleTimer {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            timer: None,
        }
    }

    /// Ends when nothing moved for too long since `moved_at`. To be polled whenever a body stands
    /// still; the other direction may move meanwhile.
    pub(super) fn poll(&mut self, moved_at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let due = moved_at + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
