//! The reference page of the file (`weir config reference`).

use std::fmt::Write as _;

use crate::config::{
    key::{Absent, Entry, Nested, Table},
    resolve::ROOT,
};

/// The reference page, in Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    write_table(&mut page, &ROOT, "");
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

/// Writes a section's keys, and then the sections below it.
fn write_table(page: &mut String, table: &Table, path: &str) {
    let title = match path {
        "" => "The file",
        path => path,
    };
    // Writing to a text cannot fail.
    let _ = match path {
        "" => writeln!(page, "\n## {title}\n"),
        _ => writeln!(page, "\n## `{title}`\n"),
    };
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in table.keys {
        write_key(page, *key);
    }
    for key in table.keys {
        write_below(page, *key, path);
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

fn write_below(page: &mut String, key: &dyn Entry, path: &str) {
    let dotted = |suffix: &str| match path {
        "" => format!("{}{suffix}", key.name()),
        path => format!("{path}.{}{suffix}", key.name()),
    };
    // The same section may stand at several places; it is described at the first.
    let is_repeated =
        path.is_empty() && key.name() == "health_check" || key.name() == "response_headers";
    match key.kind().nested() {
        None => {}
        Some(_) if is_repeated || path.is_empty() && key.name() == "backends" => {}
        Some(Nested::One(table)) => write_table(page, table, &dotted("")),
        Some(Nested::Named(table)) => write_table(page, table, &dotted(".NAME")),
        Some(Nested::Each(table)) => write_table(page, table, &dotted("[]")),
    }
}
