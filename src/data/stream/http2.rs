//! One stream of an HTTP/2 connection, seen from either end.
//!
//! The one file that moves bodies through the `h2` crate. Only an END_STREAM is an end: a stream
//! that is reset with NO_ERROR, or whose connection goes away, is broken.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response};

use crate::{
    data::stream::{Outlet, StreamFault, Turn, http2_heads, scratch::Arena},
    http1::Piece,
    message::{Fields, Framing, ResponseHead, Towards, allowed_trailers},
};

/// One stream of an HTTP/2 connection.
#[derive(Debug)]
pub(in crate::data) struct Http2Stream {
    /// Gone once the body was received, or was given up.
    receiver: Option<RecvStream>,
    sender: Sender,
    /// Data to send that may be the last, so that its frame can end the stream.
    held: Option<Bytes>,
    /// What is left of the announced length of the received body.
    length_left: Option<u64>,
    /// Received data that completes the announced length, kept until the stream has ended: a reset
    /// behind it must not leave the other side with what looks complete.
    last: Option<Bytes>,
    /// Whether all of the received body was shown.
    is_received: bool,
    /// Which side the peer is.
    towards: Towards,
}

#[derive(Debug)]
enum Sender {
    /// A request that was not answered yet.
    Responding(SendResponse<Bytes>),
    /// A body of which more may come.
    Body(SendStream<Bytes>),
    /// Nothing more is sent.
    Done,
}

impl Http2Stream {
    /// A request that a client sent.
    pub(in crate::data) fn from_client(
        receiver: RecvStream,
        respond: SendResponse<Bytes>,
        body: Framing,
    ) -> Self {
        Self {
            length_left: announced(body),
            last: None,
            is_received: receiver.is_end_stream(),
            receiver: Some(receiver),
            sender: Sender::Responding(respond),
            held: None,
            towards: Towards::Client,
        }
    }

    /// A request that was sent to a backend. `sender` is `None` if it has no body.
    pub(in crate::data) fn to_backend(sender: Option<SendStream<Bytes>>) -> Self {
        Self {
            length_left: None,
            last: None,
            receiver: None,
            sender: sender.map_or(Sender::Done, Sender::Body),
            held: None,
            is_received: false,
            towards: Towards::Backend,
        }
    }

    /// Notes the body of a backend's response.
    pub(in crate::data) fn respond_with(&mut self, receiver: RecvStream, body: Framing) {
        self.length_left = announced(body);
        self.is_received = receiver.is_end_stream();
        self.receiver = Some(receiver);
    }

    /// Sends the head of a response to a client; `ends` if it has no body.
    ///
    /// # Errors
    ///
    /// When the client reset the stream.
    pub(in crate::data) fn send_response(
        &mut self,
        response: Response<()>,
        ends: bool,
    ) -> Result<(), StreamFault> {
        let Sender::Responding(respond) = &mut self.sender else {
            return Err(StreamFault::Broken);
        };
        let body = respond.send_response(response, ends)?;
        self.sender = match ends {
            true => Sender::Done,
            false => Sender::Body(body),
        };
        Ok(())
    }

    pub(super) fn send_interim(&mut self, head: &ResponseHead) {
        if let Sender::Responding(respond) = &mut self.sender {
            // A client that is gone shows soon enough.
            let _sent = respond.send_informational(http2_heads::interim(head));
        }
    }

    pub(super) fn is_received(&self) -> bool {
        self.is_received
    }

    pub(super) fn poll_receive<F: From<StreamFault>>(
        &mut self,
        turn: &mut Turn<'_, '_>,
        show: &mut impl FnMut(&mut Outlet<'_, '_>, Piece<'_>) -> Result<(), F>,
    ) -> Poll<Result<(), F>> {
        let Some(receiver) = &mut self.receiver else {
            return Poll::Ready(Err(StreamFault::Broken.into()));
        };
        while let Some(data) = ready!(receiver.poll_data(turn.cx)) {
            let data = data.map_err(StreamFault::from)?;
            let released = receiver.flow_control().release_capacity(data.len());
            released.map_err(StreamFault::from)?;
            let is_ended = receiver.is_end_stream();
            if let Some(left) = &mut self.length_left {
                *left = left.saturating_sub(data.len() as u64);
                if *left == 0 && !is_ended {
                    self.last.get_or_insert(data);
                    continue;
                }
            }
            if !data.is_empty() {
                show(&mut turn.outlet(), Piece::Data(&data))?;
            }
            if is_ended {
                break;
            }
            return Poll::Ready(Ok(()));
        }
        let trailers = ready!(receiver.poll_trailers(turn.cx)).map_err(StreamFault::from)?;
        self.is_received = true;
        self.receiver = None;
        if let Some(last) = self.last.take() {
            show(&mut turn.outlet(), Piece::Data(&last))?;
        }
        Poll::Ready(show(&mut turn.outlet(), Piece::End(trailers.map(fields))))
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamFault>> {
        let Sender::Body(body) = &mut self.sender else {
            return Poll::Ready(Ok(ROOM));
        };
        body.reserve_capacity(ROOM);
        match body.capacity() {
            0 => match ready!(body.poll_capacity(cx)) {
                Some(room) => Poll::Ready(Ok(room?)),
                None => Poll::Ready(Err(StreamFault::Broken)),
            },
            room => Poll::Ready(Ok(room)),
        }
    }

    pub(super) fn send(&mut self, arena: &mut Arena, piece: Piece<'_>) -> Result<(), StreamFault> {
        let Sender::Body(body) = &mut self.sender else {
            return Ok(());
        };
        match piece {
            Piece::Data(data) => {
                if let Some(held) = self.held.replace(arena.copy(data)) {
                    body.send_data(held, false)?;
                }
            }
            Piece::End(trailers) => {
                let trailers = trailers.map(|trailers| header_map(&trailers, self.towards));
                match trailers.filter(|trailers| !trailers.is_empty()) {
                    Some(trailers) => {
                        if let Some(held) = self.held.take() {
                            body.send_data(held, false)?;
                        }
                        body.send_trailers(trailers)?;
                    }
                    None => body.send_data(self.held.take().unwrap_or_default(), true)?,
                }
                self.sender = Sender::Done;
            }
        }
        Ok(())
    }

    /// Hands everything to `h2`.
    pub(super) fn flush(&mut self) -> Result<(), StreamFault> {
        if let (Some(held), Sender::Body(body)) = (self.held.take(), &mut self.sender) {
            body.send_data(held, false)?;
        }
        Ok(())
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sender {
            Sender::Responding(respond) => respond.poll_reset(cx).map(|_reason_or_closed| ()),
            Sender::Body(body) => body.poll_reset(cx).map(|_reason_or_closed| ()),
            Sender::Done => Poll::Pending,
        }
    }

    /// Ends the stream so that the peer cannot take it for complete.
    pub(in crate::data) fn reset(&mut self, reason: Reason) {
        match &mut self.sender {
            Sender::Responding(respond) => respond.send_reset(reason),
            Sender::Body(body) => body.send_reset(reason),
            Sender::Done => {}
        }
        self.sender = Sender::Done;
        self.receiver = None;
    }
}

fn announced(body: Framing) -> Option<u64> {
    match body {
        Framing::Length(length) => Some(length),
        Framing::Empty | Framing::Chunked | Framing::UntilEnd => None,
    }
}

/// The trailers of HTTP/2 as fields. Those that HTTP/2 forbids anywhere make them malformed, which
/// `h2` refuses before.
fn fields(trailers: HeaderMap) -> Box<Fields> {
    let mut fields = Box::<Fields>::default();
    for (name, value) in &trailers {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

fn header_map(trailers: &Fields, towards: Towards) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in allowed_trailers(trailers, towards) {
        http2_heads::append(&mut map, field.name, field.value.to_vec().into());
    }
    map
}

/// What is asked of a stream's window at a time, which bounds what one stream holds in the send
/// buffer of its connection.
const ROOM: usize = 16 * 1024;
