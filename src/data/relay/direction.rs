//! One direction: bytes from an end to the other, and then the end of its stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::data::{relay::End, stream::WriteBuffer};

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// What the receiving end did not take yet. Holds no memory while it takes everything.
    unsent: WriteBuffer,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Moving,
    /// The sending end has ended, and what it sent is on its way.
    Ending,
    /// The receiving end takes nothing more, or one of them broke.
    Broken(io::ErrorKind),
    Over,
}

impl Direction {
    /// Whether nothing moves any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::Broken(_))
    }

    /// Moves what can be moved. Ends with the sending end, or when either one broke. `buffer` holds
    /// nothing afterwards.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End,
        to: &mut End,
        buffer: &mut [u8],
    ) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                Stage::Over => return Poll::Ready(Ok(())),
                Stage::Broken(kind) => return Poll::Ready(Err(kind.into())),
                Stage::Moving | Stage::Ending => {
                    if let Err(error) = ready!(self.step(cx, from, to, buffer)) {
                        self.stage = Stage::Broken(error.kind());
                    }
                }
            }
        }
    }

    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End,
        to: &mut End,
        buffer: &mut [u8],
    ) -> Poll<io::Result<()>> {
        ready!(self.unsent.poll_flush(to, cx))?;
        ready!(Pin::new(&mut *to).poll_flush(cx))?;
        if self.stage == Stage::Ending {
            ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
            self.stage = Stage::Over;
            return Poll::Ready(Ok(()));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let mut read = buffer.filled();
        if read.is_empty() {
            self.stage = Stage::Ending;
        }
        // Mostly the other end takes all at once, and nothing is copied.
        while !read.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, read)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => read = read.get(written..).unwrap_or_default(),
                Poll::Pending => {
                    self.unsent.gather(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
