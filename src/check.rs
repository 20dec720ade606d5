//! `weir check`: what is read, what is wrong with it, and what would run.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::config::{Checked, Config, ConfigErrors, Diagnostic, Environment, Flags, Place};

/// How the result is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum CheckFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The result of a check.
#[derive(Debug)]
pub struct CheckReport {
    /// What goes to standard output.
    pub output: String,
    /// What goes to standard error.
    pub complaints: String,
    /// Whether the configuration can run.
    pub is_valid: bool,
}

/// Reads and checks the configuration.
pub fn check(flags: &Flags, environment: &Environment, format: CheckFormat) -> CheckReport {
    let checked = Config::check(flags, environment);
    let is_valid = checked.is_ok();
    let (output, complaints) = match format {
        CheckFormat::Text => text(flags, environment, &checked),
        CheckFormat::Json => {
            let report = object(flags, environment, &checked);
            (format!("{report:#}\n"), String::new())
        }
    };
    CheckReport {
        output,
        complaints,
        is_valid,
    }
}

fn text(
    flags: &Flags,
    environment: &Environment,
    checked: &Result<Checked, ConfigErrors>,
) -> (String, String) {
    let mut complaints = String::new();
    for diagnostic in diagnostics(checked) {
        // Writing to a text cannot fail.
        let _ = writeln!(complaints, "{diagnostic}");
    }
    let Ok(checked) = checked else {
        return (String::new(), complaints);
    };
    let file = Config::file(flags, environment);
    let file = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let mut read = vec![file];
    read.extend(environment.settings().into_iter().map(str::to_owned));
    let known = read.clone();
    let named = checked.variables.iter().cloned();
    read.extend(named.filter(|name| !known.contains(name)));
    let read = read.join(", ");
    (
        format!("configuration is valid\nread: {read}\n\n{checked}"),
        complaints,
    )
}

fn object(
    flags: &Flags,
    environment: &Environment,
    checked: &Result<Checked, ConfigErrors>,
) -> Json {
    let settings = checked.iter().flat_map(|checked| &checked.settings);
    let settings: Vec<Json> = settings
        .map(|setting| {
            json!({ "key": setting.path(), "value": setting.text, "is_default": setting.is_default() })
        })
        .collect();
    let diagnostics: Vec<Json> = diagnostics(checked).iter().map(diagnostic).collect();
    json!({
        "is_valid": checked.is_ok(),
        "file": Config::file(flags, environment).map(|file| file.display().to_string()),
        "environment": environment.settings(),
        "variables": checked.as_ref().map_or(&[][..], |checked| &checked.variables),
        "diagnostics": diagnostics,
        "settings": settings,
    })
}

fn diagnostics(checked: &Result<Checked, ConfigErrors>) -> &[Diagnostic] {
    match checked {
        Ok(checked) => &checked.config.warnings,
        Err(errors) => errors.diagnostics(),
    }
}

fn diagnostic(diagnostic: &Diagnostic) -> Json {
    let (line, column) = diagnostic.line_and_column().unzip();
    let setting = match diagnostic.place {
        Place::Setting(name) => Some(name),
        Place::File { .. } | Place::Nowhere => None,
    };
    json!({
        "severity": diagnostic.severity.as_str(),
        "message": diagnostic.message,
        "line": line,
        "column": column,
        "setting": setting,
    })
}
