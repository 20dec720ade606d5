//! `request_headers` and `response_headers` of a route.

use http::{HeaderName, HeaderValue, header};

use crate::{config::section::Section, header_rules::HeaderRules};

/// Reads the section; empty rules where there is none.
pub(super) fn header_rules(section: Section<'_>) -> HeaderRules {
    let mut rules = HeaderRules::default();
    for item in section.items("remove").unwrap_or_default() {
        match header_name(item.text().unwrap_or_default()) {
            Ok(name) => rules.remove.push(name),
            Err(error) => item.fault(error),
        }
    }
    for (name, item) in section.pairs("set") {
        let value = item.text().map(HeaderValue::from_str);
        match (header_name(name), value) {
            (Ok(name), Some(Ok(value))) => rules.set.push((name, value)),
            (Err(error), _) => item.fault(error),
            (Ok(_), _) => item.fault("is not a header value: visible characters on one line"),
        }
    }
    section.finish();
    rules
}

fn header_name(text: &str) -> Result<HeaderName, &'static str> {
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
