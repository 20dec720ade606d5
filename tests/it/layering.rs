//! A file may use only what stands below it, and the planes never use each other.

use std::{collections::BTreeSet, fs, path::Path};

/// The tiers from the bottom. A module may use its own tier's only where that is itself.
const TIERS: &[&[&str]] = &[
    &["message"],
    &["header_rules", "http1"],
    &[
        "balance", "ejection", "health", "redirect", "retry", "route",
    ],
    &["config"],
    &["state"],
    &["listener", "net", "proto", "shutdown", "telemetry"],
    &["data", "control"],
    &["app", "backend", "healthcheck"],
    &["cli", "demo"],
];

#[test]
fn arrows_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let name = file.strip_prefix(&root).unwrap();
        let module = name
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        seen.insert(module.to_owned());
        let text = fs::read_to_string(&file).unwrap();
        for used in modules_used(&text) {
            if used != module && tier(&used) >= tier(module) {
                wrong.push(format!("{} uses crate::{used}", name.display()));
            }
        }
    }
    let known: BTreeSet<String> = TIERS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(seen, known, "every module has a tier");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn tier(module: &str) -> usize {
    TIERS
        .iter()
        .position(|tier| tier.contains(&module))
        .unwrap_or(usize::MAX)
}

/// The first segments of all `crate::…` paths, grouped imports included.
fn modules_used(text: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect::<String>()
    };
    let mut used = BTreeSet::new();
    for (at, found) in text.match_indices("crate::") {
        let rest = &text[at + found.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        for (index, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ if depth == 0
                    && group[..index].trim_end().ends_with([','])
                        | group[..index].trim().is_empty() =>
                {
                    used.insert(word(&group[index..]));
                }
                _ => {}
            }
        }
    }
    used.remove("");
    used
}

fn rust_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let text =
        "use crate::a::B;\nuse crate::{\n    c::{D, e::F},\n    g,\n};\nfn f() { crate::h::i() }";
    let found: Vec<String> = modules_used(text).into_iter().collect();
    assert_eq!(found, ["a", "c", "g", "h"]);
}
