//! Carries bytes between a client and a backend, both ways. Knows no protocol and no reason why: a
//! tunnel behind a switch of protocols, and a session of the TCP load balancer.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::{Duration, Instant};

use crate::data::{context::WorkerContext, timer::Timer};

mod direction;
mod end;
mod flow;
#[cfg(test)]
mod tests;

use self::direction::Direction;
pub(in crate::data) use self::{
    end::End,
    flow::{Flow, Side},
};

/// For how long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct IdleLimits {
    /// At the client's end.
    pub(in crate::data) client: Duration,
    /// At the backend's end.
    pub(in crate::data) backend: Duration,
    /// Once one of them has ended.
    pub(in crate::data) half_open: Duration,
}

/// Carries bytes both ways until both sides ended, one broke, or nothing moved for too long. One side's
/// end is passed on, and the other may go on.
///
/// # Errors
///
/// `TimedOut` when nothing moved. Else a side broke; [`Flow::broken`] says which.
pub(in crate::data) async fn carry(
    context: &WorkerContext,
    client: &mut End,
    backend: &mut End,
    flow: &Rc<Flow>,
    limits: IdleLimits,
) -> io::Result<()> {
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let mut timer = Timer::default();
    poll_fn(|cx| {
        let now = Instant::now();
        flow.look_at_the_clock(now);
        if let Poll::Ready(result) = both(cx, context, (&mut up, &mut down), client, backend) {
            return Poll::Ready(result);
        }
        let due = match up.is_over() || down.is_over() {
            true => flow.latest_move() + limits.half_open,
            false => flow.due(limits.client, limits.backend),
        };
        timer
            .poll(cx, now, due)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// Both to their ends: what one side has sent before it refused the other's bytes is still delivered,
/// such as the close frame of a WebSocket.
fn both(
    cx: &mut Context<'_>,
    context: &WorkerContext,
    (up, down): (&mut Direction, &mut Direction),
    client: &mut End,
    backend: &mut End,
) -> Poll<io::Result<()>> {
    let mut buffer = context.relay_buffer.borrow_mut();
    let up = up.poll(cx, client, backend, &mut buffer);
    let down = down.poll(cx, backend, client, &mut buffer);
    match (up, down) {
        (Poll::Ready(up), Poll::Ready(down)) => Poll::Ready(up.and(down)),
        _ if client.is_reset || backend.is_reset => {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
        _ => Poll::Pending,
    }
}
