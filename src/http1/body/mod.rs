//! Bodies of HTTP/1.1: where they end when they are read, and how they are framed when they are
//! written.

use crate::{
    http1::{BodyFault, ChunkedDecoder},
    message::{Fields, Framing},
};

/// A part of a body.
#[derive(Debug)]
pub enum Piece<'a> {
    /// Payload, without any coding.
    Data(&'a [u8]),
    /// The end, with trailers if there are any. Comes once, and last.
    End(Option<Box<Fields>>),
}

/// Where in a body a reader is.
#[derive(Debug)]
pub struct BodyDecoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilEnd,
    Done,
}

impl BodyDecoder {
    /// A reader at the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(ChunkedDecoder::default()),
            Framing::UntilEnd => State::UntilEnd,
        })
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Takes the next piece off the beginning of `input`; `None` once more input is needed, or the
    /// body is done. Bytes behind its end stay in `input`. A body that was done from the beginning
    /// has no piece. Costs one look at payload, one step for each byte of coding.
    ///
    /// # Errors
    ///
    /// When the coding is malformed.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BodyFault> {
        match &mut self.0 {
            State::Done => Ok(None),
            State::Length(0) => {
                self.0 = State::Done;
                Ok(Some(Piece::End(None)))
            }
            State::Length(left) => {
                let fits = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= fits as u64;
                Ok(take(input, fits))
            }
            State::UntilEnd => Ok(take(input, input.len())),
            State::Chunked(chunked) => {
                let piece = chunked.decode(input)?;
                if chunked.is_done() {
                    self.0 = State::Done;
                }
                Ok(piece)
            }
        }
    }

    /// Notes the end of the stream that the body comes on.
    ///
    /// # Errors
    ///
    /// When more of the body was announced.
    pub fn end_of_stream(&mut self) -> Result<Piece<'static>, BodyFault> {
        match self.0 {
            State::UntilEnd | State::Length(0) => {
                self.0 = State::Done;
                Ok(Piece::End(None))
            }
            State::Length(_) | State::Chunked(_) | State::Done => Err(BodyFault::Truncated),
        }
    }
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Option<Piece<'a>> {
    let (data, rest) = input.split_at(length);
    *input = rest;
    (!data.is_empty()).then_some(Piece::Data(data))
}

/// How a body is framed on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyEncoder {
    /// Nothing is written, whatever comes: a response without a body.
    Nothing,
    /// As it is: a length was announced, or the end of the connection is the end.
    Plain,
    /// In chunks.
    Chunked,
}

impl BodyEncoder {
    /// The encoder of a response's body.
    pub fn for_response(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Nothing,
            Framing::Length(_) | Framing::UntilEnd => Self::Plain,
            Framing::Chunked => Self::Chunked,
        }
    }

    /// The encoder of a request's body. One without a length goes in chunks: only a response may
    /// end with its connection.
    pub fn for_request(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Nothing,
            Framing::Length(_) => Self::Plain,
            Framing::Chunked | Framing::UntilEnd => Self::Chunked,
        }
    }

    /// What goes before a part of this length. A part of no bytes must not be written at all: as a
    /// chunk it would be the last one, and what follows would be read as another message. So it
    /// has no prefix, and with its suffix the body is malformed instead.
    pub fn prefix(self, length: usize) -> ChunkPrefix {
        match self {
            Self::Chunked if length > 0 => ChunkPrefix::new(length),
            Self::Chunked | Self::Plain | Self::Nothing => ChunkPrefix::default(),
        }
    }

    /// What goes behind a part.
    pub fn suffix(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::Plain | Self::Nothing => b"",
        }
    }
}

/// The line that a chunk begins with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkPrefix {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkPrefix {
    fn new(length: usize) -> Self {
        let mut prefix = Self {
            bytes: [0; 18],
            start: 16,
        };
        prefix.bytes[16..].copy_from_slice(b"\r\n");
        let mut left = length;
        for digit in prefix.bytes[..16].iter_mut().rev() {
            *digit = DIGITS.get(left & 15).copied().unwrap_or_default();
            prefix.start -= 1;
            left >>= 4;
            if left == 0 {
                break;
            }
        }
        prefix
    }

    /// Its bytes; none where there are no chunks.
    pub fn as_bytes(&self) -> &[u8] {
        match self.start {
            0 if self.bytes[0] == 0 => &[],
            start => self.bytes.get(usize::from(start)..).unwrap_or_default(),
        }
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests;
