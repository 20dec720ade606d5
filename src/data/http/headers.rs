//! What becomes of headers on their way through. Pure.

use std::net::Ipv6Addr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, header,
    uri::{PathAndQuery, Scheme},
};

use crate::{config, state::Backend};

/// Removes what concerns one connection alone, from either side (RFC 9110 section 7.6.1). Costs a
/// look at each name where there is nothing to remove.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name))
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "expect" | "http2-settings" => true,
        // CGI programs read it as HTTP_PROXY.
        "proxy" => true,
        _ => false,
    }
}

/// Removes names that a backend may read as another header's: `X_Forwarded_For` is
/// `X-Forwarded-For` to whatever speaks CGI. A backend's own names are its own affair.
pub(super) fn remove_ambiguous(headers: &mut HeaderMap) {
    let is_ambiguous = |name: &&HeaderName| name.as_str().contains('_');
    let gone: Vec<HeaderName> = headers.keys().filter(is_ambiguous).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect()
}

/// The elements of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Whether there is one way to read where a message ends: by no transfer coding, or by `chunked`
/// alone and no length beside it. Any other coding would reach the other side undone by half and
/// without its name; a length beside one would cut the body (RFC 9112 section 6.3).
pub(super) fn is_clearly_framed(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        // Of several that are equal, hyper kept one to read by.
        (None, _) => lengths.all(|length| is_number(length.as_bytes())),
        (Some(coding), None) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            chunked && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Whether the client says that it reads trailers.
pub(super) fn wants_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Removes what must not come after a body, where whoever reads it late would be deceived (RFC
/// 9110 section 6.5.1).
pub(super) fn remove_forbidden_trailers(trailers: &mut HeaderMap) {
    for name in &FORBIDDEN_TRAILERS {
        trailers.remove(name);
    }
    remove_hop_by_hop(trailers);
}

const FORBIDDEN_TRAILERS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::SET_COOKIE,
];

/// The one protocol that a request asks to switch to.
pub(super) fn asked_upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let names_it =
        tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    match (protocols.next(), protocols.next()) {
        (Some(protocol), None) if names_it => Some(protocol),
        (_, _) => None,
    }
}

/// Asks for, or agrees to, a switch.
pub(super) fn ask_for_upgrade(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol.clone());
}

/// Whether a response switches to the protocol that was asked for.
pub(super) fn is_switched_to(headers: &HeaderMap, protocol: &HeaderValue) -> bool {
    asked_upgrade(headers).is_some_and(|switched| {
        switched
            .as_bytes()
            .eq_ignore_ascii_case(protocol.as_bytes())
    })
}

/// A target with scheme and host, as HTTP/2 wants it.
pub(super) fn absolute(target: &Uri, headers: &HeaderMap, backend: &Backend) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match backend.name.scheme {
        config::Scheme::Http | config::Scheme::H2c => Scheme::HTTP,
        config::Scheme::Https => Scheme::HTTPS,
    });
    let host = headers.get(header::HOST);
    parts.authority = host.and_then(|host| host.as_bytes().try_into().ok());
    let path = target.path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // Only a host that a route's rule set can be malformed.
    Uri::from_parts(parts).unwrap_or_else(|_malformed| target.clone())
}

/// Whether a text is a host, with or without a port, and nothing else (RFC 9110 section 7.2).
/// Narrower than the RFC: names are letters, digits, `-`, `_` and dots.
pub(super) fn is_host(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else {
        return false;
    };
    if let Some(rest) = text.strip_prefix('[') {
        let Some((ip, port)) = rest.split_once(']') else {
            return false;
        };
        return ip.parse::<Ipv6Addr>().is_ok() && is_port(port);
    }
    let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !name.is_empty()
        && name.bytes().all(is_plain)
        && !name.starts_with('.')
        && !name.contains("..");
    is_name && is_port(port)
}

/// Nothing, or a colon and a port, which may be empty.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some("") => true,
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        None => text.is_empty(),
    }
}

/// Joins the cookies that HTTP/2 may split (RFC 9113 section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "keep-alive"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("proxy", "http://evil"),
            ("x_forwarded_for", "1.2.3.4"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        remove_ambiguous(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn cookies_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2")]));
    }
}
