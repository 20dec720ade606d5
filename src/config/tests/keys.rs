//! The tables of keys, the reader, the schema and the reference page agree.

use serde_json::{Value as Json, json};

use super::*;
use crate::config::{
    key::{Entry, Nested, Table},
    resolve::ROOT,
};

/// Calls `check` with each key, its path in messages, and a document that has this value there.
fn for_each_key(check: Check<'_>) {
    walk(&ROOT, "", &|map| map, check);
}

/// Puts a value into a document.
type Around<'a> = &'a dyn Fn(Json) -> Json;
type Check<'a> = &'a mut dyn FnMut(&dyn Entry, &str, Around<'_>);

fn walk(table: &Table, path: &str, around: Around<'_>, check: Check<'_>) {
    for key in table.keys {
        let name = key.name();
        let dotted = match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let document = |value: Json| around(json!({ name: value }));
        check(*key, &dotted, &document);
        match key.kind().nested() {
            None => {}
            Some(Nested::One(table)) => walk(table, &dotted, &document, check),
            Some(Nested::Named(table)) => {
                let inside = |value: Json| document(json!({ "a": value }));
                walk(table, &format!("{dotted}.a"), &inside, check);
            }
            Some(Nested::Each(table)) => {
                let inside = |value: Json| document(json!([value]));
                walk(table, &format!("{dotted}[1]"), &inside, check);
            }
        }
    }
}

/// A key that no code reads would be accepted and do nothing.
#[test]
fn every_key_is_read() {
    let mut keys = 0;
    for_each_key(&mut |_, path, document| {
        // No key takes any of these, whatever its kind.
        let mut wrong = [json!([[[]]]), json!({ "": [[]] }), json!("\u{1}")].into_iter();
        let is_read = wrong.any(|value| {
            let errors = load_file(&document(value).to_string()).unwrap_err();
            let mut messages = errors.diagnostics().iter().map(|fault| &fault.message);
            // The message about a file without a service names keys, too.
            messages.any(|message| message.starts_with(path))
        });
        assert!(is_read, "{path}");
        keys += 1;
    });
    assert!(keys > 80, "{keys}");
}

/// The example files show every key, so that the tables and the files cannot drift apart.
#[test]
fn the_example_files_show_every_key() {
    let example = include_str!("../../../config/example.yaml");
    let balancer = include_str!("../../../config/balancer.yaml");
    let files = format!("{example}{balancer}");
    let short_form = ["port", "backends", "health_check"];
    let mut keys = 0;
    for_each_key(&mut |key, path, _| {
        let is_short = short_form.iter().any(|key| path.starts_with(key));
        // A whole word: `host` is not shown by `cdn_host`.
        let name = format!("{}:", key.name());
        let is_shown = files.match_indices(&name).any(|(at, _)| {
            let before = files[..at].chars().next_back();
            before.is_none_or(|char| !char.is_alphanumeric() && char != '_')
        });
        assert!(is_short || is_shown, "{path}");
        keys += 1;
    });
    assert!(keys > 80, "{keys}");
}

#[test]
fn texts_of_the_reference_are_complete() {
    let page = crate::config::reference();
    for_each_key(&mut |key, path, _| {
        assert!(page.contains(&format!("`{}`", key.name())), "{path}");
        let doc = key.doc();
        let is_sentence = doc.starts_with(|char: char| char.is_uppercase() || char == '`');
        assert!(is_sentence && !doc.ends_with('.'), "{path}: {doc}");
    });
}

/// `make reference` writes both again.
#[test]
fn the_generated_files_are_up_to_date() {
    let schema = serde_json::to_string_pretty(&crate::config::schema()).unwrap();
    let is_same = |file: &str, text: &str| assert_eq!(file.trim_end(), text.trim_end());
    is_same(
        include_str!("../../../docs/configuration.md"),
        &crate::config::reference(),
    );
    is_same(include_str!("../../../config/schema.json"), &schema);
}
