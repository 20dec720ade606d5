//! `bind` of a frontend or listen.

use crate::import::{
    haproxy::{
        proxy::{Bind, Proxy},
        units::bind_addrs,
        words::Line,
    },
    remark::Remarks,
};

/// Reads `bind ADDRESS[,…] PARAMETER…`.
pub(super) fn bind(proxy: &mut Proxy, line: &Line, remarks: &mut Remarks) {
    let what = line.head(2);
    let (addrs, strays) = bind_addrs(line.word(1));
    for stray in strays {
        let reason = "Weir listens on an IP address and a port";
        remarks.left_out(line.number, &format!("bind {stray}"), reason);
    }
    let mut words = line.rest(2).iter().map(String::as_str);
    while let Some(word) = words.next() {
        let whole = format!("{what} {word}");
        match word {
            "ssl" => {
                let reason = "Weir takes no TLS from clients yet, so there is no such listener";
                return remarks.left_out(line.number, &whole, reason);
            }
            "accept-proxy" => remarks.left_out(line.number, &whole, PROXY_PROTOCOL),
            "v4v6" | "v6only" | "defer-accept" | "transparent" => {}
            "tfo"
            | "allow-0rtt"
            | "no-ca-names"
            | "strict-sni"
            | "prefer-client-ciphers"
            | "accept-netscaler-cip" => {
                remarks.left_out(line.number, &whole, "Weir has no equivalent");
            }
            "name" | "id" | "process" | "thread" | "shards" | "backlog" | "mode" | "user"
            | "group" | "uid" | "gid" | "level" | "mss" | "tcp-ut" | "nice" | "crt"
            | "crt-list" | "ciphers" | "ciphersuites" | "curves" | "ssl-min-ver"
            | "ssl-max-ver" | "ca-file" | "verify" => {
                let _value = words.next();
            }
            "alpn" | "npn" | "proto" => {
                let _protocols = words.next();
                remarks.not_needed(
                    line.number,
                    &whole,
                    "Weir tells HTTP/1.1 and HTTP/2 apart by itself",
                );
            }
            "maxconn" => {
                let _count = words.next();
                remarks.left_out(
                    line.number,
                    &whole,
                    "connections.limit holds for all listeners",
                );
            }
            "interface" | "namespace" => {
                let _name = words.next();
                remarks.left_out(line.number, &whole, "Weir listens on an address alone");
            }
            _ => remarks.left_out(line.number, &whole, "Weir has no equivalent"),
        }
    }
    let binds = addrs.into_iter().map(|addr| Bind {
        line: line.number,
        addr,
    });
    proxy.binds.extend(binds);
}

const PROXY_PROTOCOL: &str = "a listener of tcp takes proxy_protocol_from: [NETWORK] of the proxies in front, one of http takes no PROXY header";
