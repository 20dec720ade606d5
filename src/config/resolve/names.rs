//! The names of upstreams, as listeners and routes refer to them.

use std::collections::HashMap;

use crate::config::{
    Scheme, Upstream,
    key::{Key, Text},
    section::Section,
};

/// A key that names an upstream.
pub(super) type UpstreamName = Key<Text<String, true>>;

/// The kind of such a key.
pub(super) const NAME: Text<String, true> = Text {
    words: "name",
    parse: |text| Ok(text.to_owned()),
};

/// The names that there are.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// Each with its index.
    known: HashMap<&'a str, (usize, &'a Upstream)>,
    /// Whether there are no others. False where the file's `upstreams` cannot be read, which is
    /// reported there.
    are_all: bool,
}

/// What an upstream has to speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speaks {
    Http,
    Tcp,
}

impl Speaks {
    /// What an upstream speaks, by its first backend: all are of one kind.
    pub(super) fn of(upstream: &Upstream) -> Self {
        match upstream.backends.first().map(|backend| backend.addr.scheme) {
            Some(Scheme::Tcp) => Self::Tcp,
            Some(Scheme::Http | Scheme::H2c | Scheme::Https) | None => Self::Http,
        }
    }
}

impl<'a> Names<'a> {
    pub(super) fn new(upstreams: &'a [Upstream], are_all: bool) -> Self {
        let named =
            |(index, upstream): (usize, &'a Upstream)| (upstream.name.as_str(), (index, upstream));
        Self {
            known: upstreams.iter().enumerate().map(named).collect(),
            are_all,
        }
    }

    /// The index of the upstream that a key names, or `None` after a fault.
    pub(super) fn find(
        &self,
        section: &Section<'_>,
        key: &UpstreamName,
        speaks: Speaks,
    ) -> Option<usize> {
        let name = section.given(key)?;
        let found = self.index(&name, speaks);
        if let Err(error) = &found {
            let message = format!("{} {name:?} {error}", section.full_path(key.name));
            let place = section.value_place(key);
            section.reading().fault(place, message);
        }
        found.ok()
    }

    fn index(&self, name: &str, speaks: Speaks) -> Result<usize, String> {
        match self.known.get(name) {
            // Without backends it is at fault itself.
            Some((index, upstream))
                if upstream.backends.is_empty() || Speaks::of(upstream) == speaks =>
            {
                Ok(*index)
            }
            Some(_) => Err(match speaks {
                Speaks::Http => "has tcp:// backends, which a listener of `tcp` needs".to_owned(),
                Speaks::Tcp => "has no tcp:// backends, which this listener needs".to_owned(),
            }),
            // Any will do: nothing runs with the upstreams at fault.
            None if !self.are_all => Ok(0),
            None if self.known.is_empty() => Err("is not an upstream; there is none".to_owned()),
            None => {
                let mut names: Vec<&str> = self.known.keys().copied().collect();
                names.sort_unstable();
                names.truncate(NAMES_SHOWN_MAX);
                Err(format!(
                    "is not an upstream; there are: {}",
                    names.join(", ")
                ))
            }
        }
    }
}

const NAMES_SHOWN_MAX: usize = 20;
