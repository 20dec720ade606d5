//! The one message of a redirect call: read from its bytes, written as bytes.
//!
//! Nearly every call is one small message in one frame. Whatever is not one whole, plain,
//! well-formed message is left to tonic.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use crate::{proto, redirect::Rejection};

/// The longest message, without its prefix. Video URLs are at most 8 KiB.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A flag and the length (gRPC over HTTP2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// The bytes of a request body so far. One frame, as nearly always, is not copied.
#[derive(Debug)]
pub(super) enum Received {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fit {
    Fits,
    TooLong,
}

impl Received {
    /// Adds a part.
    pub(super) fn push(&mut self, data: Bytes) -> Fit {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + data.len());
                all.put(first);
                all.put(data);
                Self::Several(all)
            }
            Self::Several(mut all) => {
                all.put(data);
                Self::Several(all)
            }
        };
        let so_far = self.as_slice();
        let announced = message_bytes(so_far).unwrap_or(0);
        let too_long =
            announced > MESSAGE_BYTES_MAX || so_far.len() > MESSAGE_BYTES_MAX + PREFIX_BYTES;
        if too_long { Fit::TooLong } else { Fit::Fits }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(data) => data,
            Self::Several(all) => all,
        }
    }

    /// All of it.
    pub(super) fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Bytes::new(),
            Self::One(data) => data,
            Self::Several(all) => all.freeze(),
        }
    }
}

/// The length that an uncompressed message's prefix announces.
fn message_bytes(received: &[u8]) -> Option<usize> {
    let (&[flag, length @ ..], _) = received.split_first_chunk::<PREFIX_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (flag == 0).then_some(length)
}

/// Where the first message ends, compressed or not.
fn announced_end(received: &[u8]) -> Option<usize> {
    let (&[_flag, length @ ..], _) = received.split_first_chunk::<PREFIX_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    length.checked_add(PREFIX_BYTES)
}

/// What a request body holds.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    /// Exactly one whole, uncompressed, well-formed message.
    Video(String),
    /// As above, when the text is not valid UTF-8.
    NotUtf8(Rejection),
    /// More than one message.
    Several,
    /// Anything else.
    Other,
}

/// Reads a whole request body.
pub(super) fn decode(received: &Bytes) -> Decoded {
    if announced_end(received).is_some_and(|end| end < received.len()) {
        return Decoded::Several;
    }
    let length = message_bytes(received);
    let Some(message) = received
        .get(PREFIX_BYTES..)
        .filter(|message| Some(message.len()) == length)
    else {
        return Decoded::Other;
    };
    if let Ok(request) = proto::Request::decode(message) {
        return Decoded::Video(request.video);
    }
    // A text that is not UTF-8 is a bad URL like any other; tonic would call it an internal error.
    match UncheckedRequest::decode(message) {
        Ok(request) if !request.video.is_ascii() => {
            let at = request
                .video
                .iter()
                .position(|byte| !byte.is_ascii())
                .unwrap_or(0);
            Decoded::NotUtf8(Rejection::NonAscii { at })
        }
        Ok(_) | Err(_) => Decoded::Other,
    }
}

/// A request whose text is not checked.
#[derive(Clone, PartialEq, prost::Message)]
struct UncheckedRequest {
    #[prost(bytes = "vec", tag = "1")]
    video: Vec<u8>,
}

/// Writes an answer with its prefix.
pub(super) fn encode(redirect: String) -> Bytes {
    let response = proto::Response { redirect };
    let length = response.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).expect("a little longer than a video URL"));
    response.encode(&mut framed).expect("the buffer grows");
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_plain_message_is_decoded() {
        let framed = |flag: u8, length: u32, message: &[u8]| {
            let mut bytes = BytesMut::new();
            bytes.put_u8(flag);
            bytes.put_u32(length);
            bytes.put_slice(message);
            bytes.freeze()
        };
        let video = |text: &str| Decoded::Video(text.to_owned());
        assert_eq!(decode(&framed(0, 3, b"\x0a\x01v")), video("v"));
        assert_eq!(decode(&framed(0, 0, b"")), video(""));
        for (flag, length, message) in [
            (1, 3, &b"\x0a\x01v"[..]),
            (2, 3, b"\x0a\x01v"),
            (0, 4, b"\x0a\x01v"),
            (0, 3, b"\x0a\x02v"),
        ] {
            let decoded = decode(&framed(flag, length, message));
            assert_eq!(decoded, Decoded::Other, "flag {flag}, length {length}");
        }
        assert_eq!(decode(&framed(0, 2, b"\x0a\x01v")), Decoded::Several);
        assert_eq!(decode(&framed(1, 2, b"\x0a\x01v")), Decoded::Several);
        assert_eq!(decode(&Bytes::from_static(b"\0\0\0")), Decoded::Other);
        assert_eq!(decode(&Bytes::new()), Decoded::Other);
        let not_utf8 = Decoded::NotUtf8(Rejection::NonAscii { at: 1 });
        assert_eq!(decode(&framed(0, 4, b"\x0a\x02v\xff")), not_utf8);
    }

    #[test]
    fn a_message_is_refused_by_its_announced_length() {
        let limit = u32::try_from(MESSAGE_BYTES_MAX).unwrap();
        for (length, expected) in [
            (limit, Fit::Fits),
            (limit + 1, Fit::TooLong),
            (u32::MAX, Fit::TooLong),
        ] {
            let mut prefix = BytesMut::new();
            prefix.put_u8(0);
            prefix.put_u32(length);
            // In two frames, as the prefix may be split, too.
            let rest = prefix.split_off(2);
            let mut received = Received::Nothing;
            assert_eq!(received.push(prefix.freeze()), Fit::Fits);
            assert_eq!(received.push(rest.freeze()), expected, "{length} bytes");
        }
    }
}
