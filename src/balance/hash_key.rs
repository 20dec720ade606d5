//! Which part of a request consistent hashing hashes.

use std::{borrow::Cow, net::IpAddr};

use http::HeaderName;

use crate::message::{Fields, Kind, RequestHead};

/// The part of a request that decides about its backend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HashKey {
    /// The client's address, as `trusted_proxies` tell it.
    #[default]
    ClientAddress,
    /// The path, without the query.
    Path,
    /// A header's first line.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

impl HashKey {
    /// The bytes to hash. A request without the header or cookie goes by the client's address.
    pub fn of<'a>(&self, client: IpAddr, head: &'a RequestHead) -> Cow<'a, [u8]> {
        let found = match self {
            Self::ClientAddress => None,
            Self::Path => Some(head.path().as_bytes()),
            Self::Header(name) => head.fields().value(name.as_str().as_bytes()),
            Self::Cookie(name) => cookie(head.fields(), name.as_bytes()),
        };
        match (found, client) {
            (Some(found), _) => Cow::Borrowed(found),
            (None, IpAddr::V4(client)) => Cow::Owned(client.octets().to_vec()),
            (None, IpAddr::V6(client)) => Cow::Owned(client.octets().to_vec()),
        }
    }
}

/// The value of a cookie. Another cookie of the line may have bytes that are no text.
fn cookie<'a>(fields: &'a Fields, wanted: &[u8]) -> Option<&'a [u8]> {
    let lines = fields.of_kind(Kind::Cookie).map(|field| field.value);
    lines
        .flat_map(|line| line.split(|&byte| byte == b';'))
        .filter_map(|pair| {
            let (name, value) = pair
                .trim_ascii()
                .split_at(pair.trim_ascii().iter().position(|&byte| byte == b'=')?);
            Some((name, value.get(1..)?))
        })
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[track_caller]
    fn check(key: &HashKey, fields: &[(&str, &[u8])], expected: &[u8]) {
        let mut head = RequestHead::default();
        head.begin(b"GET", b"/a?b", Version::HTTP_11);
        for (name, value) in fields {
            head.fields_mut().push(name.as_bytes(), value);
        }
        let client = IpAddr::from([1, 2, 3, 4]);
        assert_eq!(key.of(client, &head).as_ref(), expected, "{key:?}");
    }

    #[test]
    fn a_part_that_is_missing_is_the_address() {
        let header = HashKey::Header(HeaderName::from_static("x-user"));
        let cookie = HashKey::Cookie("session".to_owned());
        check(&HashKey::ClientAddress, &[], &[1, 2, 3, 4]);
        check(&HashKey::Path, &[], b"/a");
        check(&header, &[], &[1, 2, 3, 4]);
        check(&header, &[("X-User", b"\xff"), ("x-user", b"2")], b"\xff");
        check(&cookie, &[("cookie", b"xsession=1")], &[1, 2, 3, 4]);
        check(
            &cookie,
            &[("cookie", b"a=b"), ("Cookie", b"c; session=s=1; d")],
            b"s=1",
        );
    }

    /// A cookie that is not text must not hide the one beside it.
    #[test]
    fn a_cookie_beside_bytes_that_are_no_text_is_found() {
        let cookie = HashKey::Cookie("session".to_owned());
        check(&cookie, &[("cookie", b"name=J\xfcrgen; session=7")], b"7");
    }
}
