//! `listen`: where a server is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::import::{nginx::tree::Directive, remark::Remarks};

/// An address in the clear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listen {
    pub(super) line: usize,
    pub(super) addr: SocketAddr,
    /// Whether requests for unknown hosts are this server's.
    pub(super) is_default: bool,
    /// Whether connections begin with a PROXY header.
    pub(super) is_proxied: bool,
}

/// Reads `listen ADDRESS PARAMETER…`; `None` where Weir cannot listen so.
pub(super) fn listen(directive: &Directive, remarks: &mut Remarks) -> Option<Listen> {
    let what = directive.text();
    let line = directive.line;
    let Some(addr) = addr(directive.argument(0)) else {
        remarks.left_out(line, &what, "Weir listens on an IP address and a port");
        return None;
    };
    let mut listen = Listen {
        line,
        addr,
        is_default: false,
        is_proxied: false,
    };
    for parameter in directive.arguments.iter().skip(1) {
        let name = parameter.split('=').next().unwrap_or_default();
        match name {
            "ssl" | "quic" | "http3" => {
                let reason = "Weir takes no TLS from clients yet, so there is no such listener";
                remarks.left_out(line, &what, reason);
                return None;
            }
            "udp" => {
                remarks.left_out(line, &what, "Weir balances TCP alone");
                return None;
            }
            "default_server" | "default" => listen.is_default = true,
            "proxy_protocol" => listen.is_proxied = true,
            "http2" | "spdy" => {
                remarks.not_needed(
                    line,
                    &what,
                    "Weir tells HTTP/1.1 and HTTP/2 apart by itself",
                );
            }
            "reuseport" | "deferred" | "backlog" | "rcvbuf" | "sndbuf" | "so_keepalive"
            | "fastopen" | "bind" | "ipv6only" | "accept_filter" | "setfib" => {}
            _ => remarks.left_out(
                line,
                &format!("listen {parameter}"),
                "Weir has no equivalent",
            ),
        }
    }
    Some(listen)
}

/// The address of a server without `listen`.
pub(super) fn usual(line: usize) -> Listen {
    Listen {
        line,
        addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, HTTP_PORT)),
        is_default: false,
        is_proxied: false,
    }
}

fn addr(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return (port != 0).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let is_bare = text.ends_with(']') || !text.contains(':');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare => (host, port.parse::<u16>().ok()?),
        Some(_) | None => (text, HTTP_PORT),
    };
    let ip = match host.trim_matches(['[', ']']) {
        "*" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        "::" => Ipv6Addr::UNSPECIFIED.into(),
        host => host.parse().ok()?,
    };
    (port != 0).then(|| SocketAddr::new(ip, port))
}

const HTTP_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_nginx_reads() {
        for (text, expected) in [
            ("80", Some("0.0.0.0:80")),
            ("*:8080", Some("0.0.0.0:8080")),
            ("127.0.0.1", Some("127.0.0.1:80")),
            ("[::]:80", Some("[::]:80")),
            ("[::1]", Some("[::1]:80")),
            ("unix:/run/a.sock", None),
            ("example.com:80", None),
            ("0", None),
            ("70000", None),
        ] {
            assert_eq!(
                addr(text).map(|addr| addr.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
