//! What becomes of headers on their way through. Pure.

use std::net::{IpAddr, Ipv6Addr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{self, Entry},
    uri::{PathAndQuery, Scheme},
};
use ipnet::IpNet;

use crate::{config, data::http::Peer, state::Backend};

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

/// Who the client is: the peer, unless that is a trusted proxy which says otherwise. Walks the
/// chain from the right: the first address that is no trusted proxy is the client.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    if !headers.contains_key(&X_FORWARDED_FOR) || !is_trusted(peer, proxies) {
        return peer;
    }
    let mut client = peer;
    for address in chain_of(headers).rsplit(',') {
        // Garbage ends what can be believed.
        let Ok(address) = address.trim().parse() else {
            break;
        };
        client = address;
        if !is_trusted(client, proxies) {
            break;
        }
    }
    client
}

/// Says who asked and how, as nginx users set it up. What the client says of itself counts only
/// if it is a trusted proxy; everything else is replaced. Call after [`remove_hop_by_hop`], so
/// that `Connection: x-forwarded-for` cannot take these away.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    peer: &Peer,
    client: IpAddr,
    host: &HeaderValue,
    proxies: &[IpNet],
) {
    let trusted = is_trusted(peer.ip, proxies);
    if !trusted {
        remove_claims(headers);
    }
    let chain = match trusted && headers.contains_key(&X_FORWARDED_FOR) {
        true => value(&format!("{}, {}", chain_of(headers), peer.ip)),
        false => peer.text.clone(),
    };
    headers.insert(X_FORWARDED_FOR, chain);
    let real_ip = match client == peer.ip {
        true => peer.text.clone(),
        false => value(&client.to_string()),
    };
    headers.insert(X_REAL_IP, real_ip);
    set_unless(
        trusted,
        headers,
        X_FORWARDED_PROTO,
        &HeaderValue::from_static("http"),
    );
    set_unless(trusted, headers, X_FORWARDED_HOST, host);
    if let Entry::Vacant(vacant) = headers.entry(X_REQUEST_ID) {
        vacant.insert(request_id());
    }
}

/// Removes what a client says of itself as if it were a proxy. Some backends prefer `Forwarded`
/// (RFC 7239) to what is set here, and read a port or a prefix of their own.
fn remove_claims(headers: &mut HeaderMap) {
    let is_claim = |name: &&HeaderName| {
        **name == header::FORWARDED || name.as_str().starts_with("x-forwarded-")
    };
    let gone: Vec<HeaderName> = headers.keys().filter(is_claim).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Sets a header, unless there is one that is believed.
fn set_unless(believed: bool, headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    match headers.entry(name) {
        Entry::Occupied(_) if believed => {}
        Entry::Occupied(mut other) => {
            other.insert(value.clone());
        }
        Entry::Vacant(vacant) => {
            vacant.insert(value.clone());
        }
    }
}

/// 128 random bits in hexadecimal digits.
fn request_id() -> HeaderValue {
    let mut random = fastrand::u128(..);
    let digits = [(); 32].map(|()| {
        let digit = u32::try_from(random & 15).unwrap_or_default();
        random >>= 4;
        char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8)
    });
    HeaderValue::from_bytes(&digits).expect("digits are valid")
}

/// All lines of the header as one: a proxy may add a line of its own below the client's.
fn chain_of(headers: &HeaderMap) -> String {
    let lines = headers.get_all(&X_FORWARDED_FOR).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(", ")
}

fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    // An IPv4 address may come in IPv6's clothes.
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("addresses are valid")
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

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// What ties the log lines of all hops of one request together.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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

    fn forwarded(headers: &mut HeaderMap, peer: &str) {
        let peer = Peer::new(peer.parse().unwrap());
        let proxies = config::loopback();
        let client = client(headers, peer.ip, &proxies);
        let host = HeaderValue::from_static("h");
        set_forwarded(headers, &peer, client, &host, &proxies);
    }

    #[track_caller]
    fn check_client(peer: &str, chain: Option<&'static str>, real_ip: &str, forwarded_for: &str) {
        let mut headers =
            chain.map_or_else(HeaderMap::new, |chain| map(&[("x-forwarded-for", chain)]));
        forwarded(&mut headers, peer);
        assert_eq!(headers["x-real-ip"], real_ip);
        assert_eq!(headers["x-forwarded-for"], forwarded_for);
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        check_client("9.9.9.9", None, "9.9.9.9", "9.9.9.9");
        check_client("9.9.9.9", Some("1.1.1.1"), "9.9.9.9", "9.9.9.9");
        check_client(
            "127.0.0.1",
            Some("1.1.1.1"),
            "1.1.1.1",
            "1.1.1.1, 127.0.0.1",
        );
        check_client(
            "127.0.0.1",
            Some("6.6.6.6, 1.1.1.1, 127.0.0.2"),
            "1.1.1.1",
            "6.6.6.6, 1.1.1.1, 127.0.0.2, 127.0.0.1",
        );
        check_client("::1", Some("nonsense"), "::1", "nonsense, ::1");
    }

    #[test]
    fn ours_survive_a_connection_header_that_names_them() {
        let mut headers = map(&[
            ("connection", "x-real-ip, x-forwarded-for"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        remove_hop_by_hop(&mut headers);
        forwarded(&mut headers, "9.9.9.9");
        assert_eq!(headers["x-real-ip"], "9.9.9.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "h");
        assert_eq!(headers["x-request-id"].len(), 32);
    }

    /// A proxy that adds a line instead of appending must not let the client's line win.
    #[test]
    fn several_lines_are_one_chain() {
        let mut headers = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "9.9.9.9"),
        ]);
        forwarded(&mut headers, "127.0.0.1");
        assert_eq!(headers["x-real-ip"], "9.9.9.9");
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 9.9.9.9, 127.0.0.1");
    }

    #[test]
    fn cookies_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2")]));
    }
}
