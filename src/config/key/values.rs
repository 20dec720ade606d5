//! Kinds of single values: texts into values with units and bounds.

use std::{
    fmt::{Debug, Display},
    net::SocketAddr,
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use serde_json::{Value as Json, json};

use crate::config::key::{Kind, Value};

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
        pattern("^([0-9]+ ?[a-z]+ ?)+$", &self.words())
    }
}

impl Value for Span {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, String> {
        let value = humantime::parse_duration(text).map_err(|_source| {
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
fn is_decimal(text: &str) -> bool {
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
        pattern("^[0-9]+ ?%$", &self.words())
    }
}

impl Value for Percent {
    type Value = u32;

    fn parse(&self, text: &str) -> Result<u32, String> {
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

/// `true` or `false`, or another of YAML's words for them.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Switch;

impl Kind for Switch {
    fn words(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "boolean" }, { "enum": ["on", "off", "yes", "no"] }, variable()] })
    }
}

impl Value for Switch {
    type Value = bool;

    fn parse(&self, text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" | "none" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

/// One of some words.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Choice<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T: Copy + Debug + Sync> Kind for Choice<T> {
    fn words(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        alternatives(&words)
    }

    fn schema(&self) -> Json {
        let words: Vec<&str> = self.0.iter().map(|&(word, _)| word).collect();
        json!({ "anyOf": [{ "enum": words }, variable()] })
    }
}

impl<T: Copy + Debug + Sync> Value for Choice<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        let found = self.0.iter().find(|&&(word, _)| word == text);
        found.map(|&(_, value)| value).ok_or_else(|| {
            let words: Vec<String> = self.0.iter().map(|&(word, _)| word.to_owned()).collect();
            format!("must be {}", alternatives(&words))
        })
    }
}

fn alternatives(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.join(""),
    }
}

/// A text that `parse` reads. With `FREE`, any text will do, so that a number needs quotes.
#[derive(Clone, Copy)]
pub(in crate::config) struct Text<T, const FREE: bool = false> {
    pub(in crate::config) words: &'static str,
    pub(in crate::config) parse: fn(&str) -> Result<T, String>,
}

impl<T, const FREE: bool> Debug for Text<T, FREE> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words)
    }
}

impl<T, const FREE: bool> Kind for Text<T, FREE> {
    fn words(&self) -> String {
        self.words.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": self.words })
    }
}

impl<T, const FREE: bool> Value for Text<T, FREE> {
    type Value = T;
    const IS_FREE_TEXT: bool = FREE;

    fn parse(&self, text: &str) -> Result<T, String> {
        (self.parse)(text)
    }
}

/// An IP address and a port.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Address;

impl Kind for Address {
    fn words(&self) -> String {
        "address and port".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "description": "an address and port such as 127.0.0.1:8404 or [::]:50051" })
    }
}

impl Value for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Result<SocketAddr, String> {
        let hint = "is not an address and port such as 127.0.0.1:8404 or [::]:50051";
        let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:"));
        text.parse().map_err(|_source| match port {
            Some(port) if is_decimal(port) => {
                format!(
                    "{hint}; write 0.0.0.0:{port} for all IPv4 addresses, [::]:{port} for IPv6 too"
                )
            }
            Some(_) | None if is_decimal(text) => format!("{hint}; write 0.0.0.0:{text}"),
            Some(_) | None => hint.to_owned(),
        })
    }
}

/// What `K` reads, or `none`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct OrNone<K>(pub(in crate::config) K);

impl<K: Value> Kind for OrNone<K> {
    fn words(&self) -> String {
        format!("{}; or `none`", self.0.words())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), off()] })
    }
}

impl<K: Value> Value for OrNone<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        if is_off(text) {
            return Ok(None);
        }
        let value = self.0.parse(text);
        value.map(Some).map_err(|error| format!("{error}, or none"))
    }
}

/// Whether a text switches something off.
pub(in crate::config) fn is_off(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "off" | "none" | "false" | "no"
    )
}

/// A text of a form, or one with a variable.
fn pattern(form: &str, words: &str) -> Json {
    json!({ "type": "string", "anyOf": [{ "pattern": form }, variable()], "description": words })
}

/// A value from the environment, of whose text nothing is known.
fn variable() -> Json {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

pub(super) fn off() -> Json {
    json!({ "enum": ["off", "none", false] })
}
