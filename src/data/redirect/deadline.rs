//! The time limit of one call.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::{Instant, Sleep, sleep_until};

/// When a call must have been heard out. Only one that has to wait gets a timer.
#[derive(Debug)]
pub(super) struct Deadline {
    started_at: Instant,
    /// The shorter of the client's limit and ours.
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// A deadline that no client's `grpc-timeout` can stretch.
    pub(super) fn new(
        started_at: Instant,
        grpc_timeout: Option<&HeaderValue>,
        timeout_max: Duration,
    ) -> Self {
        let timeout = grpc_timeout
            .and_then(parse)
            .map_or(timeout_max, |timeout| timeout.min(timeout_max));
        Self {
            started_at,
            timeout,
            timer: None,
        }
    }

    /// The whole time that the call has.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether it has passed. Reads the clock.
    pub(super) fn has_passed(&self) -> bool {
        self.started_at.elapsed() >= self.timeout
    }

    /// Waits for it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.started_at + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        timer.as_mut().poll(cx)
    }
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit. A malformed one is ignored, as tonic does.
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

    #[tokio::test(start_paused = true)]
    async fn the_shorter_limit_wins() {
        let limit = Duration::from_secs(10);
        let started_at = Instant::now();
        let ours = Deadline::new(
            started_at,
            Some(&HeaderValue::from_static("99999999H")),
            limit,
        );
        let mut theirs = Deadline::new(started_at, Some(&HeaderValue::from_static("3S")), limit);
        assert_eq!(
            (ours.timeout(), theirs.timeout()),
            (limit, Duration::from_secs(3))
        );
        assert!(!theirs.has_passed());
        std::future::poll_fn(|cx| theirs.poll(cx)).await;
        assert_eq!(started_at.elapsed(), Duration::from_secs(3));
        assert!(theirs.has_passed() && !ours.has_passed());
    }
}
