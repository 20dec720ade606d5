//! Texts of settings into values with units and bounds.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let hint = "is not an address and port such as 127.0.0.1:8404 or [::]:50051";
    text.parse().map_err(|_source| hint)
}

/// Reads a whole number within bounds.
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    bounds: RangeInclusive<T>,
) -> Result<T, String> {
    match text.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "must be a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        )),
    }
}

/// Reads a duration with its unit, within bounds.
pub(super) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text).map_err(|error| {
        format!("is not a duration with a unit such as 500ms, 2s or 30m ({error})")
    })?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let written = humantime::format_duration;
    Err(format!(
        "must be from {} to {}",
        written(*bounds.start()),
        written(*bounds.end())
    ))
}

/// Reads a size in bytes, with its unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("is not a size with a unit such as 512KiB or 10MiB".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_source| "must begin with a whole number".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "is too large".to_owned())
}

/// Reads a whole number of percent, with its sign, within bounds.
pub(super) fn percent(text: &str, bounds: RangeInclusive<u32>) -> Result<u32, String> {
    let value = text
        .strip_suffix('%')
        .and_then(|digits| digits.trim().parse().ok());
    value
        .filter(|value| bounds.contains(value))
        .ok_or_else(|| format!("must be from {}% to {}%", bounds.start(), bounds.end()))
}

/// Reads `true` or `false`, or another of YAML's words for them.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err("must be true or false"),
    }
}

pub(super) const MILLIS_100: Duration = Duration::from_millis(100);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// The bounds of every timeout that a client must never be able to stretch.
pub(super) const TIMEOUT: RangeInclusive<Duration> = MILLIS_100..=Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units() {
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("1 KiB"), Ok(1024));
        assert_eq!(size("0B"), Ok(0));
        for text in [
            "10",
            "10MB",
            "MiB",
            "-1B",
            "99999999999999999999B",
            "99999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
