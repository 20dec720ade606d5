//! A connection that carries HTTP/1.1, seen from either end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite as _, ReadBuf};

use crate::{
    data::stream::{
        Outlet, StreamFault, Turn,
        http1_heads::{Heads, judge, split},
        scratch::READ_BYTES_MAX,
        write_buffer::WriteBuffer,
    },
    http1::{BodyDecoder, BodyEncoder, BodyFault, HeadFault, Piece, write_trailers},
    message::{Framing, Towards, allowed_trailers},
    net::Transport,
};

/// A connection that carries HTTP/1.1: what was read too far, what was not written yet, and where
/// in its messages both directions are. Holds no buffer while nothing is under way.
#[derive(Debug)]
pub(in crate::data) struct Http1Stream {
    transport: Transport,
    /// Bytes that were read and belong to what is read next.
    unread: Vec<u8>,
    /// How many of them are known to be no complete head.
    scanned: usize,
    out: WriteBuffer,
    decoder: BodyDecoder,
    encoder: BodyEncoder,
    /// Where trailers go; `None` where they are dropped.
    trailers_to: Option<Towards>,
    /// Whether the peer ended its direction.
    is_ended: bool,
    /// How much is read at a time, by how fast the other side takes it.
    room: usize,
}

/// What came of waiting for a head.
#[derive(Debug)]
pub(in crate::data) enum HeadRead {
    /// It is there.
    Complete,
    /// The connection ended before its first byte.
    Ended,
    /// The connection ended or broke within it.
    Broken,
    /// It is longer than it may be.
    TooLong,
    /// It is refused.
    Refused(HeadFault),
}

impl Http1Stream {
    /// A connection on which `unread` was read already.
    pub(in crate::data) fn new(transport: Transport, unread: Vec<u8>) -> Self {
        Self {
            transport,
            unread,
            scanned: 0,
            out: WriteBuffer::default(),
            decoder: BodyDecoder::new(Framing::Empty),
            encoder: BodyEncoder::Nothing,
            trailers_to: None,
            is_ended: false,
            room: ROOM_USUAL,
        }
    }

    /// Gives the bare connection back, with what was read and belongs to what comes next.
    pub(in crate::data) fn into_parts(self) -> (Transport, Vec<u8>) {
        (self.transport, self.unread)
    }

    /// Whether bytes were read that belong to what comes next.
    pub(in crate::data) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Waits for a head. `parse` reads one from the beginning of some bytes: its length, or `None`
    /// while it is not complete. Costs a copy only of a head that comes in parts, and of what
    /// comes behind it.
    pub(in crate::data) fn poll_head(
        &mut self,
        turn: &mut Turn<'_, '_>,
        bytes_max: usize,
        mut parse: impl FnMut(&[u8], &mut Heads<'_>) -> Result<Option<usize>, HeadFault>,
    ) -> Poll<HeadRead> {
        loop {
            if self.scanned < self.unread.len() {
                let parsed = parse(&self.unread, &mut split(turn).1);
                if let Some(read) = judge(parsed, self.unread.len(), bytes_max) {
                    self.take(&read, parsed);
                    return Poll::Ready(read);
                }
                self.scanned = self.unread.len();
            }
            let count = match ready!(self.poll_read(turn, HEAD_READ_BYTES)) {
                Ok(0) if self.unread.is_empty() => return Poll::Ready(HeadRead::Ended),
                Ok(0) | Err(_) => return Poll::Ready(HeadRead::Broken),
                Ok(count) => count,
            };
            let (scratch, mut heads) = split(turn);
            let bytes = scratch.get(..count).unwrap_or_default();
            if self.unread.is_empty() {
                let parsed = parse(bytes, &mut heads);
                let read = judge(parsed, bytes.len(), bytes_max);
                let used = parsed.ok().flatten().filter(|_| read.is_some());
                self.unread = bytes.get(used.unwrap_or(0)..).unwrap_or_default().to_vec();
                if let Some(read) = read {
                    return Poll::Ready(read);
                }
                self.scanned = self.unread.len();
                continue;
            }
            self.unread.extend_from_slice(bytes);
            // Only a line break can complete a head, so one that drips is not read anew each time.
            if !bytes.contains(&b'\n') && self.unread.len() <= bytes_max {
                self.scanned = self.unread.len();
            }
        }
    }

    /// Takes a head that was found off the bytes that are unread.
    fn take(&mut self, read: &HeadRead, parsed: Result<Option<usize>, HeadFault>) {
        if let (HeadRead::Complete, Ok(Some(length))) = (read, parsed) {
            self.unread = self.unread.get(length..).unwrap_or_default().to_vec();
        }
        self.scanned = 0;
    }

    /// Drops line breaks that came behind a message. Some clients end a body by one that is no
    /// part of it (RFC 9112 section 2.2).
    pub(in crate::data) fn skip_blank_lines(&mut self) {
        let blank = self
            .unread
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let blank = blank.count();
        self.unread.drain(..blank);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
    }

    /// Sets how the body of the message that is being received is framed.
    pub(in crate::data) fn receive(&mut self, framing: Framing) {
        self.decoder = BodyDecoder::new(framing);
    }

    /// Gathers a head, to be sent with what follows it.
    pub(in crate::data) fn send_head(&mut self, head: &[u8]) {
        self.out.gather(head);
    }

    /// Sets how the body of the message that is being sent is framed.
    pub(in crate::data) fn send_body(
        &mut self,
        encoder: BodyEncoder,
        trailers_to: Option<Towards>,
    ) {
        self.encoder = encoder;
        self.trailers_to = trailers_to;
        self.room = ROOM_USUAL;
    }

    pub(super) fn is_received(&self) -> bool {
        self.decoder.is_done()
    }

    pub(super) fn poll_receive<F: From<StreamFault>>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        room: usize,
        show: &mut impl FnMut(&mut Outlet<'_, '_>, Piece<'_>) -> Result<(), F>,
    ) -> Poll<Result<(), F>> {
        if !self.unread.is_empty() {
            let bytes = std::mem::take(&mut self.unread);
            return Poll::Ready(self.show(&mut turn.outlet(), &bytes, show));
        }
        match ready!(self.poll_read(turn, room)).map_err(StreamFault::from)? {
            0 => {
                let end = self.decoder.end_of_stream().map_err(StreamFault::from)?;
                Poll::Ready(show(&mut turn.outlet(), end))
            }
            count => {
                let bytes = turn.scratch.bytes.get(..count).unwrap_or_default();
                let mut outlet = Outlet {
                    cx: turn.cx,
                    arena: &mut turn.scratch.arena,
                };
                Poll::Ready(self.show(&mut outlet, bytes, show))
            }
        }
    }

    fn show<F: From<StreamFault>>(
        &mut self,
        outlet: &mut Outlet<'_, '_>,
        mut bytes: &[u8],
        show: &mut impl FnMut(&mut Outlet<'_, '_>, Piece<'_>) -> Result<(), F>,
    ) -> Result<(), F> {
        loop {
            let piece = self.decoder.decode(&mut bytes);
            match piece.map_err(|fault: BodyFault| StreamFault::from(fault))? {
                Some(piece) => show(outlet, piece)?,
                None => break,
            }
        }
        self.unread = bytes.to_vec();
        Ok(())
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamFault>> {
        // What was gathered leaves with what follows it.
        if !self.out.has_room() {
            ready!(self.poll_flush(cx))?;
        }
        Poll::Ready(Ok(self.room))
    }

    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        piece: Piece<'_>,
    ) -> Result<(), StreamFault> {
        match (self.encoder, piece) {
            (BodyEncoder::Nothing, _) | (BodyEncoder::Plain, Piece::End(_)) => {}
            (_, Piece::Data([])) => {}
            (encoder, Piece::Data(data)) => {
                self.out.gather(encoder.prefix(data.len()).as_bytes());
                self.out.send(&mut self.transport, cx, data)?;
                // A slow reader makes us hold what it does not take, so it gets less at a time.
                self.room = match self.out.is_empty() {
                    true => READ_BYTES_MAX,
                    false => ROOM_USUAL,
                };
                self.out.gather(encoder.suffix());
            }
            (BodyEncoder::Chunked, Piece::End(trailers)) => {
                let mut end = Vec::new();
                let allowed = self.trailers_to.zip(trailers.as_deref());
                let allowed = allowed.map(|(towards, all)| allowed_trailers(all, towards));
                write_trailers(&mut end, allowed.into_iter().flatten());
                self.out.gather(&end);
            }
        }
        Ok(())
    }

    pub(in crate::data) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamFault>> {
        ready!(self.out.poll_flush(&mut self.transport, cx))?;
        if let Transport::Tcp(_) = self.transport {
            return Poll::Ready(Ok(()));
        }
        // TLS holds records of its own.
        Pin::new(&mut self.transport)
            .poll_flush(cx)
            .map_err(StreamFault::from)
    }

    pub(super) fn poll_gone(&mut self, turn: &mut Turn<'_, '_>) -> Poll<()> {
        // Reading on is how a reset shows. What is read ahead is bounded: it belongs to the next
        // request.
        if self.is_ended || !self.unread.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_read(turn, READ_AHEAD_BYTES)) {
            Ok(count) => {
                let ahead = turn.scratch.bytes.get(..count).unwrap_or_default();
                self.unread = ahead.to_vec();
                Poll::Pending
            }
            Err(_broken) => Poll::Ready(()),
        }
    }

    /// Reads into the scratch buffer. Zero is the end of the peer's direction.
    fn poll_read(&mut self, turn: &mut Turn<'_, '_>, bytes_max: usize) -> Poll<io::Result<usize>> {
        if self.is_ended {
            return Poll::Ready(Ok(0));
        }
        let length = bytes_max.clamp(1, turn.scratch.bytes.len());
        let bytes = turn.scratch.bytes.get_mut(..length).unwrap_or_default();
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(&mut self.transport).poll_read(turn.cx, &mut buffer))?;
        let count = buffer.filled().len();
        self.is_ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Reads and throws away. Returns how many bytes; zero at the end of the peer's direction.
    pub(in crate::data) fn poll_discard(
        &mut self,
        turn: &mut Turn<'_, '_>,
    ) -> Poll<io::Result<usize>> {
        self.unread = Vec::new();
        self.poll_read(turn, READ_BYTES_MAX)
    }

    /// Ends this side's direction once everything was sent.
    pub(in crate::data) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.out.poll_flush(&mut self.transport, cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    /// Makes the close a reset: to a peer that reads until the end of the connection, an orderly
    /// close would be the end of a whole message.
    pub(in crate::data) fn reset_on_close(&mut self) {
        self.out.clear();
        self.transport.reset_on_close();
    }

    /// Whether it may carry another message: nothing of the last is left in either direction.
    pub(in crate::data) fn is_reusable(&self) -> bool {
        self.is_received() && self.out.is_empty() && self.unread.is_empty() && !self.is_ended
    }

    /// Whether a connection that waits in a pool is still open and silent. Costs no system call
    /// unless something came.
    pub(in crate::data) fn is_quiet(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        !self.is_ended && self.poll_read(turn, 1).is_pending()
    }
}

/// What is read at a time while a head is awaited. What comes behind the head is copied.
const HEAD_READ_BYTES: usize = 16 * 1024;
/// What is read at a time for a peer that may be slow, which bounds what is held for it.
const ROOM_USUAL: usize = 64 * 1024;
const READ_AHEAD_BYTES: usize = 4 * 1024;
