//! `redirect.cors`.

use url::Url;

use crate::config::{
    Cors,
    key::{Key, List, Table, Text},
    section::Section,
};

const ALLOW_ORIGINS: Key<List<Text<String>>> = Key::optional(
    "allow_origins",
    List {
        each: Text {
            words: "origin such as `https://player.example`, or `*`",
            parse: origin,
        },
        empty: Some("; write cors: off to allow none"),
    },
    "`[\"*\"]`",
    "Origins of web pages, as a browser sends them",
);
pub(super) static CORS: Table = Table {
    keys: &[&ALLOW_ORIGINS],
    renamed: &[],
    example: "{ allow_origins: [\"*\"] }",
};

/// Reads the section; every origin is allowed where there is none.
pub(super) fn cors(section: Option<Section<'_>>) -> Cors {
    let Some(section) = section else {
        return Cors::Off;
    };
    let origins = section.list(&ALLOW_ORIGINS).unwrap_or_default();
    let is_any = origins.is_empty() || origins.iter().any(|origin| origin == "*");
    match is_any {
        true => Cors::Any,
        false => Cors::Origins(origins),
    }
}

/// What a browser sends as `Origin`.
fn origin(text: &str) -> Result<String, String> {
    let is_origin = Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
    match is_origin || text == "*" {
        true => Ok(text.to_owned()),
        false => Err("is not an origin such as https://player.example, or \"*\"".to_owned()),
    }
}
