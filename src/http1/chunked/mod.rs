//! The chunked transfer coding (RFC 9112 section 7.1), read strictly.
//!
//! Every line ends in CR LF. A chunk extension is passed over and never forwarded. It holds no
//! control character, and quotes only as a quoted string in the place of a value: a reader that
//! pairs them differently would find the end of the line, and with it the body, elsewhere.

use crate::{
    http1::{FIELDS_MAX, Piece},
    message::Fields,
};

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyFault {
    /// A chunk's size is no hexadecimal number of at most 16 digits.
    #[error("a chunk size is malformed")]
    Size,
    /// A chunk extension is malformed.
    #[error("a chunk extension is malformed")]
    Extension,
    /// The extensions of a body take more than [`EXTENSION_BYTES_MAX`] bytes.
    #[error("the chunk extensions are longer than {EXTENSION_BYTES_MAX} bytes")]
    ExtensionLimit,
    /// A line of the coding does not end in CR LF.
    #[error("a line break between chunks is malformed")]
    LineBreak,
    /// The trailers are malformed.
    #[error("the trailers are malformed")]
    Trailers,
    /// The trailers take more than [`TRAILER_BYTES_MAX`] bytes.
    #[error("the trailers are longer than {TRAILER_BYTES_MAX} bytes")]
    TrailerLimit,
    /// It ended before its end.
    #[error("the body broke off")]
    Truncated,
}

/// Bytes of chunk extensions that a body may have in all.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of trailers that a body may have.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
const SIZE_DIGITS_MAX: u8 = 16;

/// Where in a chunked body a reader is.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extension_bytes: usize,
    /// The trailer section so far, its line breaks included.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        quote: Quote,
    },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a line of the trailer section.
    TrailerStart,
    TrailerLine,
    TrailerLf,
    EndLf,
    Done,
    Failed(BodyFault),
}

/// Where in a chunk extension a reader is, as far as quotes are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quote {
    /// Where a quote may not begin.
    Outside,
    /// Behind an equals sign, where a quote may begin.
    Value,
    Inside,
    Escaped,
    /// Behind a quoted string.
    Closed,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self {
            state: State::Size {
                value: 0,
                digits: 0,
            },
            extension_bytes: 0,
            trailers: Vec::new(),
        }
    }
}

impl ChunkedDecoder {
    /// Whether the last line was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece off the beginning of `input`; `None` once more input is needed. Bytes
    /// behind the end of the body stay in `input`.
    ///
    /// # Errors
    ///
    /// When the coding is malformed. Every later call returns the same fault.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BodyFault> {
        let piece = self.read(input);
        if let Err(fault) = &piece {
            // A caller that asks again must not find the body continued behind the bad byte.
            self.state = State::Failed(*fault);
        }
        piece
    }

    fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BodyFault> {
        if let State::Failed(fault) = self.state {
            return Err(fault);
        }
        while let Some((&byte, rest)) = input.split_first() {
            if let State::Data(left) = self.state {
                return Ok(Some(self.take_data(left, input)));
            }
            if self.is_done() {
                return Ok(None);
            }
            *input = rest;
            self.state = self.step(byte)?;
            if self.is_done() {
                return self.end().map(Some);
            }
        }
        Ok(None)
    }

    fn take_data<'a>(&mut self, left: u64, input: &mut &'a [u8]) -> Piece<'a> {
        let length = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (data, rest) = input.split_at(length);
        *input = rest;
        let left = left - length as u64;
        self.state = match left {
            0 => State::DataCr,
            left => State::Data(left),
        };
        Piece::Data(data)
    }

    fn step(&mut self, byte: u8) -> Result<State, BodyFault> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) => Self::size(value, digits, byte),
            (State::Extension { size, quote }, _) => self.extension(size, quote, byte),
            (State::SizeLf(0), b'\n') => Ok(State::TrailerStart),
            (State::SizeLf(size), b'\n') => Ok(State::Data(size)),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size {
                value: 0,
                digits: 0,
            }),
            (State::SizeLf(_) | State::DataCr | State::DataLf, _) => Err(BodyFault::LineBreak),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerLine, _) => self.trailer(byte),
            (State::TrailerLf, b'\n') => {
                self.trailers.extend_from_slice(b"\r\n");
                Ok(State::TrailerStart)
            }
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::TrailerLf | State::EndLf, _) => Err(BodyFault::Trailers),
            (State::Failed(fault), _) => Err(fault),
            (State::Data(_) | State::Done, _) => Ok(self.state),
        }
    }

    fn size(value: u64, digits: u8, byte: u8) -> Result<State, BodyFault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(BodyFault::Size);
            }
            return Ok(State::Size {
                value: value << 4 | u64::from(digit),
                digits: digits + 1,
            });
        }
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLf(value)),
            b';' if digits > 0 => Ok(State::Extension {
                size: value,
                quote: Quote::Outside,
            }),
            _ => Err(BodyFault::Size),
        }
    }

    fn extension(&mut self, size: u64, quote: Quote, byte: u8) -> Result<State, BodyFault> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(BodyFault::ExtensionLimit);
        }
        let quote = match (quote, byte) {
            (Quote::Outside | Quote::Value | Quote::Closed, b'\r') => {
                return Ok(State::SizeLf(size));
            }
            (_, b'\t' | b' '..=b'~' | 0x80..) => quote.after(byte),
            _ => None,
        };
        let quote = quote.ok_or(BodyFault::Extension)?;
        Ok(State::Extension { size, quote })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, BodyFault> {
        match byte {
            b'\r' => return Ok(State::TrailerLf),
            b'\n' => return Err(BodyFault::Trailers),
            _ => self.trailers.push(byte),
        }
        if self.trailers.len() > TRAILER_BYTES_MAX {
            return Err(BodyFault::TrailerLimit);
        }
        Ok(State::TrailerLine)
    }

    fn end<'a>(&mut self) -> Result<Piece<'a>, BodyFault> {
        if self.trailers.is_empty() {
            return Ok(Piece::End(None));
        }
        self.trailers.extend_from_slice(b"\r\n");
        let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let parsed = httparse::parse_headers(&self.trailers, &mut table);
        let Ok(httparse::Status::Complete((_, headers))) = parsed else {
            return Err(BodyFault::Trailers);
        };
        let mut fields = Box::<Fields>::default();
        for header in headers {
            fields.push(header.name.as_bytes(), header.value);
        }
        Ok(Piece::End(Some(fields)))
    }
}

impl Quote {
    /// The state behind one more byte of an extension (RFC 9110 section 5.6.4); `None` where a
    /// quote or a backslash has no place.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Value, b'"') | (Self::Escaped, _) => Some(Self::Inside),
            (Self::Inside, b'"') => Some(Self::Closed),
            (Self::Inside, b'\\') => Some(Self::Escaped),
            (Self::Inside, _) => Some(Self::Inside),
            (Self::Outside | Self::Value | Self::Closed, b'"' | b'\\') => None,
            (Self::Outside, b'=') => Some(Self::Value),
            (Self::Value | Self::Closed, b' ' | b'\t') => Some(self),
            (Self::Closed, b';') | (Self::Outside | Self::Value, _) => Some(Self::Outside),
            (Self::Closed, _) => None,
        }
    }
}

#[cfg(test)]
mod tests;
