//! Changes of backends that operators make while the process runs: a layer above the file's
//! settings. A reload that changes the same field of the file wins.

use std::{collections::BTreeMap, num::NonZeroU16};

use crate::config::{AdminState, Upstream, WeightedBackend};

/// What an operator wants of a backend, until further notice or for a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendOverride {
    /// Its weight, if that is changed, and the file's when it was.
    pub weight: Option<Overridden<NonZeroU16>>,
    /// Its state, likewise.
    pub state: Option<Overridden<AdminState>>,
    /// When the file's values return, in milliseconds since 1970; never if `None`.
    pub until_ms: Option<i64>,
}

/// A value, and the one of the file that it stands above.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overridden<T> {
    /// What holds.
    pub value: T,
    /// What the file said when it was set.
    pub file: T,
}

/// Which backend one is for: the upstream's name, and the backend as [`crate::config::BackendAddr`] is
/// written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BackendKey {
    /// The upstream.
    pub upstream: String,
    /// The backend.
    pub backend: String,
}

/// All of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendOverrides(BTreeMap<BackendKey, BackendOverride>);

impl BackendOverrides {
    /// Takes an override, or takes it away.
    pub fn set(&mut self, key: BackendKey, wanted: Option<BackendOverride>) {
        match wanted.filter(|wanted| wanted.weight.is_some() || wanted.state.is_some()) {
            Some(wanted) => self.0.insert(key, wanted),
            None => self.0.remove(&key),
        };
    }

    /// The override of a backend.
    pub fn get(&self, key: &BackendKey) -> Option<&BackendOverride> {
        self.0.get(key)
    }

    /// Each with its backend.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendKey, &BackendOverride)> {
        self.0.iter()
    }

    /// Upstreams of the file, with what operators want of their backends.
    pub fn applied_to(&self, upstreams: &[Upstream]) -> Vec<Upstream> {
        let mut upstreams = upstreams.to_vec();
        if self.0.is_empty() {
            return upstreams;
        }
        for upstream in &mut upstreams {
            for backend in &mut upstream.backends {
                let key = BackendKey::of(&upstream.name, backend);
                let Some(wanted) = self.0.get(&key) else {
                    continue;
                };
                if let Some(weight) = wanted.weight {
                    backend.weight = weight.value;
                }
                if let Some(state) = wanted.state {
                    backend.admin_state = state.value;
                }
            }
        }
        upstreams
    }

    /// Removes the overrides whose backend the file has changed or left out since, and returns them.
    pub fn give_way_to(&mut self, upstreams: &[Upstream]) -> Vec<(BackendKey, BackendOverride)> {
        let backends = upstreams.iter().flat_map(|upstream| {
            let backends = upstream.backends.iter();
            backends.map(|backend| (BackendKey::of(&upstream.name, backend), backend))
        });
        let file: BTreeMap<BackendKey, &WeightedBackend> = backends.collect();
        let is_stale = |key: &BackendKey, wanted: &mut BackendOverride| match file.get(key) {
            None => true,
            Some(backend) => {
                let weight = wanted
                    .weight
                    .is_some_and(|weight| weight.file != backend.weight);
                let state = wanted
                    .state
                    .is_some_and(|state| state.file != backend.admin_state);
                weight || state
            }
        };
        self.0.extract_if(.., is_stale).collect()
    }

    /// Removes the overrides whose time is over, and returns them.
    pub fn expire(&mut self, now_ms: i64) -> Vec<(BackendKey, BackendOverride)> {
        let is_over = |_: &BackendKey, wanted: &mut BackendOverride| {
            wanted.until_ms.is_some_and(|until| until <= now_ms)
        };
        self.0.extract_if(.., is_over).collect()
    }

    /// When the next one is over, in milliseconds since 1970.
    pub fn next_end_ms(&self) -> Option<i64> {
        self.0.values().filter_map(|wanted| wanted.until_ms).min()
    }
}

impl BackendKey {
    /// The key of a backend of the file.
    pub fn of(upstream: &str, backend: &WeightedBackend) -> Self {
        Self {
            upstream: upstream.to_owned(),
            backend: backend.addr.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendAddr, Scheme};

    fn weight(weight: u16) -> NonZeroU16 {
        NonZeroU16::new(weight).unwrap()
    }

    fn upstreams(weights: &[u16]) -> Vec<Upstream> {
        let backend = |(index, &of_file): (usize, &u16)| {
            let addr = BackendAddr {
                scheme: Scheme::Http,
                host: format!("app-{index}"),
                port: 80,
            };
            WeightedBackend {
                weight: weight(of_file),
                ..WeightedBackend::new(addr)
            }
        };
        vec![Upstream::new(
            "app",
            weights.iter().enumerate().map(backend).collect(),
        )]
    }

    fn key(index: usize) -> BackendKey {
        BackendKey {
            upstream: "app".to_owned(),
            backend: format!("app-{index}:80"),
        }
    }

    fn weighs(value: u16, file: u16) -> BackendOverride {
        BackendOverride {
            weight: Some(Overridden {
                value: weight(value),
                file: weight(file),
            }),
            state: None,
            until_ms: None,
        }
    }

    #[test]
    fn they_stand_above_the_file_until_it_changes() {
        let mut overrides = BackendOverrides::default();
        overrides.set(key(0), Some(weighs(7, 1)));
        overrides.set(key(1), Some(weighs(9, 2)));
        let weights = |overrides: &BackendOverrides, file: &[u16]| -> Vec<u16> {
            let applied = overrides.applied_to(&upstreams(file));
            applied[0]
                .backends
                .iter()
                .map(|backend| backend.weight.get())
                .collect()
        };
        assert_eq!(weights(&overrides, &[1, 2, 3]), [7, 9, 3]);
        assert!(overrides.give_way_to(&upstreams(&[1, 2, 4])).is_empty());
        let gone = overrides.give_way_to(&upstreams(&[1, 5]));
        assert_eq!(gone, [(key(1), weighs(9, 2))]);
        assert_eq!(weights(&overrides, &[1, 5]), [7, 5]);
        assert_eq!(overrides.give_way_to(&[]).len(), 1);
    }

    #[test]
    fn a_time_ends() {
        let mut overrides = BackendOverrides::default();
        let until = |until_ms| BackendOverride {
            until_ms: Some(until_ms),
            ..weighs(7, 1)
        };
        overrides.set(key(0), Some(until(100)));
        overrides.set(key(1), Some(until(200)));
        assert_eq!(overrides.next_end_ms(), Some(100));
        assert!(overrides.expire(99).is_empty());
        assert_eq!(overrides.expire(150), [(key(0), until(100))]);
        assert_eq!(overrides.next_end_ms(), Some(200));
        let nothing = BackendOverride {
            weight: None,
            ..until(5)
        };
        overrides.set(key(1), Some(nothing));
        assert_eq!(overrides, BackendOverrides::default());
    }
}
