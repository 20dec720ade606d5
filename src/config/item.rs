//! One value of the document that has a place, but no key of ours.

use std::fmt::Display;

use serde_saphyr::Spanned;

use crate::config::{
    document::{Node, Style},
    key::{Table, Value},
    reading::Reading,
    section::Section,
};

/// One element of a list, or one value of a map.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) path: String,
    pub(super) node: &'a Spanned<Node>,
}

impl<'a> Item<'a> {
    /// The element as a map with these keys.
    pub(super) fn section(self, table: &'static Table) -> Section<'a> {
        Section::new(self.reading, table, self.path, Some(self.node))
    }

    /// The element as a plain value; `None` if it is none, which is not reported.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Node::Scalar(scalar) => Some(&scalar.text),
            Node::Null | Node::Faulty | Node::List(_) | Node::Map(_) => None,
        }
    }

    /// The element as `kind` reads it; `None` where it is refused, which is reported.
    pub(super) fn value<K: Value>(&self, kind: &K) -> Option<K::Value> {
        if matches!(self.node.value, Node::Faulty) {
            return None;
        }
        let text = self.text().unwrap_or_default();
        if K::IS_FREE_TEXT && self.refuses_number() {
            return None;
        }
        match kind.parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(format!("{text:?} {error}"));
                None
            }
        }
    }

    /// Reports a number where text is meant.
    pub(super) fn refuses_number(&self) -> bool {
        let Node::Scalar(scalar) = &self.node.value else {
            return false;
        };
        let is_number = scalar.style == Style::Number;
        if is_number {
            self.fault(number_for_text(&scalar.text));
        }
        is_number
    }

    /// Reports a fault of this element.
    pub(super) fn fault(&self, message: impl Display) {
        let place = self.reading.place(self.node);
        self.reading
            .fault(place, format!("{} {message}", self.path));
    }
}

/// What is wrong with a number where text is meant.
pub(super) fn number_for_text(text: &str) -> String {
    format!("is text, and {text} is a number to YAML; write \"{text}\"")
}
