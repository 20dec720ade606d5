//! One direction of a tunnel: bytes from a side to the other, and then its end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::data::{exchange::tunnel::flow::Watched, stream::WriteBuffer};

/// One direction of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// What the receiving side did not take yet.
    unsent: WriteBuffer,
    stage: DirectionStage,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum DirectionStage {
    #[default]
    Moving,
    /// The sending side ended, and what it sent is on its way.
    Ending,
    /// The receiving side takes nothing more, or one side broke.
    Broken(io::ErrorKind),
    Over,
}

impl Direction {
    /// Moves what can be moved. Ends with the sending side, or when either side broke.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Watched,
        to: &mut Watched,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                DirectionStage::Over => return Poll::Ready(Ok(())),
                DirectionStage::Broken(kind) => return Poll::Ready(Err(kind.into())),
                DirectionStage::Moving | DirectionStage::Ending => {
                    if let Err(error) = ready!(self.step(cx, from, to)) {
                        self.stage = DirectionStage::Broken(error.kind());
                    }
                }
            }
        }
    }

    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Watched,
        to: &mut Watched,
    ) -> Poll<io::Result<()>> {
        ready!(self.unsent.poll_flush(to, cx))?;
        ready!(Pin::new(&mut *to).poll_flush(cx))?;
        if self.stage == DirectionStage::Ending {
            ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
            self.stage = DirectionStage::Over;
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; TUNNEL_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.stage = DirectionStage::Ending;
        }
        Poll::Ready(self.unsent.send(to, cx, buffer.filled()))
    }
}

/// What a tunnel moves at a time, and holds at the most for a side that takes nothing.
const TUNNEL_READ_BYTES: usize = 16 * 1024;
