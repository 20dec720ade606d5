//! One value of the document that has a place, but no key of ours.

use std::{cell::RefCell, fmt::Display};

use serde_saphyr::Spanned;

use crate::config::{
    diagnostic::Diagnostic,
    document::{Document, Node},
    section::Section,
};

/// One element of a list, or one value of a map.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) document: &'a Document,
    pub(super) faults: &'a RefCell<Vec<Diagnostic>>,
    pub(super) path: String,
    pub(super) node: &'a Spanned<Node>,
}

impl<'a> Item<'a> {
    /// The element as a map.
    pub(super) fn section(self) -> Section<'a> {
        Section::new(self.document, self.faults, self.path, Some(self.node))
    }

    /// The element as a plain value; `None` if it is none.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Node::Scalar(text) => Some(text),
            Node::Null | Node::List(_) | Node::Map(_) => None,
        }
    }

    /// Reports a fault of this element.
    pub(super) fn fault(&self, message: impl Display) {
        let message = format!("{} {message}", self.path);
        let place = self.document.place(self.node.referenced);
        self.faults.borrow_mut().push(Diagnostic { place, message });
    }
}
