//! Kinds of words and texts.

use std::{fmt::Debug, net::SocketAddr};

use serde_json::{Value as Json, json};

use crate::config::key::{Kind, Value, quantities::is_decimal};

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
        let mut words: Vec<Json> = self.0.iter().map(|&(word, _)| word.into()).collect();
        // As YAML 1.1 reads `off`.
        if self.0.iter().any(|&(word, _)| is_off(word)) {
            words.push(false.into());
        }
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
        // Where no text is meant to be free, the reader takes a number as it is written.
        let kinds: &[&str] = if FREE {
            &["string"]
        } else {
            &["string", "number"]
        };
        json!({ "type": kinds, "description": self.words })
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

/// A value from the environment, of whose text nothing is known.
pub(super) fn variable() -> Json {
    json!({ "type": "string", "pattern": "\\$\\{" })
}

pub(super) fn off() -> Json {
    json!({ "enum": ["off", "none", false] })
}
