//! Reads one map of the document key by key, and collects every fault.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use crate::config::{
    diagnostic::Place,
    document::{Node, Scalar, Style},
    item::{Item, number_for_text},
    key::{self, Absent, Key, List, Named, Pairs, SectionOrOff, Table, Value, is_off},
    overrides::Override,
    reading::{Effective, Reading, Source},
};

mod keys;

use keys::refuse_second_keys;

/// A map of the document, with the keys that it may have.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    table: &'static Table,
    /// The dotted path, for messages; empty for the root.
    path: String,
    /// Where it stands; `None` if the document does not have it.
    location: Option<Location>,
    /// False where something else than a map was there, which is reported: then nothing more can
    /// be said of it.
    is_readable: bool,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    /// Keys that unknown ones are most like.
    misspelled: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The document's outermost map.
    pub(super) fn root(reading: &'a Reading<'a>, table: &'static Table) -> Self {
        let root = &reading.document().root;
        Self::new(reading, table, String::new(), Some(root))
    }

    /// Reports at once what needs no value: keys that are unknown, renamed or there twice.
    pub(super) fn new(
        reading: &'a Reading<'a>,
        table: &'static Table,
        path: String,
        node: Option<&'a Spanned<Node>>,
    ) -> Self {
        let mut section = Self {
            reading,
            table,
            path,
            location: node
                .filter(|node| !matches!(node.value, Node::Null))
                .map(|node| node.referenced),
            is_readable: true,
            entries: &[],
            misspelled: Vec::new(),
        };
        match node.map(|node| &node.value) {
            Some(Node::Map(entries)) => section.entries = entries,
            Some(Node::Null) | None => {}
            Some(Node::Faulty) => section.is_readable = false,
            Some(Node::Scalar(_) | Node::List(_)) => {
                section.is_readable = false;
                let example = match table.example {
                    "" => String::new(),
                    example => format!(", for example {example}"),
                };
                let what = match section.path.as_str() {
                    "" => "the configuration",
                    path => path,
                };
                section.fault(format!("{what} must be a map of keys and values{example}"));
            }
        }
        section.misspelled = section.refuse_unknown_keys();
        refuse_second_keys(reading, &section.path, section.entries);
        section
    }

    /// The map under `key`; empty where the document does not have it.
    pub(super) fn section(&self, key: &Key<key::Section>) -> Self {
        self.map(key.name, key.kind.0)
    }

    /// The map under `key`; `None` where `off`, `none` or `false` stands there instead.
    pub(super) fn section_or_off(&self, key: &Key<SectionOrOff>) -> Option<Self> {
        let node = self.node(key.name).map(|node| &node.value);
        let is_off = matches!(node, Some(Node::Scalar(scalar)) if is_off(&scalar.text));
        (!is_off).then(|| self.map(key.name, key.kind.0))
    }

    fn map(&self, name: &str, table: &'static Table) -> Self {
        Section::new(self.reading, table, self.full_path(name), self.node(name))
    }

    /// Whether the document has this section.
    pub(super) fn is_present(&self) -> bool {
        self.location.is_some()
    }

    /// Whether the document has a value for the key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name)
            .is_some_and(|node| !matches!(node.value, Node::Null))
    }

    /// Makes one of the keys a must. Where one is misspelled, that is all that is reported.
    pub(super) fn require(&self, names: &[&str], message: &str) {
        self.require_at(self.own_place(), names, message);
    }

    /// Makes a key a must; `hint` ends the message.
    pub(super) fn require_key<K>(&self, key: &Key<K>, hint: &str) {
        let path = self.full_path(key.name);
        self.require(&[key.name], &format!("{path} is missing{hint}"));
    }

    /// As [`Self::require`], if `name` is there, which is then at fault.
    pub(super) fn require_for(&self, name: &str, names: &[&str], message: &str) {
        if self.has(name) {
            self.require_at(self.key_place(name), names, message);
        }
    }

    fn require_at(&self, place: Place, names: &[&str], message: &str) {
        let is_there = |name: &&str| self.has(name) || self.is_misspelled(name);
        if self.is_readable && !names.iter().any(is_there) {
            self.reading.fault(place, message.to_owned());
        }
    }

    /// Whether it is not known what is in the map under the key: it is misspelled, or no map.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        match self.node(name).map(|node| &node.value) {
            Some(Node::Map(_) | Node::Null) => false,
            Some(Node::Faulty | Node::Scalar(_) | Node::List(_)) => true,
            None => self.is_misspelled(name),
        }
    }

    /// The value of a key with a default, which is also taken where the value is refused.
    pub(super) fn get<K: Value>(&self, key: &Key<K>) -> K::Value {
        self.known(key).unwrap_or_else(|| key.default())
    }

    /// As [`Self::get`], but `None` where the value is refused, or the key misspelled.
    pub(super) fn known<K: Value>(&self, key: &Key<K>) -> Option<K::Value> {
        let given = self.given(key);
        let is_absent = self.override_of(key).is_none() && !self.has(key.name);
        if given.is_none() && is_absent && !self.is_misspelled(key.name) {
            return Some(key.default());
        }
        given
    }

    /// The value of a key, from outside the file if it is given there, else from the file. `None`
    /// where it is absent, and where it is refused, which is reported.
    pub(super) fn given<K: Value>(&self, key: &Key<K>) -> Option<K::Value> {
        debug_assert!(self.knows(key.name), "{} is in no table", key.name);
        let outside = self.override_of(key);
        let inside = self.scalar(key.name);
        let inside_text = inside.map(|scalar| scalar.text.as_str());
        let text = outside.map(|setting| setting.text).or(inside_text);
        self.note(key, text);
        let text = text?;
        let is_number = inside.is_some_and(|scalar| scalar.style == Style::Number);
        let error = match key.kind.parse(text) {
            Ok(_) if K::IS_FREE_TEXT && is_number && outside.is_none() => number_for_text(text),
            Ok(value) => return Some(value),
            Err(error) => format!("{:?} {error}", key.kind.shown(text)),
        };
        let message = match outside {
            Some(_) => error,
            None => format!("{} {error}", self.full_path(key.name)),
        };
        self.reading.fault(self.value_place(key), message);
        None
    }

    /// Notes what holds, for `weir check`.
    fn note<K: Value>(&self, key: &Key<K>, text: Option<&str>) {
        let default = match key.absent {
            Absent::Is(default) => Some(default),
            Absent::Means(_) | Absent::Required => None,
        };
        let Some(effective) = text.or(default) else {
            return;
        };
        self.reading.note(Effective {
            section: self.path.clone(),
            key: key.name,
            text: key.kind.shown(effective),
            source: match text {
                Some(_) => self.source(key),
                None => Source::Default,
            },
        });
    }

    /// Where the value of a key that has one comes from.
    fn source<K>(&self, key: &Key<K>) -> Source {
        if let Some(setting) = self.override_of(key) {
            return Source::Setting(setting.name);
        }
        let line = self.node(key.name).map(|node| node.referenced.line());
        line.map_or(Source::Default, |line| Source::File {
            line: usize::try_from(line).unwrap_or(0),
        })
    }

    /// Notes that a default is lowered or raised by another key.
    pub(super) fn note_effective<K>(&self, key: &Key<K>, value: Duration) {
        let text = humantime::format_duration(value).to_string();
        self.reading.correct(&self.path, key.name, text);
    }

    /// Where the value of a key is given; nowhere if it is not.
    pub(super) fn value_place<K>(&self, key: &Key<K>) -> Place {
        match (self.override_of(key), self.node(key.name)) {
            (Some(setting), _) => Place::Setting(setting.name),
            (None, Some(node)) => self.reading.place(node),
            (None, None) => Place::Nowhere,
        }
    }

    fn override_of<K>(&self, key: &Key<K>) -> Option<Override<'a>> {
        self.reading.overrides().get(key.setting?)
    }

    /// The values of the list under `key`; `None` where the document has no list there. Those that
    /// are refused are left out.
    pub(super) fn list<K: Value>(&self, key: &Key<List<K>>) -> Option<Vec<K::Value>> {
        let items = self.items(key)?;
        let value = |item: Item<'_>| item.value(&key.kind.each);
        Some(items.into_iter().filter_map(value).collect())
    }

    /// The elements of the list under `key`; `None` where the document has no list there.
    pub(super) fn items<K>(&self, key: &Key<List<K>>) -> Option<Vec<Item<'a>>> {
        debug_assert!(self.knows(key.name), "{} is in no table", key.name);
        let node = self.node(key.name)?;
        let path = self.full_path(key.name);
        let nodes = match (&node.value, key.kind.empty) {
            (Node::Null | Node::Faulty, _) => return None,
            (Node::List(nodes), Some(meaning)) if nodes.is_empty() => {
                self.fault_at(key.name, format!("{path} is empty{meaning}"));
                nodes
            }
            (Node::List(nodes), _) => nodes,
            (Node::Scalar(_) | Node::Map(_), _) => {
                let message = format!("{path} must be a list, for example [a, b]");
                self.reading.fault(self.reading.place(node), message);
                return None;
            }
        };
        let item = |(node, number): (&'a Spanned<Node>, usize)| Item {
            reading: self.reading,
            path: format!("{path}[{number}]"),
            node,
        };
        Some(nodes.iter().zip(1..).map(item).collect())
    }

    /// The maps under `key`, each with its name.
    pub(super) fn named(&self, key: &Key<Named>) -> Vec<(&'a str, Self)> {
        let table = key.kind.0;
        let named = |(name, item): (&'a str, Item<'a>)| (name, item.section(table));
        self.open_map(key.name).into_iter().map(named).collect()
    }

    /// The pairs of the map under `key`.
    pub(super) fn pairs(&self, key: &Key<Pairs>) -> Vec<(&'a str, Item<'a>)> {
        self.open_map(key.name)
    }

    /// The entries of a map whose names are the operator's own.
    fn open_map(&self, name: &str) -> Vec<(&'a str, Item<'a>)> {
        debug_assert!(self.knows(name), "{name} is in no table");
        let path = self.full_path(name);
        let entries = match self.node(name).map(|node| (node, &node.value)) {
            Some((_, Node::Map(entries))) => entries.as_slice(),
            Some((_, Node::Null | Node::Faulty)) | None => &[],
            Some((node, Node::Scalar(_) | Node::List(_))) => {
                let message = format!("{path} must be a map of keys and values");
                self.reading.fault(self.reading.place(node), message);
                &[]
            }
        };
        refuse_second_keys(self.reading, &path, entries);
        let entry = |(name, node): &'a (Spanned<String>, Spanned<Node>)| {
            let item = Item {
                reading: self.reading,
                path: format!("{path}.{}", name.value),
                node,
            };
            (name.value.as_str(), item)
        };
        entries.iter().map(entry).collect()
    }

    /// Reports a fault of this section's own, such as a missing key.
    pub(super) fn fault(&self, message: String) {
        self.reading.fault(self.own_place(), message);
    }

    /// Reports a fault of a key itself rather than of its value.
    pub(super) fn fault_at(&self, name: &str, message: String) {
        self.reading.fault(self.key_place(name), message);
    }

    /// What is read with this section.
    pub(super) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    /// The dotted path of a key, for messages.
    pub(super) fn full_path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn own_place(&self) -> Place {
        let document = self.reading.document();
        self.location
            .map_or(Place::Nowhere, |location| document.place(location))
    }

    fn key_place(&self, name: &str) -> Place {
        self.entry(name)
            .map_or(Place::Nowhere, |(name, _)| self.reading.place(name))
    }

    fn scalar(&self, name: &str) -> Option<&'a Scalar> {
        let node = self.node(name)?;
        match &node.value {
            Node::Null | Node::Faulty => None,
            Node::Scalar(scalar) => Some(scalar),
            Node::List(_) | Node::Map(_) => {
                let message = format!("{} must be a single value", self.full_path(name));
                self.reading.fault(self.reading.place(node), message);
                None
            }
        }
    }

    fn node(&self, name: &str) -> Option<&'a Spanned<Node>> {
        self.entry(name).map(|(_, node)| node)
    }

    fn entry(&self, name: &str) -> Option<&'a (Spanned<String>, Spanned<Node>)> {
        self.entries.iter().find(|(key, _)| key.value == name)
    }
}
