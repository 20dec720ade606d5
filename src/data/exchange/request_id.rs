//! The id that a request has in logs, at its backend and in an error's body.

use crate::message::{Kind, RequestHead};

/// The id that the client gave a request, or a new one.
pub(super) fn request_id_of(head: &RequestHead) -> Vec<u8> {
    match head.fields().first(Kind::RequestId) {
        Some(id) => id.to_vec(),
        None => new_request_id().to_vec(),
    }
}

/// 128 random bits in hexadecimal digits.
pub(super) fn new_request_id() -> [u8; 32] {
    let mut random = fastrand::u128(..);
    [(); 32].map(|()| {
        let digit = u32::try_from(random & 15).unwrap_or_default();
        random >>= 4;
        char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8)
    })
}
