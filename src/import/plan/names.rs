//! Names of upstreams: the source's own, as far as Weir allows them.

use std::collections::HashSet;

use crate::import::remark::Remarks;

/// The names that are taken.
#[derive(Debug, Default)]
pub(in crate::import) struct Names(HashSet<String>);

impl Names {
    /// A free name that is as near to `wanted` as can be. Another one leaves a remark.
    pub(in crate::import) fn take(
        &mut self,
        remarks: &mut Remarks,
        line: usize,
        directive: &str,
        wanted: &str,
    ) -> String {
        let is_fine = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
        let clean: String = wanted
            .chars()
            .take(NAME_CHARS_MAX)
            .map(|char| if is_fine(char) { char } else { '-' })
            .collect();
        // The name `backends` is the short form's.
        let clean = match clean.as_str() {
            "" => "upstream",
            "backends" => "backends-1",
            clean => clean,
        };
        let mut name = clean.to_owned();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{clean}-{number}");
            number += 1;
        }
        if name != wanted {
            remarks.nearly(line, directive, format!("the upstream is called {name}"));
        }
        name
    }
}

const NAME_CHARS_MAX: usize = 100;
