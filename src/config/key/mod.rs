//! The keys of the configuration file, described once.
//!
//! Each section declares its keys as constants, beside the code that reads them, and lists them in
//! a [`Table`]. The reader, `weir check`, the JSON Schema and the reference page all work from these,
//! so that none can know another key, bound or default than the others.

use std::fmt::Debug;

mod database;
mod password;
mod quantities;
mod redis;
mod secret;
mod shapes;
mod words;

pub(super) use database::DatabaseUrl;
pub(super) use password::PasswordText;
pub(super) use quantities::{Bytes, Percent, Span, Whole};
pub(super) use redis::RedisServer;
pub(super) use secret::Secret;
pub(super) use shapes::{List, Named, Pairs, Section, SectionOrOff, TextOrTable};
pub(super) use words::{Address, Choice, OrNone, Switch, Text, is_off};

use crate::config::overrides::Setting;

/// A key, and what may stand there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<K> {
    pub(super) name: &'static str,
    pub(super) kind: K,
    pub(super) absent: Absent,
    pub(super) doc: &'static str,
    /// The flag and the environment variable that win over the file.
    pub(super) setting: Option<Setting>,
}

/// What holds where the file does not have the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Absent {
    /// This value, as the file would have it.
    Is(&'static str),
    /// What these words say.
    Means(&'static str),
    /// That is a fault.
    Required,
}

impl<K> Key<K> {
    /// A key with a default.
    pub(super) const fn new(
        name: &'static str,
        kind: K,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::described(name, kind, Absent::Is(default), doc)
    }

    /// A key without a default value.
    pub(super) const fn optional(
        name: &'static str,
        kind: K,
        absent: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::described(name, kind, Absent::Means(absent), doc)
    }

    /// A key that must be there.
    pub(super) const fn required(name: &'static str, kind: K, doc: &'static str) -> Self {
        Self::described(name, kind, Absent::Required, doc)
    }

    const fn described(name: &'static str, kind: K, absent: Absent, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            absent,
            doc,
            setting: None,
        }
    }

    /// The same key, which can also be given outside the file.
    pub(super) const fn or_setting(mut self, setting: Setting) -> Self {
        self.setting = Some(setting);
        self
    }
}

impl<K: Value> Key<K> {
    /// The value of an absent key.
    ///
    /// # Panics
    ///
    /// If there is none, or it cannot be read: both show with the first file that is read.
    pub(super) fn default(&self) -> K::Value {
        let Absent::Is(text) = self.absent else {
            panic!("{} has no default", self.name);
        };
        match self.kind.parse(text) {
            Ok(value) => value,
            Err(error) => panic!("the default of {}: {text:?} {error}", self.name),
        }
    }
}

/// What may stand under a key, for those who describe it.
pub(super) trait Kind: Debug + Sync {
    /// The words of the reference page, such as `duration, 100ms to 10m`.
    fn words(&self) -> String;

    /// The JSON Schema.
    fn schema(&self) -> serde_json::Value;

    /// The keys below.
    fn nested(&self) -> Option<Nested> {
        None
    }
}

/// A kind that is one value.
pub(super) trait Value: Kind {
    /// What is read.
    type Value;
    /// Whether the value is text that a number would be mistaken for, so that it needs quotes.
    const IS_FREE_TEXT: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// What is wrong, as the end of a sentence that begins with the text.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;

    /// The text as messages show it: without what is secret.
    fn shown(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// The keys below a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nested {
    /// One map.
    One(&'static Table),
    /// Maps by names of the operator's.
    Named(&'static Table),
    /// A list of maps.
    Each(&'static Table),
}

/// The keys of a map.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) keys: &'static [&'static dyn Entry],
    /// Keys that have another name now: the old and the new one.
    pub(super) renamed: &'static [(&'static str, &'static str)],
    /// How such a map may look, for a message; may be empty.
    pub(super) example: &'static str,
}

impl Table {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name())
    }

    /// The key that is most like an unknown one, if any is like it.
    pub(super) fn nearest(&self, name: &str) -> Option<&'static str> {
        let similarity = |known: &&str| strsim::jaro_winkler(name, known);
        let nearest = self
            .names()
            .max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
        (similarity(&nearest) > 0.75).then_some(nearest)
    }
}

/// Any key.
pub(super) trait Entry: Debug + Sync {
    fn name(&self) -> &'static str;
    fn kind(&self) -> &dyn Kind;
    fn absent(&self) -> Absent;
    fn doc(&self) -> &'static str;
    fn setting(&self) -> Option<Setting>;
}

impl<K: Kind> Entry for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> &dyn Kind {
        &self.kind
    }

    fn absent(&self) -> Absent {
        self.absent
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn setting(&self) -> Option<Setting> {
        self.setting
    }
}
