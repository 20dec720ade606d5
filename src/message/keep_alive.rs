//! How long a backend says that it keeps an idle connection.

use std::time::Duration;

use crate::message::{Fields, Kind, tokens};

/// The `timeout` of a `Keep-Alive` field (RFC 2068 section 19.7.1.1), if the backend sent one.
pub fn keep_alive_timeout(fields: &Fields) -> Option<Duration> {
    let mut parameters = tokens(fields.of_kind(Kind::KeepAlive));
    let seconds = parameters.find_map(|parameter| {
        let (name, value) = str::from_utf8(parameter).ok()?.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim().parse().ok())?
    });
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<u64>) {
        let mut fields = Fields::default();
        fields.push(b"Keep-Alive", value.as_bytes());
        let expected = expected.map(Duration::from_secs);
        assert_eq!(keep_alive_timeout(&fields), expected, "{value}");
    }

    #[test]
    fn the_timeout_is_one_of_several_parameters() {
        check("timeout=5", Some(5));
        check("max=100, Timeout = 2", Some(2));
        check("timeout=0", Some(0));
        for value in [
            "",
            "timeout",
            "timeout=",
            "timeout=-1",
            "timeout=1s",
            "xtimeout=1",
        ] {
            check(value, None);
        }
    }
}
