//! Bounds how long a body may stand still.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Duration, Sleep, sleep};

/// Costs nothing while a body moves.
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

    /// Notes that the body moved.
    pub(super) fn progress(&mut self) {
        self.timer = None;
    }

    /// Ends when it stood still for too long. To be polled whenever it stands still.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        timer.as_mut().poll(cx)
    }
}
