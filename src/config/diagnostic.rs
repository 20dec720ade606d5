//! Configuration faults and how they are shown.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// All faults of a configuration, in the order of their places, and warnings after them. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(Vec<Diagnostic>);

impl ConfigErrors {
    pub(super) fn new(mut faults: Vec<Diagnostic>, warnings: Vec<Diagnostic>) -> Self {
        faults.sort_by_key(|diagnostic| match &diagnostic.place {
            Place::File { bytes, .. } => (1, bytes.start),
            Place::Setting(_) => (0, 0),
            Place::Nowhere => (2, 0),
        });
        let more = faults.len().saturating_sub(FAULTS_MAX);
        if more > 0 {
            faults.truncate(FAULTS_MAX);
            faults.push(Diagnostic::nowhere(format!("there are {more} more faults")));
        }
        faults.extend(warnings);
        Self(faults)
    }

    /// The faults and warnings.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl From<Diagnostic> for ConfigErrors {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One fault or warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Whether the configuration can run with it.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one line.
    pub message: String,
}

/// Whether a configuration can run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but may not do what is meant.
    Warning,
}

impl Severity {
    /// The word before a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where a fault is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the configuration file.
    File {
        /// The file and its text.
        source: Arc<SourceFile>,
        /// The part of the text that is at fault, in bytes.
        bytes: Range<usize>,
    },
    /// In a flag or an environment variable, named as the operator writes it.
    Setting(&'static str),
    /// Something is missing altogether.
    Nowhere,
}

/// A configuration file as it was read.
#[derive(Debug, Eq, PartialEq)]
pub struct SourceFile {
    /// Its path, as it was given.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Diagnostic {
    pub(super) fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            message: message.into(),
        }
    }

    pub(super) fn warning(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, message)
        }
    }

    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self::error(Place::Nowhere, message)
    }

    /// The message with its place before it, in one line.
    pub fn one_line(&self) -> String {
        let message = &self.message;
        match (&self.place, self.line_and_column()) {
            (Place::File { source, .. }, Some((line, column))) => {
                format!("{}:{line}:{column}: {message}", source.path.display())
            }
            (Place::Setting(name), _) => format!("{name}: {message}"),
            (Place::File { .. } | Place::Nowhere, _) => message.clone(),
        }
    }

    /// Line and column, both from 1, if the fault is in a file.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let Place::File { source, bytes } = &self.place else {
            return None;
        };
        let before = source.text.get(..bytes.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((line, column))
    }
}

impl fmt::Display for Diagnostic {
    /// `error: message` or `warning: message`, followed for a file by ` --> file:line:column`, the line and a mark
    /// under the fault. Without a trailing line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.as_str();
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        match &self.place {
            Place::Nowhere => write!(f, "{severity}: {}", self.message),
            Place::Setting(name) => write!(f, "{severity}: {name}: {}", self.message),
            Place::File { source, bytes } => {
                let path = source.path.display().to_string();
                let snippet = Snippet::source(&source.text)
                    .path(&path)
                    .annotation(AnnotationKind::Primary.span(bytes.clone()));
                let report = [level.primary_title(&self.message).element(snippet)];
                f.write_str(&Renderer::plain().render(&report))
            }
        }
    }
}

/// A file that is no configuration of ours has thousands, and nobody reads them.
const FAULTS_MAX: usize = 100;
