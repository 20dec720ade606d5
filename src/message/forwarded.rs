//! Where a request came from, as trusted proxies say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use crate::message::{Fields, Kind, tokens};

/// The client's address: the peer's, unless that is a trusted proxy which says otherwise. Walks
/// `X-Forwarded-For` from the right; the first address that is no trusted proxy is the client's,
/// as nginx does with `real_ip_recursive on`. As there, spaces separate addresses as commas do.
pub fn client_address(fields: &Fields, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    if !is_trusted(peer, proxies) {
        return peer;
    }
    let mut client = peer;
    for field in fields.of_kind(Kind::ForwardedFor).rev() {
        let elements = field
            .value
            .rsplit(|byte| matches!(byte, b',' | b' ' | b'\t'));
        for element in elements {
            if element.is_empty() {
                continue;
            }
            // What cannot be read ends what can be believed.
            let Some(address) = address(element) else {
                return client;
            };
            client = address;
            if !is_trusted(client, proxies) {
                return client;
            }
        }
    }
    client
}

/// Whether an address is a trusted proxy's.
pub fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// All lines of `X-Forwarded-For` as one: a proxy may add a line below the client's.
pub fn forwarded_chain(fields: &Fields) -> Vec<u8> {
    let elements: Vec<&[u8]> = tokens(fields.of_kind(Kind::ForwardedFor)).collect();
    elements.join(&b", "[..])
}

/// An address with or without a port and brackets. An IPv4-mapped address is its IPv4 address.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?;
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    // Some write a colon without a port, or a port that no socket has.
    let odd_port = || {
        let (ip, port) = text.split_once(':')?;
        let ip: Ipv4Addr = ip.parse().ok()?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(IpAddr::V4(ip))
    };
    let address = plain()
        .or_else(with_port)
        .or_else(bracketed)
        .or_else(odd_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let proxies: Vec<IpNet> = ["127.0.0.0/8", "::1/128"]
            .map(|net| net.parse().unwrap())
            .into();
        let mut fields = Fields::default();
        for line in lines {
            fields.push(b"X-Forwarded-For", line.as_bytes());
        }
        let client = client_address(&fields, peer.parse().unwrap(), &proxies);
        assert_eq!(client.to_string(), expected, "{lines:?}");
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        check("9.9.9.9", &[], "9.9.9.9");
        check("9.9.9.9", &["1.1.1.1"], "9.9.9.9");
        check("127.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check("127.0.0.1", &["6.6.6.6, 1.1.1.1, 127.0.0.2"], "1.1.1.1");
        check("127.0.0.1", &["6.6.6.6", "9.9.9.9"], "9.9.9.9");
        check("::1", &["nonsense"], "::1");
        check("::1", &["1.1.1.1, nonsense"], "::1");
    }

    /// Azure and IIS add ports; others leave empty elements.
    #[test]
    fn ports_brackets_and_empty_elements_are_read() {
        check("127.0.0.1", &["203.0.113.7:51234"], "203.0.113.7");
        check("127.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("127.0.0.1", &["1.1.1.1, , ,"], "1.1.1.1");
        check("127.0.0.1", &["6.6.6.6 1.1.1.1\t, 127.0.0.2"], "1.1.1.1");
        check("127.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4");
        check("127.0.0.1", &["1.2.3.4:"], "1.2.3.4");
        check("127.0.0.1", &["1.2.3.4:70000"], "1.2.3.4");
        check("127.0.0.1", &["1.2.3.4:x"], "127.0.0.1");
        check("::ffff:127.0.0.1", &["1.2.3.4"], "1.2.3.4");
    }

    #[test]
    fn several_lines_are_one_chain() {
        let mut fields = Fields::default();
        fields.push(b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2");
        fields.push(b"x-forwarded-for", b"3.3.3.3,");
        assert_eq!(forwarded_chain(&fields), b"1.1.1.1, 2.2.2.2, 3.3.3.3");
    }

    proptest! {
        #[test]
        fn the_client_is_the_first_from_the_right_that_is_no_proxy(
            chain in vec(select(&["127.0.0.1", "::1", "1.1.1.1", "2001:db8::2"][..]), 0..6),
            separators in vec(select(&[",", ", ", " , ", " ", ",,"][..]), 6),
        ) {
            let is_proxy = |text: &&&str| ["127.0.0.1", "::1"].contains(*text);
            let expected = chain.iter().rev().find(|text| !is_proxy(text)).or_else(|| chain.first());
            let line: String = chain.iter().zip(&separators).flat_map(|(text, gap)| [*text, *gap]).collect();
            check("127.0.0.1", &[&line], expected.unwrap_or(&"127.0.0.1"));
        }

        #[test]
        fn any_chain_has_a_client(line in vec(any::<u8>(), 0..40)) {
            let mut fields = Fields::default();
            fields.push(b"x-forwarded-for", &line);
            let everybody = ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap());
            let _any = client_address(&fields, IpAddr::from([127, 0, 0, 1]), &everybody);
        }
    }
}
