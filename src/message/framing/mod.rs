//! Where a message ends, as its head says (RFC 9112 section 6). Strict: what has two readings has
//! none, since the other side may read it differently (request smuggling).

use http::Version;

use crate::message::{Fields, Kind, RequestHead, ResponseHead};

/// How long a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// As many bytes.
    Length(u64),
    /// Its own coding says where it ends (HTTP/1.1).
    Chunked,
    /// The end of the stream (HTTP/2), or of the connection (responses of HTTP/1.1).
    UntilEnd,
}

/// Why the end of a message is in doubt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FramingFault {
    /// It is no number, or too large a one.
    #[error("the content-length is not a number")]
    Length,
    /// There is more than one.
    #[error("more than one content-length")]
    RepeatedLength,
    /// There is also a transfer coding.
    #[error("a content-length beside a transfer-encoding")]
    LengthBesideCoding,
    /// It is not `chunked`, once.
    #[error("a transfer-encoding other than chunked")]
    Coding,
    /// HTTP/1.0 has no transfer codings.
    #[error("a transfer-encoding in HTTP/1.0")]
    CodingInHttp10,
}

/// How long the body of a request is. Of HTTP/2, where a request without a body ends with its
/// head, `UntilEnd` stands for a body that does not say how long it is.
///
/// # Errors
///
/// When its end is in doubt.
pub fn request_framing(head: &RequestHead) -> Result<Framing, FramingFault> {
    let is_http2 = head.version() == Version::HTTP_2;
    match declared(head.fields(), head.version())? {
        Some(framing) => Ok(framing),
        None if is_http2 => Ok(Framing::UntilEnd),
        None => Ok(Framing::Empty),
    }
}

/// How long the body of a response is. `to_head` if the request was a `HEAD`.
///
/// # Errors
///
/// When its end is in doubt, also where the body is left out anyway.
pub fn response_framing(head: &ResponseHead, to_head: bool) -> Result<Framing, FramingFault> {
    let declared = declared(head.fields(), head.version())?;
    if to_head || head.is_interim() || matches!(head.status(), 204 | 304) {
        return Ok(Framing::Empty);
    }
    Ok(declared.unwrap_or(Framing::UntilEnd))
}

/// What the fields say, if they say anything.
fn declared(fields: &Fields, version: Version) -> Result<Option<Framing>, FramingFault> {
    let mut length = None;
    let mut is_chunked = false;
    for field in fields.iter() {
        if field.kind == Kind::ContentLength {
            if length.is_some() {
                return Err(FramingFault::RepeatedLength);
            }
            length = Some(number(field.value)?);
        } else if field.kind == Kind::TransferEncoding {
            if is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(FramingFault::Coding);
            }
            is_chunked = true;
        }
    }
    match (is_chunked, length) {
        (true, Some(_)) => Err(FramingFault::LengthBesideCoding),
        (true, None) if version < Version::HTTP_11 => Err(FramingFault::CodingInHttp10),
        // RFC 9113 section 8.2.2: HTTP/2 has no transfer codings either.
        (true, None) if version > Version::HTTP_11 => Err(FramingFault::Coding),
        (true, None) => Ok(Some(Framing::Chunked)),
        (false, Some(length)) => Ok(Some(Framing::Length(length))),
        (false, None) => Ok(None),
    }
}

fn number(text: &[u8]) -> Result<u64, FramingFault> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(FramingFault::Length);
    }
    let digits = str::from_utf8(text).map_err(|_not_ascii| FramingFault::Length)?;
    digits.parse().map_err(|_too_large| FramingFault::Length)
}

#[cfg(test)]
mod tests;
