//! `request_headers` and `response_headers` of a route.

use http::{HeaderName, HeaderValue, header, uri::Authority};

use crate::{config::section::Section, header_rules::HeaderRules};

/// Reads the section; empty rules where there is none.
pub(super) fn header_rules(section: Section<'_>) -> HeaderRules {
    let mut rules = HeaderRules::default();
    for item in section.items("remove").unwrap_or_default() {
        match removable(item.text().unwrap_or_default()) {
            Ok(name) => rules.remove.push(name),
            Err(error) => item.fault(error),
        }
    }
    for (name, item) in section.pairs("set") {
        match setting(&rules, name, item.text()) {
            Ok(setting) => rules.set.push(setting),
            Err(error) => item.fault(error),
        }
    }
    section.finish();
    rules
}

fn removable(text: &str) -> Result<HeaderName, &'static str> {
    let name = header_name(text)?;
    if name == header::HOST {
        return Err("is Host, which every request needs");
    }
    Ok(name)
}

/// A name and its value that go with the rules before them.
fn setting(
    rules: &HeaderRules,
    name: &str,
    value: Option<&str>,
) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = header_name(name)?;
    let value = value
        .and_then(|value| HeaderValue::from_str(value).ok())
        .ok_or("is not a header value: visible characters on one line")?;
    if name == header::HOST && !is_host(&value) {
        return Err("is not a host such as app.internal:8080");
    }
    if rules.set.iter().any(|(other, _)| *other == name) {
        return Err("is set twice, as upper and lower case are the same");
    }
    if rules.remove.contains(&name) {
        return Err("is removed, too; to set it is enough, as that replaces what came");
    }
    Ok((name, value))
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
