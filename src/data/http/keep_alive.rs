//! For how long a backend keeps a connection that is idle, as it says itself. Pure.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// For how long a connection may be kept idle after a response with these headers, so that it is
/// mostly we who close it: where the backend does, that races with the next request.
///
/// A backend that says `Keep-Alive: timeout=N` gets three quarters of it, at most `IDLE_TIME_MAX`.
/// Of others it is taken that they are no less patient than Node, which closes after 5 s.
pub(super) fn idle_time(headers: &HeaderMap) -> Duration {
    let said = headers.get(KEEP_ALIVE).and_then(timeout);
    said.map_or(IDLE_TIME_USUAL, |said| {
        (said.saturating_mul(3) / 4).min(IDLE_TIME_MAX)
    })
}

/// The `timeout` among the parameters of a `Keep-Alive` (RFC 2068 section 19.7.1.1).
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let parameters = value.to_str().ok()?.split(',');
    let seconds = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim().parse().ok())?
    });
    seconds.map(Duration::from_secs).next()
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const IDLE_TIME_USUAL: Duration = Duration::from_secs(4);
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Duration) {
        let headers = HeaderMap::from_iter([(KEEP_ALIVE, HeaderValue::try_from(value).unwrap())]);
        assert_eq!(idle_time(&headers), expected, "{value}");
    }

    #[test]
    fn what_the_backend_says_counts() {
        assert_eq!(idle_time(&HeaderMap::new()), IDLE_TIME_USUAL);
        check("timeout=5", Duration::from_millis(3750));
        check("max=100, Timeout = 2", Duration::from_millis(1500));
        check("timeout=0", Duration::ZERO);
        check("timeout=65", IDLE_TIME_MAX);
        check(&format!("timeout={}", u64::MAX), IDLE_TIME_MAX);
    }

    #[test]
    fn what_cannot_be_read_does_not() {
        for value in [
            "",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=1s",
            "xtimeout=1",
        ] {
            check(value, IDLE_TIME_USUAL);
        }
    }
}
