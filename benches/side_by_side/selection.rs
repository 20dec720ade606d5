//! Which parts and rows the words of the command line choose.

use std::error::Error;

use crate::part::Part;

/// What is measured.
#[derive(Debug)]
pub struct Selection {
    /// Parts that have a row to measure; never empty.
    pub parts: Vec<Part>,
    pub rows: RowFilter,
}

impl Selection {
    /// The parts that are named, all of them if none is, with the rows that the other words choose.
    ///
    /// # Errors
    ///
    /// If that leaves no row.
    pub fn from_words(words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (parts, rows): (Vec<String>, Vec<String>) =
            words.partition(|word| !Part::named(word).is_empty());
        let rows = RowFilter(rows);
        let named: Vec<Part> = parts
            .iter()
            .flat_map(|word| Part::named(word))
            .copied()
            .collect();
        let asked = Part::ALL
            .into_iter()
            .filter(|part| named.is_empty() || named.contains(part));
        let has_rows = |part: &Part| part.row_names().iter().any(|name| rows.includes(name));
        let parts: Vec<Part> = asked.clone().filter(has_rows).collect();
        if parts.is_empty() {
            let names: Vec<String> = asked.flat_map(Part::row_names).collect();
            let (words, names) = (rows.0.join(", "), names.join("; "));
            return Err(format!("no row has {words} in its name; there are: {names}").into());
        }
        Ok(Self { parts, rows })
    }
}

/// Words of which a row's name must have at least one; without words every row passes.
#[derive(Debug)]
pub struct RowFilter(Vec<String>);

impl RowFilter {
    pub fn includes(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(word))
    }
}
