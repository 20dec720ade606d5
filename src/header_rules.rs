//! What a route adds to the headers of its messages, and takes from them. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to the headers of one direction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderRules {
    /// Headers that go; applied first.
    pub remove: Vec<HeaderName>,
    /// Headers that replace whatever came.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    /// Makes the changes. Costs one look-up for each of them.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_wins_over_what_is_removed() {
        let rules = HeaderRules {
            remove: vec![HeaderName::from_static("a"), HeaderName::from_static("b")],
            set: vec![(
                HeaderName::from_static("a"),
                HeaderValue::from_static("new"),
            )],
        };
        let mut headers = HeaderMap::new();
        for name in ["a", "a", "b", "c"] {
            headers.append(name, HeaderValue::from_static("old"));
        }
        rules.apply(&mut headers);
        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(left, [("c", "old"), ("a", "new")]);
    }
}
