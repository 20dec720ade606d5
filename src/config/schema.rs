//! The JSON Schema of the file, for editors (`weir config schema`).

use serde_json::{Map, Value as Json, json};

use crate::config::{
    key::{Absent, Entry, Table},
    resolve::ROOT,
};

/// The JSON Schema of the configuration file (draft 2020-12).
pub fn schema() -> Json {
    let mut schema = table(&ROOT);
    if let Json::Object(root) = &mut schema {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("Weir's configuration"));
        // YAML anchors need a place, as in Compose files.
        root.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    }
    schema
}

/// The schema of a map.
pub(super) fn table(table: &Table) -> Json {
    let properties: Map<String, Json> = table
        .keys
        .iter()
        .map(|key| (key.name().to_owned(), property(*key)))
        .collect();
    let is_required =
        |key: &&&dyn Entry| key.absent() == Absent::Required && key.setting().is_none();
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(is_required)
        .map(|key| key.name())
        .collect();
    // A key without a value is as good as none, so each may be null, a whole map too.
    json!({
        "type": ["object", "null"],
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &dyn Entry) -> Json {
    let absent = match key.absent() {
        Absent::Is(default) => format!(" Default: {default}"),
        Absent::Means(words) => format!(" Default: {}", words.replace('`', "")),
        Absent::Required => String::new(),
    };
    let words = format!("{}.{absent}", key.doc().replace('`', ""));
    json!({ "description": words, "anyOf": [key.kind().schema(), { "type": "null" }] })
}
