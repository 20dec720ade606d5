//! Which part of a request consistent hashing hashes.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, HeaderName, header};

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
    pub fn of<'a>(&self, client: IpAddr, path: &'a str, headers: &'a HeaderMap) -> Cow<'a, [u8]> {
        let found = match self {
            Self::ClientAddress => None,
            Self::Path => Some(path.as_bytes()),
            Self::Header(name) => headers.get(name).map(|value| value.as_bytes()),
            Self::Cookie(name) => cookie(headers, name),
        };
        match (found, client) {
            (Some(found), _) => Cow::Borrowed(found),
            (None, IpAddr::V4(client)) => Cow::Owned(client.octets().to_vec()),
            (None, IpAddr::V6(client)) => Cow::Owned(client.octets().to_vec()),
        }
    }
}

fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(key: &HashKey, expected: &[u8]) {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("ada"));
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; id=x=y"));
        headers.append(header::COOKIE, HeaderValue::from_static("later=2"));
        let client = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(*key.of(client, "/film", &headers), *expected);
    }

    #[test]
    fn each_part_is_found() {
        check(&HashKey::ClientAddress, &[10, 0, 0, 1]);
        check(&HashKey::Path, b"/film");
        check(&HashKey::Header(HeaderName::from_static("x-user")), b"ada");
        check(&HashKey::Cookie("id".to_owned()), b"x=y");
        check(&HashKey::Cookie("later".to_owned()), b"2");
    }

    #[test]
    fn without_it_the_client_decides() {
        check(
            &HashKey::Header(HeaderName::from_static("x-none")),
            &[10, 0, 0, 1],
        );
        check(&HashKey::Cookie("none".to_owned()), &[10, 0, 0, 1]);
    }
}
