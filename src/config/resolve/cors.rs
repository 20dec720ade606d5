//! `redirect.cors`.

use url::Url;

use crate::config::{Cors, section::Section};

/// Reads the section; every origin is allowed where there is none.
pub(super) fn cors(section: Option<Section<'_>>) -> Cors {
    let Some(section) = section else {
        return Cors::Off;
    };
    let items = section.some_items("allow_origins", "; write cors: off to allow none");
    let mut origins = Vec::with_capacity(items.len());
    let mut is_any = items.is_empty();
    for item in &items {
        match item.text().unwrap_or_default() {
            "*" => is_any = true,
            text if is_origin(text) => origins.push(text.to_owned()),
            text => item.fault(format!(
                "{text:?} is not an origin such as https://player.example, or \"*\""
            )),
        }
    }
    section.finish();
    match is_any {
        true => Cors::Any,
        false => Cors::Origins(origins),
    }
}

/// Whether the text is what a browser sends as `Origin`.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}
