//! The reference page of the file (`weir config reference`).

use std::fmt::Write as _;

use crate::config::{
    key::{Absent, Entry, Nested, Table},
    resolve::ROOT,
};

/// The reference page, in Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut found = Vec::new();
    collect(&ROOT, "", &mut found);
    for described in &found {
        write_table(&mut page, described);
    }
    page
}

const INTRODUCTION: &str = "\
<!-- Written by `weir config reference`; `make reference` writes it again. -->

# Configuration

One YAML file, named with `--config FILE` or `CONFIG_PATH`. A flag wins over the environment, the environment over the file, the file
over the default. `weir check` reads and checks everything without binding a port, and shows all faults at once, each with its file,
line and column. `weir config schema` prints a JSON Schema for editors.

* Durations have units: `500ms`, `2s`, `1m 30s`, `24h`. Sizes have units: `512B`, `48KiB`, `10MiB`. Percentages have their sign.
* Numbers are decimal digits. Where text is meant (a header's value, a name), a number needs quotes: `\"1.10\"`.
* `${VARIABLE}` in a value is replaced from the environment, `${VARIABLE:-default}` also where the variable is not set. `$${` is a plain `${`.
  In `[…]` and `{…}` such a value needs quotes.
* What can be switched off takes `off`, `none` or `false`.
* A key at the top level that begins with `x-` is ignored: a place for YAML anchors.
* A reload (SIGHUP, `weir reload`, or a change of the file) applies everything, but for the keys that say otherwise.

[`config/example.yaml`](../config/example.yaml) and [`config/balancer.yaml`](../config/balancer.yaml) show every key in place.
";

/// A table of keys, and the places in the file where it holds.
struct Described {
    table: &'static Table,
    places: Vec<String>,
}

/// Notes a table and those below it, in the order of the file, each once.
fn collect(table: &'static Table, place: &str, found: &mut Vec<Described>) {
    let known = found
        .iter_mut()
        .find(|described| std::ptr::eq(described.table, table));
    match known {
        Some(described) => described.places.push(place.to_owned()),
        None => found.push(Described {
            table,
            places: vec![place.to_owned()],
        }),
    }
    for key in table.keys {
        let (below, suffix) = match key.kind().nested() {
            None => continue,
            Some(Nested::One(below)) => (below, ""),
            Some(Nested::Named(below)) => (below, ".NAME"),
            Some(Nested::Each(below)) => (below, "[]"),
        };
        let separator = if place.is_empty() { "" } else { "." };
        collect(
            below,
            &format!("{place}{separator}{}{suffix}", key.name()),
            found,
        );
    }
}

fn write_table(page: &mut String, described: &Described) {
    let places: Vec<String> = described
        .places
        .iter()
        .map(|place| format!("`{place}`"))
        .collect();
    let title = match places.as_slice() {
        [root] if root == "``" => "The file".to_owned(),
        places => places.join(", "),
    };
    // Writing to a text cannot fail.
    let _ = writeln!(page, "\n## {title}\n");
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in described.table.keys {
        write_key(page, *key);
    }
}

fn write_key(page: &mut String, key: &dyn Entry) {
    let default = match key.absent() {
        Absent::Is(default) => format!("`{default}`"),
        Absent::Means(words) => words.to_owned(),
        Absent::Required => "must be set".to_owned(),
    };
    let (name, words, doc) = (key.name(), key.kind().words(), key.doc());
    let outside = key.setting().map(|setting| match setting.flag() {
        Some(flag) => format!(" (`{}`, `{flag}`)", setting.variable()),
        None => format!(" (`{}`)", setting.variable()),
    });
    let outside = outside.unwrap_or_default();
    let words = words.replace('|', "\\|");
    let _ = writeln!(page, "| `{name}`{outside} | {words} | {default} | {doc} |");
}
