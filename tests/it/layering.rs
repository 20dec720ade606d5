//! A file may use only what stands below it, and the planes never use each other.

use std::{collections::BTreeSet, fs, path::Path};

/// The tiers from the bottom. A module may use its own tier's only where that is itself.
const TIERS: &[&[&str]] = &[
    &["message", "numbers"],
    &["header_rules", "http1", "limit"],
    &[
        "balance",
        "ejection",
        "health",
        "redirect",
        "replication",
        "retry",
        "route",
    ],
    &["config"],
    &["fleet", "state", "store"],
    &["listener", "net", "proto", "shutdown", "telemetry"],
    &["data", "control"],
    &[
        "app",
        "backend",
        "admin_client",
        "check",
        "import",
        "migrate",
    ],
    &["api_commands", "demo", "operate", "top"],
    &["cli"],
];

/// The tiers inside the data plane.
const DATA_TIERS: &[&[&str]] = &[
    &["event_budget", "limited"],
    &["fault", "timer"],
    &["stream"],
    &["context"],
    &["connection", "upstream", "answer", "rate_limit", "relay"],
    &["outcome"],
    &["exchange", "redirect", "tcp", "echo"],
    &["service"],
    &["testing"],
    &["downstream"],
    &["listener"],
    &["worker"],
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

/// No folder of the data plane uses one above it, so that there is no circle but within one.
#[test]
fn arrows_of_the_data_plane_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data");
    let tier_of = |module: &str| DATA_TIERS.iter().position(|tier| tier.contains(&module));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&root) {
        let name = file.strip_prefix(&root).unwrap();
        let module = name.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if module == "mod" {
            continue;
        }
        seen.insert(module.to_owned());
        let text = fs::read_to_string(&file).unwrap();
        for used in used_below(&text, "crate::data::", "data::{") {
            if used != module && tier_of(&used) >= tier_of(module) {
                wrong.push(format!("{} uses data::{used}", name.display()));
            }
        }
    }
    let known: BTreeSet<String> = DATA_TIERS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(seen, known, "every module of the data plane has a tier");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Paths are absolute, so that the tests above see all of them.
#[test]
fn paths_are_absolute() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        if file.to_string_lossy().contains("tests") {
            // A test module sees the files beside it.
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // `use super::*` is how a test module sees the file that it is in.
            let is_relative = code.contains("super::super") || code.contains("super::{");
            if is_relative {
                wrong.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The first segments of all paths below a module, written out or in a group.
fn used_below(text: &str, path: &str, group: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let word = |text: &str| {
        let word = text.trim_start().chars();
        word.take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect::<String>()
    };
    for (at, found) in text.match_indices(path) {
        used.insert(word(&text[at + found.len()..]));
    }
    for (at, found) in text.match_indices(group) {
        let mut depth = 0;
        let rest = &text[at + found.len()..];
        let mut begins = true;
        for (index, char) in rest.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                char if depth == 0 && begins && char.is_alphanumeric() => {
                    used.insert(word(&rest[index..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    used.remove("");
    used
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
