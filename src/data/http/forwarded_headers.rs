//! Who asked, as proxies before us say and as backends are told. Pure.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};
use ipnet::IpNet;

use crate::data::http::Peer;

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
/// if it is a trusted proxy; everything else is replaced. Call after `headers::remove_hop_by_hop`, so
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

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// What ties the log lines of all hops of one request together.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, data::http::headers::remove_hop_by_hop};

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
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
}
