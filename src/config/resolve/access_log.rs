//! `access_log`.

use std::path::{Path, PathBuf};

use crate::config::{AccessLog, LogFormat, LogTarget, section::Section};

/// Reads the section; `None` where nothing is to be logged.
pub(super) fn access_log(section: Section<'_>) -> Option<AccessLog> {
    let format = section.value("format", None, |text| match text {
        "off" | "false" => Ok(None),
        "json" => Ok(Some(LogFormat::Json)),
        "combined" => Ok(Some(LogFormat::Combined)),
        _ => Err("is not a format; there are: off, json, combined"),
    });
    let is_off = matches!(format, Some(None));
    let file = section.value("file", None, |text| match is_off {
        // It is not opened.
        true => Ok(PathBuf::from(text)),
        false => log_file(text),
    });
    if section.is_present() {
        let message = "access_log needs a format: off, json or combined";
        section.require(&["format"], message);
    }
    section.finish();
    Some(AccessLog {
        format: format.flatten()?,
        target: file.map_or(LogTarget::Stdout, LogTarget::File),
    })
}

/// A path that can be opened as far as can be told without creating the file.
fn log_file(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    // A bare name has an empty parent: the working directory.
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    if text.is_empty() {
        return Err("is not the path of a file".to_owned());
    }
    if path.is_dir() || text.ends_with('/') {
        return Err("is a directory".to_owned());
    }
    match parent {
        Some(parent) if !parent.is_dir() => Err(format!(
            "cannot be created: {} is no directory",
            parent.display()
        )),
        Some(_) | None => Ok(path.to_owned()),
    }
}
