//! `weir import`: the configuration of HAProxy or nginx in, a Weir file and remarks out. Pure.
//!
//! Each dialect has a folder: its words, its sections or blocks, and what becomes of them. Both fill a
//! `plan::Plan`, which `plan::settle` brings within Weir's bounds and `yaml` writes. A directive
//! that Weir does not do, or does only nearly, is never dropped in silence: it leaves a [`Remark`].

use std::fmt::Write as _;

mod haproxy;
mod nginx;
mod plan;
mod remark;
mod syntax;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

pub use remark::{Remark, Verdict};
pub use syntax::Fault;

use plan::Plan;
use remark::Remarks;

/// Whose configuration a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Dialect {
    /// `haproxy.cfg`
    Haproxy,
    /// `nginx.conf`, or a file that it includes
    Nginx,
}

/// What an import gives.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The Weir file.
    pub yaml: String,
    /// What became of directives that it does not hold as they were, by their lines.
    pub remarks: Vec<Remark>,
}

/// Why there is no Weir file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is more than an import reads.
    #[error("the file has more than {SIZE_MAX} bytes")]
    TooLong,
    /// It looks like neither.
    #[error(
        "this looks neither like HAProxy's configuration nor like nginx's; say which with --from"
    )]
    UnknownDialect,
    /// It cannot be read.
    #[error("{}", .0.message)]
    Syntax(Fault),
    /// Nothing in it is a listener that Weir could run.
    #[error("nothing to import: no listener is left that leads to a backend")]
    Nothing(Vec<Remark>),
    /// The result is more than Weir reads.
    #[error("the Weir file would have more than {SIZE_MAX} bytes, which Weir does not read")]
    ResultTooLong,
}

impl Imported {
    /// Whether the Weir file does all that the source did.
    pub fn is_exact(&self) -> bool {
        let mut remarks = self.remarks.iter();
        remarks.all(|remark| remark.verdict == Verdict::NotNeeded)
    }
}

impl ImportError {
    /// What became of directives, where that is why nothing is left.
    pub fn remarks(&self) -> &[Remark] {
        match self {
            Self::Nothing(remarks) => remarks,
            Self::TooLong | Self::UnknownDialect | Self::Syntax(_) | Self::ResultTooLong => &[],
        }
    }
}

/// Turns a configuration into a Weir file. `name` is how the file is called in comments.
///
/// # Errors
///
/// When the text cannot be read, or nothing in it can be imported.
pub fn import(name: &str, text: &str, dialect: Option<Dialect>) -> Result<Imported, ImportError> {
    if text.len() > SIZE_MAX {
        return Err(ImportError::TooLong);
    }
    let dialect = dialect
        .or_else(|| recognised(text))
        .ok_or(ImportError::UnknownDialect)?;
    let mut remarks = Remarks::default();
    let read = match dialect {
        Dialect::Haproxy => haproxy::read(text, &mut remarks),
        Dialect::Nginx => nginx::read(text, &mut remarks),
    };
    let mut plan = read.map_err(ImportError::Syntax)?;
    plan::settle(&mut plan, &mut remarks);
    if plan.http.is_empty() && plan.tcp.is_empty() {
        return Err(ImportError::Nothing(remarks.into_sorted()));
    }
    let yaml = written(name, &plan);
    if yaml.len() > SIZE_MAX {
        return Err(ImportError::ResultTooLong);
    }
    Ok(Imported {
        yaml,
        remarks: remarks.into_sorted(),
    })
}

fn written(name: &str, plan: &Plan) -> String {
    // A name may hold anything, and must not end the comment.
    let name: String = name
        .chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect();
    let mut yaml = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(
        yaml,
        "# Imported from {name} by `weir import`, which names on standard error what it left out.\n"
    );
    yaml.push_str(&yaml::render(&write::file(plan), &name));
    yaml
}

/// Whose configuration a text is, by the first line that tells.
fn recognised(text: &str) -> Option<Dialect> {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let first = line.split_whitespace().next();
        if line.ends_with([';', '{', '}']) {
            return Some(Dialect::Nginx);
        }
        if first.is_some_and(haproxy::is_section) {
            return Some(Dialect::Haproxy);
        }
    }
    None
}

/// The most that is read, in bytes; Weir reads no more of its own file.
pub const SIZE_MAX: usize = 1 << 20;
