//! What became of a directive that the Weir file does not hold as it was.

use std::fmt;

/// One directive, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// Its line, from 1.
    pub line: usize,
    /// The directive, as far as it tells which one is meant.
    pub directive: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, or what differs.
    pub reason: String,
}

/// What became of a directive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Weir does it by itself.
    NotNeeded,
    /// The Weir file does something close to it.
    Nearly,
    /// The Weir file does nothing of it.
    LeftOut,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::NotNeeded => "not needed",
            Verdict::Nearly => "nearly",
            Verdict::LeftOut => "left out",
        };
        let Self {
            line,
            directive,
            reason,
            ..
        } = self;
        write!(f, "{line}: {directive}: {verdict}, {reason}")
    }
}

/// The remarks so far.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    /// Says that Weir does by itself what the directive asks for.
    pub(super) fn not_needed(&mut self, line: usize, directive: &str, reason: impl Into<String>) {
        self.add(line, directive, Verdict::NotNeeded, reason.into());
    }

    /// Says in what the Weir file differs from the directive.
    pub(super) fn nearly(&mut self, line: usize, directive: &str, reason: impl Into<String>) {
        self.add(line, directive, Verdict::Nearly, reason.into());
    }

    /// Says that the directive has no effect in the Weir file.
    pub(super) fn left_out(&mut self, line: usize, directive: &str, reason: impl Into<String>) {
        self.add(line, directive, Verdict::LeftOut, reason.into());
    }

    /// All, in the order of their lines.
    pub(super) fn into_sorted(mut self) -> Vec<Remark> {
        self.0.sort_by_key(|remark| remark.line);
        self.0
    }

    fn add(&mut self, line: usize, directive: &str, verdict: Verdict, reason: String) {
        let shown = directive.chars().take(DIRECTIVE_CHARS_MAX);
        let mut shown: String = shown
            .map(|char| if char.is_control() { '?' } else { char })
            .collect();
        if shown.len() < directive.len() {
            shown.push('…');
        }
        self.0.push(Remark {
            line,
            directive: shown,
            verdict,
            reason,
        });
    }
}

/// Enough to tell it by.
const DIRECTIVE_CHARS_MAX: usize = 80;
