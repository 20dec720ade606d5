//! Header fields that are lists (RFC 9110 section 5.6.1).

use crate::message::Field;

/// The elements of a list that may stand in several fields. Empty elements are passed over.
pub fn tokens<'a>(fields: impl Iterator<Item = Field<'a>>) -> impl Iterator<Item = &'a [u8]> {
    fields
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}
