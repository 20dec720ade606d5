//! For which host a request is. The one rule of all services and both versions of HTTP.

use std::net::Ipv6Addr;

use http::Version;

use crate::message::{Kind, RequestHead};

/// Why the host of a request is in doubt. Nothing of the request is forwarded then, and the
/// connection closes: another reader may have found another host or another end of the head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostFault {
    /// HTTP/1.1 needs one (RFC 9112 section 3.2).
    #[error("the Host header is missing")]
    Missing,
    /// There is more than one.
    #[error("more than one Host header")]
    Repeated,
    /// It is no host.
    #[error("the Host header or the target is malformed")]
    Malformed,
    /// HTTP/2 names another host in `:authority` (RFC 9113 section 8.3.1).
    #[error("the Host header is not the :authority")]
    Contradicted,
}

/// The host that a request is for: the authority of an absolute target or of HTTP/2, else the
/// `Host` field. `localhost` for an HTTP/1.0 request that names none.
///
/// # Errors
///
/// When it is missing, repeated, malformed or contradicted.
pub fn host_of(head: &RequestHead) -> Result<&[u8], HostFault> {
    let mut hosts = head.fields().of_kind(Kind::Host).map(|field| field.value);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(HostFault::Repeated);
    }
    let is_http2 = head.version() == Version::HTTP_2;
    let authority = head.authority();
    if let (Some(authority), Some(host), true) = (authority, host, is_http2)
        && !authority.eq_ignore_ascii_case(host)
    {
        return Err(HostFault::Contradicted);
    }
    let is_named = host.is_some() || (is_http2 && authority.is_some());
    if !is_named && head.version() != Version::HTTP_10 {
        return Err(HostFault::Missing);
    }
    // Also the one that loses must be well-formed: a proxy before us may have read it.
    if !host.is_none_or(is_host) {
        return Err(HostFault::Malformed);
    }
    let named = authority.or(host).unwrap_or(b"localhost");
    match is_host(named) {
        true => Ok(named),
        false => Err(HostFault::Malformed),
    }
}

/// Whether a text is a host, with or without a port, and nothing else (RFC 9110 section 7.2).
/// Narrower than the RFC: names are letters, digits, `-`, `_` and dots.
pub fn is_host(text: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use http::uri::Authority;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_hosts_are_hosts() {
        for host in [
            "a",
            "a.b:80",
            "a:",
            "_x-1.y.",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ".a", "a..b", "a b", "a@b", "a/b", "a,b", "a:65536", "a:x", "a:1:1", "[::1",
            "[v6]", "[::1]x", "h\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    fn head(version: Version, target: &str, hosts: &[&str]) -> RequestHead {
        let mut head = RequestHead::default();
        let target = target.as_bytes();
        let read = head.read(target, version, &target[..0], target, std::iter::empty());
        read.unwrap();
        for host in hosts {
            head.fields_mut().push(b"Host", host.as_bytes());
        }
        head
    }

    #[track_caller]
    fn check(head: &RequestHead, expected: Result<&str, HostFault>) {
        assert_eq!(host_of(head), expected.map(str::as_bytes));
    }

    #[test]
    fn the_target_wins_and_the_field_must_be_a_host_all_the_same() {
        let v11 = Version::HTTP_11;
        check(&head(v11, "/", &["a"]), Ok("a"));
        check(&head(v11, "/", &[]), Err(HostFault::Missing));
        check(&head(v11, "/", &["a", "a"]), Err(HostFault::Repeated));
        check(&head(v11, "/", &[""]), Err(HostFault::Malformed));
        check(&head(v11, "http://t:81/", &["a"]), Ok("t:81"));
        check(&head(v11, "http://t", &[]), Err(HostFault::Missing));
        check(&head(v11, "http://t", &["a@b"]), Err(HostFault::Malformed));
        check(&head(v11, "http://a@t/", &["a"]), Err(HostFault::Malformed));
        check(&head(v11, "http:///", &["a"]), Err(HostFault::Malformed));
        check(&head(Version::HTTP_10, "/", &[]), Ok("localhost"));
        check(&head(Version::HTTP_10, "http://t", &[]), Ok("t"));
    }

    #[test]
    fn http2_names_one_host() {
        for (hosts, expected) in [
            (&[][..], Ok("t")),
            (&["T"], Ok("t")),
            (&["a"], Err(HostFault::Contradicted)),
        ] {
            let mut head = head(Version::HTTP_2, "/", hosts);
            head.set_authority(b"t");
            check(&head, expected);
        }
        check(&head(Version::HTTP_2, "/", &["a"]), Ok("a"));
        check(&head(Version::HTTP_2, "/", &[]), Err(HostFault::Missing));
    }

    proptest! {
        #[test]
        fn a_host_is_one_to_other_readers_too(text in r"[a-z:.@/\[\]0-9%_-]{0,12}|\[[0-9a-f:]{2,9}\](:[0-9]{0,5})?") {
            if is_host(text.as_bytes()) {
                let authority: Authority = text.parse().unwrap();
                prop_assert!(text.starts_with(authority.host()));
                let port = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
                prop_assert!(authority.port_u16() == port || text.ends_with(']'));
            }
        }
    }
}
