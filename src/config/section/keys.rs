//! Keys that a map should not have: unknown, renamed, or there twice.

use std::collections::HashSet;

use serde_saphyr::Spanned;

use crate::config::{
    document::Node,
    key::{Nested, Table},
    reading::Reading,
    resolve::ROOT,
    section::Section,
    variables::is_extension,
};

impl Section<'_> {
    /// Reports unknown keys, and returns the known ones that they are most like.
    pub(super) fn refuse_unknown_keys(&self) -> Vec<&'static str> {
        let is_unknown = |name: &str| {
            let is_extension = self.path.is_empty() && is_extension(name);
            !is_extension && !self.knows(name)
        };
        let keys = self.entries.iter().map(|(key, _)| key);
        let mut unknown = keys.filter(|key| is_unknown(&key.value));
        let mut misspelled = Vec::new();
        for key in unknown.by_ref().take(UNKNOWN_KEYS_MAX) {
            let nearest = self.table.nearest(&key.value);
            let message = self.unknown_key(&key.value, nearest);
            self.reading.fault(self.reading.place(key), message);
            misspelled.extend(nearest);
        }
        let more = unknown.count();
        if more > 0 {
            self.fault(format!("{more} more keys are unknown"));
        }
        misspelled
    }

    fn unknown_key(&self, name: &str, nearest: Option<&str>) -> String {
        let renamed = self.table.renamed.iter().find(|(old, _)| *old == name);
        if let Some((old, new)) = renamed {
            return format!("{} is now called {new}", self.full_path(old));
        }
        let within = match self.path.as_str() {
            "" => String::new(),
            path => format!(" in {path}"),
        };
        if let Some(nearest) = nearest {
            return format!("unknown key `{name}`{within}; did you mean `{nearest}`?");
        }
        if let Some(home) = home_of(name, &ROOT, "") {
            return format!("unknown key `{name}`{within}; it is a key of {home}");
        }
        let known: Vec<&str> = self.table.names().collect();
        let known = known.join(", ");
        format!("unknown key `{name}`{within}; it may be one of: {known}")
    }

    /// Whether an unknown key is most like this one.
    pub(super) fn is_misspelled(&self, name: &str) -> bool {
        self.misspelled.contains(&name)
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.table.names().any(|known| known == name)
    }
}

/// The first section that has a key of this name.
fn home_of(name: &str, table: &Table, path: &str) -> Option<String> {
    table.keys.iter().find_map(|key| {
        let (below, suffix) = match key.kind().nested()? {
            Nested::One(below) => (below, ""),
            Nested::Named(below) => (below, ".NAME"),
            Nested::Each(below) => (below, "[]"),
        };
        let separator = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{separator}{}{suffix}", key.name());
        match below.names().any(|known| known == name) {
            true => Some(path),
            false => home_of(name, below, &path),
        }
    })
}

/// Reports names that are in a map twice.
pub(super) fn refuse_second_keys(
    reading: &Reading<'_>,
    path: &str,
    entries: &[(Spanned<String>, Spanned<Node>)],
) {
    let mut seen = HashSet::with_capacity(entries.len());
    for (key, _) in entries {
        if !seen.insert(key.value.as_str()) {
            let within = match path {
                "" => String::new(),
                path => format!(" in {path}"),
            };
            let message = format!("the key `{}` is there twice{within}", key.value);
            reading.fault(reading.place(key), message);
        }
    }
}

/// A file that is no configuration of ours has thousands.
const UNKNOWN_KEYS_MAX: usize = 20;
