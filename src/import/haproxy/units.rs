//! HAProxy's times, sizes and addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// A time: milliseconds where there is no unit.
pub(super) fn time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let micros: u64 = match text.get(digits.len()..)? {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    // Weir's times are whole milliseconds.
    let millis = number.checked_mul(micros)?.div_ceil(1_000);
    Some(Duration::from_millis(millis))
}

/// Where a listener or a server is: a host, and a port if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HostPort {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// The host and port of an address; `None` for a socket of another kind.
pub(super) fn host_port(text: &str) -> Option<HostPort> {
    let text = text
        .strip_prefix("ipv4@")
        .or_else(|| text.strip_prefix("ipv6@"))
        .unwrap_or(text);
    if text.contains(['@', '/', '$']) {
        return None;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some(HostPort {
            host: text.to_owned(),
            port: None,
        });
    };
    Some(HostPort {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: match port {
            "" => None,
            port => Some(port.parse().ok()?),
        },
    })
}

/// The addresses of a `bind`: several behind commas, ranges of ports; what is none of that in the
/// second list.
pub(super) fn bind_addrs(text: &str) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut addrs, mut strays) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        match range(part) {
            Some(range) => addrs.extend(range),
            None => strays.push(part.to_owned()),
        }
    }
    (addrs, strays)
}

fn range(part: &str) -> Option<Vec<SocketAddr>> {
    let bare = part
        .strip_prefix("ipv4@")
        .or_else(|| part.strip_prefix("ipv6@"));
    let (host, ports) = bare.unwrap_or(part).rsplit_once(':')?;
    let ip = match host.trim_matches(['[', ']']) {
        "" | "*" if part.starts_with("ipv6@") => Ipv6Addr::UNSPECIFIED.into(),
        "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
        host => host.parse::<IpAddr>().ok()?,
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let is_range = first != 0 && first <= last && last - first < PORTS_MAX;
    is_range.then(|| {
        (first..=last)
            .map(|port| SocketAddr::new(ip, port))
            .collect()
    })
}

/// Ports of one `bind`: each becomes a listener.
const PORTS_MAX: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("5000"), Some(5.0));
        assert_eq!(seconds("50s"), Some(50.0));
        assert_eq!(seconds("1m"), Some(60.0));
        assert_eq!(seconds("100us"), Some(0.001));
        for none in [
            "",
            "s",
            "5x",
            "-1",
            "99999999999999999999",
            "99999999999999d",
        ] {
            assert_eq!(time(none), None, "{none}");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str], strays: usize) {
        let (addrs, left) = bind_addrs(text);
        let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
        assert_eq!(addrs, expected);
        assert_eq!(left.len(), strays, "{left:?}");
    }

    #[test]
    fn binds_name_addresses() {
        check("*:5433", &["0.0.0.0:5433"], 0);
        check(":80,127.0.0.1:81", &["0.0.0.0:80", "127.0.0.1:81"], 0);
        check(":::80", &["[::]:80"], 0);
        check("[::1]:80", &["[::1]:80"], 0);
        check("ipv6@*:80", &["[::]:80"], 0);
        check(":8000-8001", &["0.0.0.0:8000", "0.0.0.0:8001"], 0);
        check("unix@/run/x,/run/y,example.com:80,:80", &["0.0.0.0:80"], 3);
        check(":9-8", &[], 1);
        check(":1-60000", &[], 1);
    }
}
