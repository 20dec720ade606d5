//! Configuration faults and how they are shown.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// All faults of a configuration, in the order of their places. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(Vec<Diagnostic>);

impl ConfigErrors {
    /// Wraps what was found; `None` if nothing was.
    pub(super) fn new(mut diagnostics: Vec<Diagnostic>) -> Option<Self> {
        diagnostics.sort_by_key(|diagnostic| match &diagnostic.place {
            Place::File { bytes, .. } => (1, bytes.start),
            Place::Setting(_) => (0, 0),
            Place::Nowhere => (2, 0),
        });
        (!diagnostics.is_empty()).then_some(Self(diagnostics))
    }

    /// The faults.
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

/// One fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one line.
    pub message: String,
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
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self {
            place: Place::Nowhere,
            message: message.into(),
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
    /// `error: message`, followed for a file by ` --> file:line:column`, the line and a mark
    /// under the fault. Without a trailing line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => write!(f, "error: {}", self.message),
            Place::Setting(name) => write!(f, "error: {name}: {}", self.message),
            Place::File { source, bytes } => {
                let path = source.path.display().to_string();
                let snippet = Snippet::source(&source.text)
                    .path(&path)
                    .annotation(AnnotationKind::Primary.span(bytes.clone()));
                let report = [Level::ERROR.primary_title(&self.message).element(snippet)];
                f.write_str(&Renderer::plain().render(&report))
            }
        }
    }
}
