//! nginx's times, sizes and rates.

use std::time::Duration;

/// A time: seconds where there is no unit, and several parts with their units.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut millis: u64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let unit = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(unit)?;
        let factor = match unit {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "M" => 2_592_000_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(factor)?;
        millis = millis.checked_add(part)?;
        rest = behind.trim_start();
    }
    (!text.trim().is_empty()).then(|| Duration::from_millis(millis))
}

/// A size: bytes where there is no unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A rate: requests a second, from `10r/s` or `30r/m`.
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once("r/")?;
    let number: u32 = number
        .parse()
        .ok()
        .filter(|number| (1..=10_000_000).contains(number))?;
    match unit {
        "s" => Some(f64::from(number)),
        // As many digits as tell.
        "m" => Some((f64::from(number) / 60.0 * 1e6).ceil() / 1e6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_rates_have_units() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("30"), Some(30.0));
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("1h 5ms"), Some(3600.005));
        for none in ["", "x", "5x", "s", "9999999999999999999y"] {
            assert_eq!(time(none), None, "{none}");
        }
        assert_eq!(size("10m"), Some(10 << 20));
        assert_eq!(size("8k"), Some(8 << 10));
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("5x"), None);
        assert_eq!(rate("10r/s"), Some(10.0));
        assert_eq!(rate("30r/m"), Some(0.5));
        assert_eq!(rate("0r/s"), None);
        assert_eq!(rate("10"), None);
    }
}
