//! `access_log`.

use std::path::{Path, PathBuf};

use crate::config::{
    AccessLog, LogFormat, LogTarget,
    key::{Choice, Key, OrNone, Table, Text},
    section::Section,
};

const FORMAT: Key<OrNone<Choice<LogFormat>>> = Key::required(
    "format",
    OrNone(Choice(&[
        ("json", LogFormat::Json),
        ("combined", LogFormat::Combined),
    ])),
    "How a line is written: one JSON object, or nginx's combined format with further fields",
);
const FILE: Key<Text<PathBuf>> = Key::optional(
    "file",
    Text {
        words: "path",
        parse: |text| Ok(PathBuf::from(text)),
    },
    "standard output",
    "A file that lines are appended to. Its directory must exist. A reload and SIGUSR1 open it again",
);
pub(super) static ACCESS_LOG: Table = Table {
    keys: &[&FORMAT, &FILE],
    renamed: &[],
    example: "{ format: json }",
};

/// Reads the section; `None` where nothing is to be logged.
pub(super) fn access_log(section: Option<Section<'_>>) -> Option<AccessLog> {
    let section = section?;
    let format = section.given(&FORMAT);
    let is_off = matches!(format, Some(None));
    let file = section.given(&FILE);
    // What is off is not opened.
    if let (Some(file), false) = (&file, is_off)
        && let Err(error) = check(file)
    {
        let message = format!("{} {file:?} {error}", section.full_path(FILE.name));
        section.reading().fault(section.value_place(&FILE), message);
    }
    if section.is_present() {
        let message = "access_log needs a format: off, json or combined";
        section.require(&[FORMAT.name], message);
    }
    Some(AccessLog {
        format: format.flatten()?,
        target: file.map_or(LogTarget::Stdout, LogTarget::File),
    })
}

/// Whether the file can be opened, as far as can be told without creating it.
fn check(path: &Path) -> Result<(), String> {
    // A bare name has an empty parent: the working directory.
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let text = path.as_os_str();
    if text.is_empty() {
        return Err("is not the path of a file".to_owned());
    }
    if path.is_dir() || text.as_encoded_bytes().ends_with(b"/") {
        return Err("is a directory".to_owned());
    }
    match parent {
        Some(parent) if !parent.is_dir() => Err(format!(
            "cannot be created: {} is no directory",
            parent.display()
        )),
        Some(_) | None => Ok(()),
    }
}
