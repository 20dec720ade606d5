//! What the reading of one configuration has found so far.

use std::cell::RefCell;

use serde_saphyr::Spanned;

use crate::config::{
    diagnostic::{ConfigErrors, Diagnostic, Place},
    document::Document,
    overrides::Overrides,
};

/// The sources of a configuration, and what was found in them.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    document: &'a Document,
    overrides: Overrides<'a>,
    faults: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
    settings: RefCell<Vec<Effective>>,
}

/// A key as it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effective {
    /// The section that it is in; empty for the outermost one.
    pub section: String,
    /// Its name.
    pub key: &'static str,
    /// Its value, as the file would have it.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Neither file, flag nor variable has it.
    Default,
    /// The file, in this line, counted from 1.
    File {
        /// The line.
        line: usize,
    },
    /// A flag or an environment variable, named as the operator writes it.
    Setting(&'static str),
}

impl Effective {
    /// Whether nobody wrote it.
    pub fn is_default(&self) -> bool {
        self.source == Source::Default
    }

    /// The key with its section, such as `drain.timeout`.
    pub fn path(&self) -> String {
        match self.section.as_str() {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        document: &'a Document,
        overrides: Overrides<'a>,
        faults: Vec<Diagnostic>,
    ) -> Self {
        Self {
            document,
            overrides,
            faults: RefCell::new(faults),
            warnings: RefCell::default(),
            settings: RefCell::default(),
        }
    }

    pub(super) fn document(&self) -> &'a Document {
        self.document
    }

    pub(super) fn overrides(&self) -> Overrides<'a> {
        self.overrides
    }

    /// Where something stands in the file.
    pub(super) fn place<T>(&self, node: &Spanned<T>) -> Place {
        self.document.place(node.referenced)
    }

    pub(super) fn fault(&self, place: Place, message: String) {
        let fault = Diagnostic::error(place, message);
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn warn(&self, place: Place, message: String) {
        let warning = Diagnostic::warning(place, message);
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn note(&self, effective: Effective) {
        self.settings.borrow_mut().push(effective);
    }

    /// Replaces the text of a key that was noted.
    pub(super) fn correct(&self, section: &str, key: &str, text: String) {
        let mut settings = self.settings.borrow_mut();
        let mut noted = settings.iter_mut().rev();
        if let Some(noted) = noted.find(|noted| noted.section == section && noted.key == key) {
            noted.text = text;
        }
    }

    pub(super) fn fault_count(&self) -> usize {
        self.faults.borrow().len()
    }

    /// The end of the reading.
    ///
    /// # Errors
    ///
    /// All faults, if there is one; warnings after them.
    pub(super) fn finish(self) -> Result<Found, ConfigErrors> {
        let warnings = self.warnings.into_inner();
        let faults = self.faults.into_inner();
        match faults.is_empty() {
            true => Ok(Found {
                warnings,
                settings: self.settings.into_inner(),
            }),
            false => Err(ConfigErrors::new(faults, warnings)),
        }
    }
}

/// What was found beside the values of a good configuration.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) settings: Vec<Effective>,
}
