//! The one timer of a connection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is told each time when it is due.
///
/// A timer's way on and off the runtime's wheel takes a lock. Limits mostly move into the future
/// and are not reached, so the timer stays where it is, and looks again when it fires: a busy
/// connection costs no lock for each request.
#[derive(Debug, Default)]
pub(in crate::data) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Waits until `due`, which may differ from call to call. `now` is when the poll began.
    pub(in crate::data) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        due: Instant,
    ) -> Poll<()> {
        // Asked first: a task that used up its time slice gets no answer from a timer.
        if due <= now {
            return Poll::Ready(());
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_when_it_was_told_last() {
        let mut timer = Timer::default();
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            // Later at the first poll, earlier at the second, later again at the third.
            let due = match polls {
                1 => after(60),
                2 => after(5),
                _ => after(20),
            };
            if polls == 1 {
                cx.waker().wake_by_ref();
            }
            timer.poll(cx, Instant::now(), due)
        })
        .await;
        assert_eq!((began.elapsed(), polls), (Duration::from_secs(20), 4));
    }
}
