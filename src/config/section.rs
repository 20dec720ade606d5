//! Reads one map of the document key by key, and collects every fault.

use std::{cell::RefCell, fmt::Display};

use serde_saphyr::{Location, Spanned};

use crate::config::{
    diagnostic::{Diagnostic, Place},
    document::{Document, Node},
    item::Item,
    overrides::Override,
};

/// A map of the document. Each accessor takes one key; `finish` reports the keys that none took.
#[derive(Debug)]
pub(super) struct Section<'a> {
    document: &'a Document,
    faults: &'a RefCell<Vec<Diagnostic>>,
    /// The dotted path, for messages; empty for the root.
    path: String,
    /// Where it stands; `None` if the document does not have it.
    location: Option<Location>,
    /// False where something else than a map was there, which is reported: then nothing more can
    /// be said of it.
    is_readable: bool,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    taken: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<Missing>>,
    /// Keys that have another name now.
    renamed: RefCell<Vec<&'static str>>,
}

/// A fault of keys of which none is there. Whether one is misspelled, only `finish` can tell.
#[derive(Debug)]
struct Missing {
    keys: &'static [&'static str],
    place: Place,
    message: String,
}

impl<'a> Section<'a> {
    /// The document's outermost map.
    pub(super) fn root(document: &'a Document, faults: &'a RefCell<Vec<Diagnostic>>) -> Self {
        Self::new(document, faults, String::new(), Some(&document.root))
    }

    pub(super) fn new(
        document: &'a Document,
        faults: &'a RefCell<Vec<Diagnostic>>,
        path: String,
        node: Option<&'a Spanned<Node>>,
    ) -> Self {
        let location = node.map(|node| node.referenced);
        let mut section = Self {
            document,
            faults,
            path,
            location,
            is_readable: true,
            entries: &[],
            taken: RefCell::default(),
            missing: RefCell::default(),
            renamed: RefCell::default(),
        };
        match node.map(|node| &node.value) {
            Some(Node::Map(entries)) => section.entries = entries,
            Some(Node::Null) | None => {}
            Some(Node::Scalar(_) | Node::List(_)) => {
                section.is_readable = false;
                let what = if section.path.is_empty() {
                    "the configuration"
                } else {
                    &section.path
                };
                section.fault(format!("{what} must be a map of keys and values"));
            }
        }
        section
    }

    /// The map under `key`; empty where the document does not have it.
    pub(super) fn section(&self, key: &'static str) -> Self {
        Section::new(
            self.document,
            self.faults,
            self.full_path(key),
            self.take(key),
        )
    }

    /// The map under `key`; `None` where `off`, `none` or `false` stands there instead.
    pub(super) fn section_or_off(&self, key: &'static str) -> Option<Self> {
        let is_off = matches!(
            self.take(key).map(|node| &node.value),
            Some(Node::Scalar(text)) if matches!(text.as_str(), "off" | "none" | "false")
        );
        (!is_off).then(|| self.section(key))
    }

    /// Whether the document has this section.
    pub(super) fn is_present(&self) -> bool {
        self.location.is_some()
    }

    /// Whether the document has a value for `key`.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.take(key)
            .is_some_and(|node| !matches!(node.value, Node::Null))
    }

    /// Makes one of `keys` a must. Where one is misspelled, that is all that is reported.
    pub(super) fn require(&self, keys: &'static [&'static str], message: &str) {
        self.note_missing(keys, self.own_place(), message);
    }

    /// As [`Self::require`], if `key` is there, which is then at fault.
    pub(super) fn require_for(
        &self,
        key: &'static str,
        keys: &'static [&'static str],
        message: &str,
    ) {
        if self.has(key) {
            self.note_missing(keys, self.key_place(key), message);
        }
    }

    /// Whether it is not known what is in the map under `key`: it is misspelled, or no map. To be
    /// asked last, when all keys that it may be confused with were read.
    pub(super) fn is_unreadable(&self, key: &'static str) -> bool {
        match self.take(key).map(|node| &node.value) {
            Some(Node::Map(_) | Node::Null) => false,
            Some(Node::Scalar(_) | Node::List(_)) => true,
            None => self.is_misspelled(key),
        }
    }

    /// As [`Self::value`], but `default` where `key` is absent; `None` where it is refused or
    /// misspelled.
    pub(super) fn value_or<T, E: Display>(
        &self,
        key: &'static str,
        outside: Option<Override<'_>>,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let is_given = outside.is_some() || self.has(key) || self.is_misspelled(key);
        if is_given {
            return self.value(key, outside, parse);
        }
        Some(default)
    }

    /// The value of `key`, from outside the file if it is given there, else from the file.
    /// `None` where it is absent, and where `parse` refuses it, which is reported.
    pub(super) fn value<T, E: Display>(
        &self,
        key: &'static str,
        outside: Option<Override<'_>>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let inside = self.scalar(key);
        let text = outside.map(|setting| setting.text).or(inside)?;
        let error = match parse(text) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let name = match outside {
            Some(_) => String::new(),
            None => format!("{} ", self.full_path(key)),
        };
        let place = self.place(key, outside);
        self.report(place, format!("{name}{text:?} {error}"));
        None
    }

    /// The value of `key`, which may also be `none`, and is that where it is absent.
    pub(super) fn value_or_none<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parse = |text: &str| match text {
            "none" => Ok(None),
            _ => parse(text)
                .map(Some)
                .map_err(|error| format!("{error}, or none")),
        };
        self.value(key, None, parse).flatten()
    }

    /// As [`Self::value_or_none`], but `default` where it is absent.
    pub(super) fn value_or_none_by_default<T, E: Display>(
        &self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.has(key) {
            true => self.value_or_none(key, parse),
            false => Some(default),
        }
    }

    /// Reports a key that has another name now.
    pub(super) fn renamed(&self, old: &'static str, new: &'static str) {
        if let Some((name, _)) = self.entry(old) {
            let place = self.document.place(name.referenced);
            let old = self.full_path(old);
            self.report(place, format!("{old} is now called {new}"));
        }
        self.taken.borrow_mut().retain(|&key| key != old);
        self.renamed.borrow_mut().push(old);
    }

    /// Where the value of `key` is given; nowhere if it is not.
    pub(super) fn place(&self, key: &'static str, outside: Option<Override<'_>>) -> Place {
        match (outside, self.take(key)) {
            (Some(setting), _) => Place::Setting(setting.name),
            (None, Some(node)) => self.document.place(node.referenced),
            (None, None) => Place::Nowhere,
        }
    }

    /// The elements of the list under `key`; none where the document has no list there. An empty
    /// list is reported as that, with what it means.
    pub(super) fn some_items(&self, key: &'static str, meaning: &str) -> Vec<Item<'a>> {
        let items = self.items(key);
        if items.as_ref().is_some_and(Vec::is_empty) {
            self.fault_at(key, format!("{} is empty{meaning}", self.full_path(key)));
        }
        items.unwrap_or_default()
    }

    /// The elements of the list under `key`; `None` where the document has no list there.
    pub(super) fn items(&self, key: &'static str) -> Option<Vec<Item<'a>>> {
        let node = self.take(key)?;
        let path = self.full_path(key);
        let nodes = match &node.value {
            Node::Null => return None,
            Node::List(nodes) => nodes,
            Node::Scalar(_) | Node::Map(_) => {
                let message = format!("{path} must be a list, for example [a, b]");
                self.report(self.document.place(node.referenced), message);
                return None;
            }
        };
        let item = |(node, number): (&'a Spanned<Node>, usize)| Item {
            document: self.document,
            faults: self.faults,
            path: format!("{path}[{number}]"),
            node,
        };
        Some(nodes.iter().zip(1..).map(item).collect())
    }

    /// The maps under `key`, each with its name, where the names are the operator's own.
    pub(super) fn named(&self, key: &'static str) -> Vec<(&'a str, Self)> {
        let section = self.section(key);
        let named = |(name, node): &'a (Spanned<String>, Spanned<Node>)| {
            let path = section.full_path(&name.value);
            (
                name.value.as_str(),
                Section::new(self.document, self.faults, path, Some(node)),
            )
        };
        section.entries.iter().map(named).collect()
    }

    /// The pairs of the map under `key`, where the names are the operator's own.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(&'a str, Item<'a>)> {
        let section = self.section(key);
        let pair = |(name, node): &'a (Spanned<String>, Spanned<Node>)| {
            let item = Item {
                document: section.document,
                faults: section.faults,
                path: section.full_path(&name.value),
                node,
            };
            (name.value.as_str(), item)
        };
        section.entries.iter().map(pair).collect()
    }

    /// Reports a fault of this section's own, such as a missing key.
    pub(super) fn fault(&self, message: String) {
        self.report(self.own_place(), message);
    }

    /// Reports a fault of a key itself rather than of its value.
    pub(super) fn fault_at(&self, key: &'static str, message: String) {
        self.report(self.key_place(key), message);
    }

    /// How many faults of the document were reported so far.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.borrow().len()
    }

    /// Reports a fault at a place of this document.
    pub(super) fn report(&self, place: Place, message: String) {
        self.faults.borrow_mut().push(Diagnostic { place, message });
    }

    /// Reports every key that no accessor took, with the nearest one that exists, and what is
    /// missing.
    pub(super) fn finish(self) {
        let known = self.taken.borrow();
        for (key, _) in self.entries {
            let is_renamed = self.renamed.borrow().contains(&key.value.as_str());
            // YAML anchors need a place, as in Compose files.
            let is_extension = self.path.is_empty() && key.value.starts_with("x-");
            if is_renamed || is_extension || known.contains(&key.value.as_str()) {
                continue;
            }
            let within = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in {}", self.path)
            };
            let message = match nearest(&key.value, &known) {
                Some(name) => format!(
                    "unknown key `{}`{within}; did you mean `{name}`?",
                    key.value
                ),
                None => format!(
                    "unknown key `{}`{within}; it may be one of: {}",
                    key.value,
                    known.join(", ")
                ),
            };
            self.report(self.document.place(key.referenced), message);
        }
        for missing in self.missing.take() {
            if !missing.keys.iter().any(|key| self.is_misspelled(key)) {
                self.report(missing.place, missing.message);
            }
        }
    }

    fn note_missing(&self, keys: &'static [&'static str], place: Place, message: &str) {
        let is_there = keys.iter().any(|key| self.has(key));
        if self.is_readable && !is_there {
            self.missing.borrow_mut().push(Missing {
                keys,
                place,
                message: message.to_owned(),
            });
        }
    }

    /// Whether a key that was not read so far is most like `key`.
    fn is_misspelled(&self, key: &str) -> bool {
        let known = self.taken.borrow();
        let names = self.entries.iter().map(|(name, _)| name.value.as_str());
        let mut unknown = names.filter(|name| !known.contains(name));
        unknown.any(|name| nearest(name, &known) == Some(key))
    }

    fn own_place(&self) -> Place {
        self.location
            .map_or(Place::Nowhere, |location| self.document.place(location))
    }

    fn key_place(&self, key: &'static str) -> Place {
        self.entry(key).map_or(Place::Nowhere, |(name, _)| {
            self.document.place(name.referenced)
        })
    }

    fn scalar(&self, key: &'static str) -> Option<&'a str> {
        let node = self.take(key)?;
        match &node.value {
            Node::Null => None,
            Node::Scalar(text) => Some(text),
            Node::List(_) | Node::Map(_) => {
                let message = format!("{} must be a single value", self.full_path(key));
                self.report(self.document.place(node.referenced), message);
                None
            }
        }
    }

    fn take(&self, key: &'static str) -> Option<&'a Spanned<Node>> {
        self.entry(key).map(|(_, node)| node)
    }

    fn entry(&self, key: &'static str) -> Option<&'a (Spanned<String>, Spanned<Node>)> {
        let mut taken = self.taken.borrow_mut();
        if !taken.contains(&key) {
            taken.push(key);
        }
        self.entries.iter().find(|(name, _)| name.value == key)
    }

    /// The dotted path of `key`, for messages.
    pub(super) fn full_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.path)
    }
}

fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let similarity = |name: &&str| strsim::jaro_winkler(key, name);
    let nearest = known
        .iter()
        .copied()
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    (similarity(&nearest) > 0.75).then_some(nearest)
}
