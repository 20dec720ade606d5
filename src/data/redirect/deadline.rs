//! The time limit of one call.

use std::time::Duration;

use http::HeaderValue;

use crate::data::redirect::CallError;

/// The time that a call has: the shorter of the client's limit and ours.
///
/// # Errors
///
/// When the client's limit is malformed.
pub(super) fn timeout(
    grpc_timeout: Option<&HeaderValue>,
    timeout_max: Duration,
) -> Result<Duration, CallError> {
    let Some(value) = grpc_timeout else {
        return Ok(timeout_max);
    };
    let timeout = parse(value).ok_or(CallError::BadRequest("the grpc-timeout is malformed"))?;
    Ok(timeout.min(timeout_max))
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit. `None` for anything else, as in grpc-go.
fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let parse = |text| parse(&HeaderValue::from_static(text));
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_shorter_limit_wins() {
        let limit = Duration::from_secs(10);
        let timeout = |text: &'static str| timeout(Some(&HeaderValue::from_static(text)), limit);
        assert_eq!(timeout("99999999H"), Ok(limit));
        assert_eq!(timeout("3S"), Ok(Duration::from_secs(3)));
        assert!(timeout("3").is_err());
    }
}
