//! What a socket did not take yet.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// Bytes on their way into a socket. Small writes are gathered, so that a head and the body behind
/// it leave by one system call; long ones pass without a copy. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(in crate::data) struct WriteBuffer {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether the socket took less than it was given.
    is_blocked: bool,
}

impl WriteBuffer {
    /// Whether the socket took everything.
    pub(in crate::data) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether more may be appended before the next flush.
    pub(in crate::data) fn has_room(&self) -> bool {
        !self.is_blocked
    }

    /// Appends bytes, to be sent by a later flush.
    pub(in crate::data) fn gather(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(bytes.len().max(GATHER_BYTES_START));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends bytes behind those that were gathered: at once where they are many, else with the
    /// next flush. Holds what the socket does not take.
    ///
    /// # Errors
    ///
    /// When the socket is broken.
    pub(in crate::data) fn send(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
        if bytes.len() < DIRECT_BYTES_MIN {
            self.gather(bytes);
            return Ok(());
        }
        let mut left = bytes;
        while !left.is_empty() {
            let parts = [IoSlice::new(self.unsent()), IoSlice::new(left)];
            let Poll::Ready(sent) = Pin::new(&mut *socket).poll_write_vectored(cx, &parts) else {
                self.gather(left);
                self.is_blocked = true;
                return Ok(());
            };
            let sent = nonzero(sent?)?;
            let of_these = sent.saturating_sub(self.unsent().len());
            self.advance(sent - of_these);
            left = left.get(of_these..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until the socket took everything.
    ///
    /// # Errors
    ///
    /// When the socket is broken.
    pub(in crate::data) fn poll_flush(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let Poll::Ready(sent) = Pin::new(&mut *socket).poll_write(cx, self.unsent()) else {
                self.is_blocked = true;
                return Poll::Pending;
            };
            self.advance(nonzero(sent?)?);
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets what was not sent.
    pub(in crate::data) fn clear(&mut self) {
        *self = Self::default();
    }

    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent >= self.bytes.len() {
            self.clear();
        }
    }
}

fn nonzero(sent: usize) -> io::Result<usize> {
    match sent {
        0 => Err(io::ErrorKind::WriteZero.into()),
        sent => Ok(sent),
    }
}

const GATHER_BYTES_START: usize = 1024;
/// From here on a copy costs more than what it saves.
const DIRECT_BYTES_MIN: usize = 8 * 1024;
