//! Kinds of lists and maps.

use serde_json::{Value as Json, json};

use crate::config::{
    key::{Kind, Nested, Table, words::off},
    schema::table,
};

/// A list.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct List<K> {
    pub(in crate::config) each: K,
    /// What an empty list means, if it is a fault: the end of a message.
    pub(in crate::config) empty: Option<&'static str>,
}

impl<K: Kind> Kind for List<K> {
    fn words(&self) -> String {
        format!("list: {}", self.each.words())
    }

    fn schema(&self) -> Json {
        let least = u8::from(self.empty.is_some());
        json!({ "type": "array", "items": self.each.schema(), "minItems": least })
    }

    fn nested(&self) -> Option<Nested> {
        match self.each.nested()? {
            Nested::One(table) => Some(Nested::Each(table)),
            other @ (Nested::Named(_) | Nested::Each(_)) => Some(other),
        }
    }
}

/// A text, or a map whose key `url` is that text.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct TextOrTable<K> {
    pub(in crate::config) text: K,
    pub(in crate::config) table: &'static Table,
}

impl<K: Kind> Kind for TextOrTable<K> {
    fn words(&self) -> String {
        format!("{}; or a map", self.text.words())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.text.schema(), table(self.table)] })
    }

    fn nested(&self) -> Option<Nested> {
        Some(Nested::One(self.table))
    }
}

/// A map.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Section(pub(in crate::config) &'static Table);

impl Kind for Section {
    fn words(&self) -> String {
        "map".to_owned()
    }

    fn schema(&self) -> Json {
        table(self.0)
    }

    fn nested(&self) -> Option<Nested> {
        Some(Nested::One(self.0))
    }
}

/// A map, or `off`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct SectionOrOff(pub(in crate::config) &'static Table);

impl Kind for SectionOrOff {
    fn words(&self) -> String {
        "map; or `off`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [table(self.0), off()] })
    }

    fn nested(&self) -> Option<Nested> {
        Some(Nested::One(self.0))
    }
}

/// Maps by names of the operator's.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Named(pub(in crate::config) &'static Table);

impl Kind for Named {
    fn words(&self) -> String {
        "map of names".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": table(self.0) })
    }

    fn nested(&self) -> Option<Nested> {
        Some(Nested::Named(self.0))
    }
}

/// Names of the operator's, each with a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Pairs(pub(in crate::config) &'static str);

impl Kind for Pairs {
    fn words(&self) -> String {
        self.0.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
