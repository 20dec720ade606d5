//! Moves a body from one side of an exchange to the other.

use std::task::Poll;

use crate::{
    data::stream::{MessageStream, StreamFault, Turn},
    http1::Piece,
};

/// How far a pump got.
#[derive(Debug)]
pub(in crate::data) enum Pumped<F> {
    /// The whole body was handed to the receiving side, which may still hold some of it.
    Done,
    /// The sending side has nothing more for now.
    AwaitsSource,
    /// The receiving side takes nothing more for now.
    AwaitsSink,
    /// The sending side broke, or what it sent was refused.
    SourceFailed(F),
    /// The receiving side broke.
    SinkFailed(StreamFault),
}

/// Moves what can be moved now. `tap` sees each piece before it is sent and may refuse it.
///
/// Costs one read and at most two writes a round. Ends after [`ROUNDS_MAX`] rounds with a wake-up,
/// so that two fast sides leave time for the worker's other connections.
pub(in crate::data) fn pump<F: From<StreamFault>>(
    turn: &mut Turn<'_, '_>,
    source: &mut MessageStream,
    sink: &mut MessageStream,
    mut tap: impl FnMut(&Piece<'_>) -> Result<(), F>,
) -> Pumped<F> {
    for _ in 0..ROUNDS_MAX {
        if source.is_received() {
            return Pumped::Done;
        }
        let room = match sink.poll_room(turn.cx) {
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(fault)) => return Pumped::SinkFailed(fault),
            Poll::Pending => return Pumped::AwaitsSink,
        };
        let mut sink_fault = None;
        let received = source.poll_receive(turn, room, &mut |outlet, piece| {
            tap(&piece)?;
            if let Err(fault) = sink.send(outlet, piece) {
                sink_fault.get_or_insert(fault);
            }
            Ok(())
        });
        if let Some(fault) = sink_fault {
            return Pumped::SinkFailed(fault);
        }
        if let Poll::Ready(Err(fault)) = received {
            return Pumped::SourceFailed(fault);
        }
        match sink.poll_flush(turn.cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(fault)) => return Pumped::SinkFailed(fault),
            Poll::Pending => return Pumped::AwaitsSink,
        }
        if received.is_pending() {
            return Pumped::AwaitsSource;
        }
    }
    turn.cx.waker().wake_by_ref();
    Pumped::AwaitsSource
}

const ROUNDS_MAX: usize = 16;
