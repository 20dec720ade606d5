//! Values that Weir's own reader must take.

use std::time::Duration;

use url::Host;

use crate::{import::plan::Scheme, redirect, route::normal_path};

/// A route's path in the one way that routes are compared in.
pub(in crate::import) fn route_path(text: &str) -> Option<String> {
    let is_plain = text.starts_with('/')
        && text.len() <= PATH_BYTES_MAX
        && !text.contains(['?', '#', '*', '$'])
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let path = is_plain
        .then(|| normal_path(text).ok())
        .flatten()?
        .into_owned();
    // What is normal once may hold escapes that only look like ones.
    let is_settled = normal_path(&path).is_ok_and(|again| again == path) && !path.contains('*');
    is_settled.then_some(path)
}

/// A route's host, without a port.
pub(in crate::import) fn host_name(text: &str) -> Option<String> {
    match Host::parse(text).ok()? {
        Host::Domain(name) if !is_host_name(&name) => None,
        Host::Domain(name) => Some(name.trim_end_matches('.').to_owned()),
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(format!("[{ip}]")),
    }
}

/// A backend's URL, if its host is one. IPv6 addresses may have brackets.
pub(in crate::import) fn backend_url(scheme: Scheme, host: &str, port: u16) -> Option<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bracketed = match bare.contains(':') {
        true => format!("[{bare}]"),
        false => bare.to_owned(),
    };
    let host = match Host::parse(&bracketed).ok()? {
        Host::Domain(name) if !is_host_name(&name) => return None,
        Host::Domain(name) => name,
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => format!("[{ip}]"),
    };
    (port != 0).then(|| format!("{}://{host}:{port}", scheme.as_str()))
}

fn is_host_name(name: &str) -> bool {
    redirect::is_host_name(name.strip_suffix('.').unwrap_or(name))
}

/// A duration with the unit that people would give it.
pub(in crate::import) fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_millis());
    match seconds {
        _ if u128::from(seconds) * 1000 != millis => format!("{millis}ms"),
        7200.. if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        120.. if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// A look-up goes up a path segment by segment.
const PATH_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal_or_none() {
        let path = |text| route_path(text);
        assert_eq!(path("/api/").as_deref(), Some("/api/"));
        assert_eq!(path("//a/../b").as_deref(), Some("/b"));
        for none in ["api", "/a?b", "/a*", "", "/a b"] {
            assert_eq!(path(none), None, "{none}");
        }
    }

    #[test]
    fn durations_are_short() {
        let written = |millis| duration_text(Duration::from_millis(millis));
        assert_eq!(written(1500), "1500ms");
        assert_eq!(written(50_000), "50s");
        assert_eq!(written(60_000), "60s");
        assert_eq!(written(600_000), "10m");
        assert_eq!(written(7_200_000), "2h");
        assert_eq!(written(0), "0s");
    }
}
