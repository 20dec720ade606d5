//! What a route adds to the headers of its messages, and takes from them. Pure.

use http::{HeaderName, HeaderValue};

/// Changes to the headers of one direction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderRules {
    /// Headers that go; applied first.
    pub remove: Vec<HeaderName>,
    /// Headers that replace whatever came.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    /// Whether a field of this name is removed or replaced. Costs a comparison for each rule.
    pub fn touches(&self, name: &[u8]) -> bool {
        let is = |rule: &HeaderName| name.eq_ignore_ascii_case(rule.as_str().as_bytes());
        self.remove.iter().any(is) || self.set.iter().any(|(rule, _)| is(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_set_is_touched() {
        let rules = HeaderRules {
            remove: vec![HeaderName::from_static("a")],
            set: vec![(
                HeaderName::from_static("b"),
                HeaderValue::from_static("new"),
            )],
        };
        assert!(rules.touches(b"A") && rules.touches(b"b"));
        assert!(!rules.touches(b"c") && !rules.touches(b""));
    }
}
