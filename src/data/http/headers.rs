//! What becomes of headers on their way through. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Removes what concerns one connection alone, from either side (RFC 9110 section 7.6.1), and
/// names that other servers read as another header's.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // `X_Forwarded_For` is `X-Forwarded-For` to whatever speaks CGI.
    let underscored: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in underscored {
        headers.remove(name);
    }
}

/// Whether there is one way to read where a message ends: by no transfer coding, or by `chunked`
/// alone and no length beside it. Any other coding would reach the other side undone by half and
/// without its name; a length beside one would cut the body (RFC 9112 section 6.3).
pub(super) fn is_clearly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            chunked && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect()
}

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // CGI programs read it as HTTP_PROXY.
    HeaderName::from_static("proxy"),
    header::EXPECT,
];

/// Says who asked and how, as nginx users set it up. What the client says of itself counts only
/// if it is a trusted proxy; everything else is replaced. Call after [`remove_hop_by_hop`], so
/// that `Connection: x-forwarded-for` cannot take these away.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    peer: IpAddr,
    host: &HeaderValue,
    proxies: &[IpNet],
) {
    let trusted = is_trusted(peer, proxies);
    let before = if trusted {
        chain_of(headers)
    } else {
        String::new()
    };
    let client = client_of(&before, peer, proxies);
    let chain = match before.as_str() {
        "" => peer.to_string(),
        before => format!("{before}, {peer}"),
    };
    set(headers, X_FORWARDED_FOR, &chain);
    set(headers, X_REAL_IP, &client.to_string());
    if !(trusted && headers.contains_key(&X_FORWARDED_PROTO)) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !(trusted && headers.contains_key(&X_FORWARDED_HOST)) {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if !headers.contains_key(&X_REQUEST_ID) {
        set(
            headers,
            X_REQUEST_ID,
            &format!("{:032x}", fastrand::u128(..)),
        );
    }
}

/// All lines of the header as one: a proxy may add a line of its own below the client's.
fn chain_of(headers: &HeaderMap) -> String {
    let lines = headers.get_all(&X_FORWARDED_FOR).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(", ")
}

/// Walks the chain from the right: the first address that is no trusted proxy is the client.
fn client_of(chain: &str, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for address in chain.rsplit(',') {
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

fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    // An IPv4 address may come in IPv6's clothes.
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::try_from(value).expect("addresses and digits are valid");
    headers.insert(name, value);
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
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[track_caller]
    fn check_client(peer: &str, chain: Option<&'static str>, real_ip: &str, forwarded_for: &str) {
        let mut headers =
            chain.map_or_else(HeaderMap::new, |chain| map(&[("x-forwarded-for", chain)]));
        set_forwarded(
            &mut headers,
            peer.parse().unwrap(),
            &HeaderValue::from_static("h"),
            &crate::config::loopback(),
        );
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
        set_forwarded(
            &mut headers,
            "9.9.9.9".parse().unwrap(),
            &HeaderValue::from_static("h"),
            &crate::config::loopback(),
        );
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
        let host = HeaderValue::from_static("h");
        set_forwarded(
            &mut headers,
            "127.0.0.1".parse().unwrap(),
            &host,
            &crate::config::loopback(),
        );
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
