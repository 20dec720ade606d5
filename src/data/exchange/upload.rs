//! A request's body on its way from the client to whichever backend gets it: bounded, counted, and
//! sent again where that is possible.

use std::task::Poll;

use tokio::time::{Duration, Instant};

use crate::{
    data::{
        exchange::replay::Replay,
        fault::Fault,
        stream::{MessageStream, Pumped, StreamFault, Turn, pump},
    },
    http1::Piece,
    message::GrpcMessages,
};

/// A request's body.
#[derive(Debug)]
pub(super) struct Upload {
    replay: Replay,
    limit: BodyLimit,
    bytes: u64,
    /// Whether this attempt has passed the end on.
    is_ended: bool,
    /// Whether the backend's connection took all of it.
    is_sent: bool,
    /// Whether nothing more of it is taken from the client.
    is_abandoned: bool,
    expectation: Expectation,
}

/// How long a request's body may be.
#[derive(Debug)]
pub(super) enum BodyLimit {
    /// As long as the client likes.
    None,
    /// So many bytes.
    Whole(u64),
    /// So many bytes in each message of a gRPC call, which may last for ever.
    EachMessage(u64, GrpcMessages),
}

impl BodyLimit {
    /// The limit of a listener for a request.
    pub(super) fn new(bytes_max: Option<u64>, is_grpc: bool) -> Self {
        match bytes_max {
            None => Self::None,
            Some(bytes_max) if is_grpc => {
                Self::EachMessage(bytes_max, GrpcMessages::new(bytes_max))
            }
            Some(bytes_max) => Self::Whole(bytes_max),
        }
    }

    /// The number of bytes, for messages.
    fn bytes_max(&self) -> u64 {
        match self {
            Self::None => u64::MAX,
            Self::Whole(bytes_max) | Self::EachMessage(bytes_max, _) => *bytes_max,
        }
    }

    /// Takes a part of a body that has `bytes` with it.
    fn take(&mut self, data: &[u8], bytes: u64) -> Result<(), UploadFault> {
        let fits = match self {
            Self::None => true,
            Self::Whole(bytes_max) => bytes <= *bytes_max,
            Self::EachMessage(_, messages) => messages.follow(data).is_ok(),
        };
        match fits {
            true => Ok(()),
            false => Err(UploadFault::TooLong {
                bytes_max: self.bytes_max(),
            }),
        }
    }
}

/// Whether the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expectation {
    /// It does not, or got it.
    None,
    /// It does. The backend is asked first, but not for longer than this.
    Until(Instant),
}

/// Why a request's body does not go on.
#[derive(Debug)]
pub(super) enum UploadFault {
    Client(StreamFault),
    TooLong { bytes_max: u64 },
}

impl From<StreamFault> for UploadFault {
    fn from(fault: StreamFault) -> Self {
        Self::Client(fault)
    }
}

impl UploadFault {
    /// What it means for the request.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::TooLong { bytes_max } => Fault::BodyLimit { bytes_max },
            Self::Client(StreamFault::Malformed(fault)) => Fault::RequestBody(fault),
            Self::Client(StreamFault::Broken | StreamFault::Http2(_)) => Fault::ClientClosed,
        }
    }
}

impl Upload {
    /// A body that may be so long.
    pub(super) fn new(limit: BodyLimit) -> Self {
        Self {
            replay: Replay::default(),
            limit,
            bytes: 0,
            is_ended: false,
            is_sent: false,
            is_abandoned: false,
            expectation: Expectation::None,
        }
    }

    /// Takes nothing from the client before it was told to go on.
    pub(super) fn expect_continue(&mut self, now: Instant) {
        self.expectation = Expectation::Until(now + CONTINUE_TIMEOUT);
    }

    /// The client may send its body. Returns whether it waits for a 100.
    pub(super) fn go_on(&mut self) -> bool {
        let waits = self.expectation != Expectation::None;
        self.expectation = Expectation::None;
        waits
    }

    /// When the client is told to go on even if the backend did not ask for the body.
    pub(super) fn goes_on_at(&self) -> Option<Instant> {
        match self.expectation {
            Expectation::None => None,
            Expectation::Until(at) => Some(at),
        }
    }

    /// Begins another attempt.
    pub(super) fn restart(&mut self) {
        self.replay.rewind();
        self.is_ended = false;
        self.is_sent = false;
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn can_restart(&self) -> bool {
        self.replay.is_complete() && !self.is_abandoned
    }

    /// Whether the backend has all of it, or gets nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.is_sent || self.is_abandoned
    }

    /// Whether all of it was sent to the backend.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Takes nothing more from the client: the response is complete without.
    pub(super) fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    /// Bytes taken from the client.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends what can be sent now. Returns how far it came and how many bytes the client sent.
    pub(super) fn pump(
        &mut self,
        turn: &mut Turn<'_, '_>,
        client: &mut MessageStream,
        backend: &mut MessageStream,
    ) -> (Pumped<UploadFault>, usize) {
        if let Some(waiting) = self.resend(turn, backend) {
            return (waiting, 0);
        }
        if self.expectation != Expectation::None {
            // The backend decides by the head whether it wants the body.
            let sent = match backend.poll_flush(turn.cx) {
                Poll::Ready(Ok(())) => Pumped::AwaitsSource,
                Poll::Ready(Err(fault)) => Pumped::SinkFailed(fault),
                Poll::Pending => Pumped::AwaitsSink,
            };
            return (sent, 0);
        }
        let before = self.bytes;
        let mut pumped = pump(turn, client, backend, |piece| self.take(piece));
        if let Pumped::Done = pumped {
            pumped = self.end(turn, backend);
        }
        let came = usize::try_from(self.bytes - before).unwrap_or(usize::MAX);
        (pumped, came)
    }

    /// Passes the end on where the client sent it during an earlier attempt.
    fn end(&mut self, turn: &mut Turn<'_, '_>, backend: &mut MessageStream) -> Pumped<UploadFault> {
        if !std::mem::replace(&mut self.is_ended, true)
            && let Err(fault) = backend.send(&mut turn.outlet(), Piece::End(None))
        {
            return Pumped::SinkFailed(fault);
        }
        match backend.poll_flush(turn.cx) {
            Poll::Ready(Ok(())) => {
                self.is_sent = true;
                Pumped::Done
            }
            Poll::Ready(Err(fault)) => Pumped::SinkFailed(fault),
            Poll::Pending => Pumped::AwaitsSink,
        }
    }

    /// Sends what an attempt before this one has sent already, and the head before it.
    fn resend(
        &mut self,
        turn: &mut Turn<'_, '_>,
        backend: &mut MessageStream,
    ) -> Option<Pumped<UploadFault>> {
        if !self.replay.unsent().is_empty() {
            if let Some(waiting) = wait_for_room(turn, backend) {
                return Some(waiting);
            }
            if let Err(fault) = backend.send(&mut turn.outlet(), Piece::Data(self.replay.unsent()))
            {
                return Some(Pumped::SinkFailed(fault));
            }
            self.replay.sent();
        }
        wait_for_room(turn, backend)
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<(), UploadFault> {
        match piece {
            Piece::Data(data) => {
                self.bytes += data.len() as u64;
                self.limit.take(data, self.bytes)?;
                self.replay.keep(data);
            }
            Piece::End(trailers) => {
                self.is_ended = true;
                if trailers.is_some() {
                    // They are not kept.
                    self.replay.give_up();
                }
            }
        }
        Ok(())
    }
}

fn wait_for_room(
    turn: &mut Turn<'_, '_>,
    backend: &mut MessageStream,
) -> Option<Pumped<UploadFault>> {
    match backend.poll_room(turn.cx) {
        Poll::Ready(Ok(_)) => None,
        Poll::Ready(Err(fault)) => Some(Pumped::SinkFailed(fault)),
        Poll::Pending => Some(Pumped::AwaitsSink),
    }
}

/// As Go's HTTP client waits for a 100 before it sends a body all the same.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);
