//! The stage that writes heads anew: the request as backends get it, the response as the client
//! gets it.

use std::io::Write as _;

use crate::{
    header_rules::HeaderRules,
    message::{Fields, Kind, tokens},
};

mod request;
mod response;

pub(super) use request::request;
pub(super) use response::{ResponseFor, interim, response, switch};

/// Fields that are written under a route's rules.
pub(super) struct Ruled<'a> {
    pub(super) fields: &'a mut Fields,
    pub(super) rules: &'a HeaderRules,
}

impl Ruled<'_> {
    pub(super) fn push(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        if !self.rules.touches(name) {
            self.fields.push_as(kind, name, value);
        }
    }

    pub(super) fn push_parts(&mut self, kind: Kind, name: &[u8], parts: &[&[u8]]) {
        if !self.rules.touches(name) {
            self.fields.push_parts(kind, name, parts);
        }
    }

    /// Adds what the rules set.
    pub(super) fn push_set(&mut self) {
        for (name, value) in &self.rules.set {
            self.fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Names that `Connection` may list: each costs a comparison for each field.
pub(in crate::data::exchange) const OPTIONS_MAX: usize = 32;

/// The names that `Connection` lists, which go no further (RFC 9110 section 7.6.1).
pub(super) struct NamedByConnection<'a>(Option<&'a Fields>);

impl<'a> NamedByConnection<'a> {
    pub(super) fn of(fields: &'a Fields) -> Self {
        let is_usual = |option: &[u8]| {
            let usual: [&[u8]; 4] = [b"keep-alive", b"close", b"upgrade", b"te"];
            usual.iter().any(|usual| option.eq_ignore_ascii_case(usual))
        };
        let mut options = tokens(fields.of_kind(Kind::Connection));
        Self(options.any(|option| !is_usual(option)).then_some(fields))
    }

    /// Costs nothing where `Connection` lists no name.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0.is_some_and(|fields| {
            let mut options = tokens(fields.of_kind(Kind::Connection)).take(OPTIONS_MAX);
            options.any(|option| option.eq_ignore_ascii_case(name))
        })
    }
}

/// Says how long a body is.
pub(super) fn push_length(fields: &mut Fields, length: u64) {
    let mut digits = [0; 20];
    let mut rest = &mut digits[..];
    let _fits = write!(rest, "{length}");
    let left = rest.len();
    let digits = digits.get(..20 - left).unwrap_or_default();
    fields.push_as(Kind::ContentLength, b"content-length", digits);
}
