//! Kinds of numbers: texts into values with units and bounds.

use std::{
    fmt::{Debug, Display},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use serde_json::{Value as Json, json};

use crate::config::key::{
    Kind, Value,
    words::{is_off, off, variable},
};

/// A duration with its unit.
#[derive(Clone, Debug)]
pub(in crate::config) struct Span(pub(in crate::config) RangeInclusive<Duration>);

impl Kind for Span {
    fn words(&self) -> String {
        format!(
            "duration, {} to {}",
            time(self.0.start()),
            time(self.0.end())
        )
    }

    fn schema(&self) -> Json {
        let span = pattern("^([0-9]+ ?[a-z]+ ?)+$", &self.words());
        match self.0.contains(&Duration::ZERO) {
            true => json!({ "anyOf": [span, off()] }),
            false => span,
        }
    }
}

impl Value for Span {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, String> {
        if is_off(text) && self.0.contains(&Duration::ZERO) {
            return Ok(Duration::ZERO);
        }
        let parsed = match is_decimal(text) {
            true => None,
            false => humantime::parse_duration(text).ok(),
        };
        let value = parsed.ok_or_else(|| {
            let hint = "is not a duration with a unit such as 500ms, 2s or 30m";
            match is_decimal(text) {
                true => format!("{hint}; write {text}s for seconds"),
                false => hint.to_owned(),
            }
        })?;
        if self.0.contains(&value) {
            return Ok(value);
        }
        Err(format!(
            "must be from {} to {}",
            time(self.0.start()),
            time(self.0.end())
        ))
    }
}

fn time(duration: &Duration) -> String {
    const DAY: u64 = 86_400;
    match duration.as_secs() {
        DAY => "24h".to_owned(),
        seconds if seconds > DAY && seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        _ => humantime::format_duration(*duration).to_string(),
    }
}

/// A whole number.
#[derive(Clone, Debug)]
pub(in crate::config) struct Whole<T>(pub(in crate::config) RangeInclusive<T>);

impl<T> Kind for Whole<T>
where
    T: FromStr + PartialOrd + Display + Debug + Sync,
{
    fn words(&self) -> String {
        format!("number, {} to {}", self.0.start(), self.0.end())
    }

    fn schema(&self) -> Json {
        let bound = |bound: &T| bound.to_string().parse::<u64>().ok();
        let number = json!({ "type": "integer", "minimum": bound(self.0.start()), "maximum": bound(self.0.end()) });
        json!({ "anyOf": [number, variable()] })
    }
}

impl<T> Value for Whole<T>
where
    T: FromStr + PartialOrd + Display + Debug + Sync,
{
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        // Not `0x1F`, `1_000`, `+5` or `0123`, which YAML versions and people read in several ways.
        let number = text.parse().ok().filter(|_number| is_decimal(text));
        number
            .filter(|number| self.0.contains(number))
            .ok_or_else(|| {
                let (from, to) = (self.0.start(), self.0.end());
                format!("must be a whole number from {from} to {to}")
            })
    }
}

/// Digits without a leading zero.
pub(super) fn is_decimal(text: &str) -> bool {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits && (text == "0" || !text.starts_with('0'))
}

/// A size in bytes, with its unit.
#[derive(Clone, Debug)]
pub(in crate::config) struct Bytes<T>(pub(in crate::config) RangeInclusive<T>);

impl<T> Kind for Bytes<T>
where
    T: TryFrom<u64> + Into<u64> + Copy + PartialOrd + Debug + Sync,
{
    fn words(&self) -> String {
        match (*self.0.end()).into() {
            u64::MAX => "size".to_owned(),
            end => format!(
                "size, {} to {}",
                bytes((*self.0.start()).into()),
                bytes(end)
            ),
        }
    }

    fn schema(&self) -> Json {
        pattern("^[0-9]+ ?(B|KiB|MiB|GiB)$", &self.words())
    }
}

impl<T> Value for Bytes<T>
where
    T: TryFrom<u64> + Into<u64> + Copy + PartialOrd + Debug + Sync,
{
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        let size = T::try_from(size(text)?).ok();
        size.filter(|size| self.0.contains(size)).ok_or_else(|| {
            let (from, to) = ((*self.0.start()).into(), (*self.0.end()).into());
            format!("must be from {} to {}", bytes(from), bytes(to))
        })
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("is not a size with a unit such as 512KiB or 10MiB".to_owned()),
    };
    if !is_decimal(digits) {
        return Err("must begin with a whole number".to_owned());
    }
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "is too large".to_owned())
}

/// The shortest way to write a size.
fn bytes(size: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |&(shift, _): &(u32, &str)| size != 0 && size.trailing_zeros() >= shift;
    match units.into_iter().find(fits) {
        Some((shift, unit)) => format!("{}{unit}", size >> shift),
        None => format!("{size}B"),
    }
}

/// A whole number of percent, with its sign.
#[derive(Clone, Debug)]
pub(in crate::config) struct Percent(pub(in crate::config) RangeInclusive<u32>);

impl Kind for Percent {
    fn words(&self) -> String {
        format!("percentage, {}% to {}%", self.0.start(), self.0.end())
    }

    fn schema(&self) -> Json {
        let percent = pattern("^[0-9]+ ?%$", &self.words());
        match self.0.contains(&0) {
            true => json!({ "anyOf": [percent, off()] }),
            false => percent,
        }
    }
}

impl Value for Percent {
    type Value = u32;

    fn parse(&self, text: &str) -> Result<u32, String> {
        if is_off(text) && self.0.contains(&0) {
            return Ok(0);
        }
        let digits = text.strip_suffix('%').map(str::trim);
        let number = |digits: &str| digits.parse().ok().filter(|number| self.0.contains(number));
        let bounds = format!("must be from {}% to {}%", self.0.start(), self.0.end());
        match digits {
            Some(digits) if is_decimal(digits) => number(digits).ok_or(bounds),
            None if number(text).is_some() => Err(format!("needs its sign; write {text}%")),
            Some(_) | None => Err(bounds),
        }
    }
}

/// A text of a form, or one with a variable.
fn pattern(form: &str, words: &str) -> Json {
    json!({ "type": "string", "anyOf": [{ "pattern": form }, variable()], "description": words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units() {
        for (text, expected) in [("10MiB", 10 << 20), ("1 KiB", 1024), ("0B", 0)] {
            assert_eq!(size(text), Ok(expected), "{text}");
            let written = bytes(expected);
            assert_eq!(size(&written), Ok(expected), "{written}");
        }
        for text in [
            "10",
            "10MB",
            "MiB",
            "-1B",
            "01B",
            "99999999999999999999B",
            "99999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
