//! The documents say what is so: links lead somewhere, configurations are valid, commands exist, and
//! every reason, cause and metric is explained.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use clap::Parser as _;
use weir::{
    cli::Cli,
    redirect::RejectReason,
    state::{Cause, CloseCause},
};

use crate::support::{TestApp, weir};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown files with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "examples"].map(|folder| root().join(folder));
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let markdown = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let documents: Vec<_> = markdown
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(documents.len() >= 10, "{documents:?}");
    documents
}

/// Blocks of code in this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let blocks = text.split(begin.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target}", path.display());
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&file).unwrap());
                assert!(
                    known.contains(anchor),
                    "{}: {target}: {known:?}",
                    path.display()
                );
            }
        }
    }
}

fn check(file: &Path) -> Output {
    let mut check = weir();
    check.args(["check", file.to_str().unwrap()]);
    check.output().unwrap()
}

#[test]
fn configurations_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    let mut check_yaml = |name: &str, text: &str| {
        let file = directory.path().join("weir.yaml");
        fs::write(&file, text).unwrap();
        let output = check(&file);
        let complaints = String::from_utf8_lossy(&output.stderr);
        let is_fine = output.status.success() && complaints.is_empty();
        assert!(is_fine, "{name}: {complaints}");
        checked += 1;
    };
    for (path, text) in documents() {
        for block in blocks(&text, "yaml") {
            check_yaml(&path.display().to_string(), block);
        }
    }
    for folder in ["examples", "config"] {
        for file in fs::read_dir(root().join(folder)).unwrap() {
            let file = file.unwrap().path();
            if file
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let text = fs::read_to_string(&file).unwrap();
                assert!(
                    text.starts_with("# yaml-language-server: $schema="),
                    "{}",
                    file.display()
                );
                check_yaml(&file.display().to_string(), &text);
            }
        }
    }
    assert!(checked >= 12, "{checked}");
}

/// Every shell line that starts Weir has arguments that it takes.
#[test]
fn commands_exist() {
    let mut commands = 0;
    for (path, text) in documents() {
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let line = line.split('#').next().unwrap();
            for command in line.split(['&', '|', '>']) {
                let words = command
                    .split_whitespace()
                    .skip_while(|word| word.contains('='));
                let words: Vec<&str> = words.collect();
                if words.first() != Some(&"weir") {
                    continue;
                }
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{}: {command}: {error}", path.display());
                }
                commands += 1;
            }
        }
    }
    let unit = fs::read_to_string(root().join("deploy/weir.service")).unwrap();
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        let words = line.split_once('=').unwrap().1.split_whitespace();
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
        commands += 1;
    }
    assert!(commands >= 8, "{commands}");
}

/// A page must name each of these in code.
#[track_caller]
fn check_named(page: &str, names: impl Iterator<Item = &'static str>) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    for name in names {
        assert!(
            text.contains(&format!("`{name}`")),
            "{name} is not in {page}"
        );
    }
}

#[test]
fn reasons_and_causes_are_explained() {
    check_named(
        "docs/redirect.md",
        RejectReason::ALL.iter().map(|reason| reason.label()),
    );
    let of_sessions = [Cause::IdleTimeout, Cause::MarkedDown, Cause::ProxyHeader];
    check_named("docs/tcp.md", of_sessions.iter().map(|cause| cause.label()));
    let others = Cause::ALL
        .iter()
        .filter(|cause| !of_sessions.contains(cause));
    check_named("docs/load-balancer.md", others.map(|cause| cause.label()));
    check_named(
        "docs/operations.md",
        CloseCause::ALL.iter().map(|cause| cause.label()),
    );
}

#[tokio::test]
async fn metrics_are_explained() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let app = TestApp::start(
        "",
        "redis: { url: \"unix:///nowhere\" }\naccess_log: { format: json, file: /dev/null }\nhttp:\n  - listen: 127.0.0.1:0\n    routes: [{ upstream: app }]\nupstreams:\n  app: { backends: [\"http://localhost:1\"] }\n",
    );
    let page = app.metrics().await;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = types.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(names.len() > 30, "{page}");
    for name in names {
        assert!(text.contains(name), "{name} is not in docs/operations.md");
    }
}

/// It is what a newcomer reads first.
#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 120);
}
