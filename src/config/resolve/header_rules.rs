//! `request_headers` and `response_headers` of a route.

use http::{HeaderName, HeaderValue, header, uri::Authority};

use crate::{
    config::{
        item::Item,
        key::{Key, List, Pairs, Table, Text},
        section::Section,
    },
    header_rules::HeaderRules,
};

const SET: Key<Pairs> = Key::optional(
    "set",
    Pairs("map of header names and values"),
    "none",
    "Headers to set, replacing any value that they have",
);
const REMOVE: Key<List<Text<HeaderName>>> = Key::optional(
    "remove",
    List {
        each: Text {
            words: "header name",
            parse: |text| removable(text).map_err(str::to_owned),
        },
        empty: None,
    },
    "none",
    "Headers that are left out",
);
pub(super) static HEADER_RULES: Table = Table {
    keys: &[&SET, &REMOVE],
    renamed: &[],
    example: "{ set: { X-Name: value } }",
};

/// Reads the section; empty rules where there is none.
pub(super) fn header_rules(section: &Section<'_>) -> HeaderRules {
    let mut rules = HeaderRules {
        remove: section.list(&REMOVE).unwrap_or_default(),
        ..HeaderRules::default()
    };
    for (name, item) in section.pairs(&SET) {
        match setting(&rules, name, &item) {
            Ok(Some(setting)) => rules.set.push(setting),
            Ok(None) => {}
            Err(error) => item.fault(error),
        }
    }
    rules
}

fn removable(text: &str) -> Result<HeaderName, &'static str> {
    let name = header_name(text)?;
    if name == header::HOST {
        return Err("is Host, which every request needs");
    }
    Ok(name)
}

/// A name and its value that go with the rules before them; `None` where the value is refused, which
/// is reported.
fn setting(
    rules: &HeaderRules,
    name: &str,
    item: &Item<'_>,
) -> Result<Option<(HeaderName, HeaderValue)>, &'static str> {
    let name = header_name(name)?;
    let Some(value) = header_value(item)? else {
        return Ok(None);
    };
    if name == header::HOST && !is_host(&value) {
        return Err("is not a host such as app.internal:8080");
    }
    if rules.set.iter().any(|(other, _)| *other == name) {
        return Err("is set twice, as upper and lower case are the same");
    }
    if rules.remove.contains(&name) {
        return Err("is removed, too; to set it is enough, as that replaces what came");
    }
    Ok(Some((name, value)))
}

/// A header's value; `None` where it is a number without quotes, which is reported.
pub(super) fn header_value(item: &Item<'_>) -> Result<Option<HeaderValue>, &'static str> {
    if item.refuses_number() {
        return Ok(None);
    }
    let value = item
        .text()
        .and_then(|value| HeaderValue::from_str(value).ok());
    value
        .map(Some)
        .ok_or("is not a header value: visible characters on one line")
}

pub(super) fn is_host(value: &HeaderValue) -> bool {
    let authority = Authority::try_from(value.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::try_from(text).map_err(|_source| "is not a header name")?;
    if FRAMING.contains(&name) {
        return Err("belongs to the connection; the balancer sets it itself");
    }
    Ok(name)
}

/// What a rule must not touch: these say where a message ends.
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
