//! The sections of `haproxy.cfg`.

use crate::import::{
    haproxy::words::{self, Line},
    remark::Remarks,
    syntax::Fault,
};

/// A section with its lines.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// As it begins.
    pub(super) title: String,
    /// The `defaults` that it names with `from`.
    pub(super) from: Option<String>,
    pub(super) line: usize,
    pub(super) lines: Vec<Line>,
}

/// What a section is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Global,
    Defaults,
    Frontend,
    Backend,
    Listen,
    Resolvers,
    /// One that Weir has nothing of.
    Other,
}

/// Splits a text into its sections.
///
/// # Errors
///
/// A quote without its end, a directive before any section, or what looks like a section and is none.
pub(super) fn sections(text: &str, remarks: &mut Remarks) -> Result<Vec<Section>, Fault> {
    let mut sections: Vec<Section> = Vec::new();
    // Where all directives are indented, a word that is not is meant to be a section.
    let mut are_indented = None;
    for (index, text) in text.lines().enumerate() {
        let Some(line) = words::split(index + 1, text)? else {
            continue;
        };
        let first = line.word(0);
        if first.starts_with('.') {
            let reason = "conditions are not evaluated: the lines of every branch are read";
            remarks.left_out(line.number, first, reason);
            continue;
        }
        if let Some(kind) = kind(first) {
            sections.push(section(kind, line));
            continue;
        }
        let Some(section) = sections.last_mut() else {
            let message = format!("{first:?} is no section, and stands before any");
            return Err(Fault::new(line.number, message));
        };
        let stands_out = are_indented == Some(true) && !line.is_indented;
        if stands_out && !DIRECTIVES.contains(&first) {
            let message = format!("{first:?} is no section; there are: {}", NAMES.join(", "));
            return Err(Fault::new(line.number, message));
        }
        let all_so_far = are_indented.unwrap_or(true);
        are_indented = Some(all_so_far && line.is_indented);
        section.lines.push(line);
    }
    Ok(sections)
}

/// Whether a word begins a section.
pub(in crate::import) fn is_section(word: &str) -> bool {
    kind(word).is_some()
}

fn section(kind: Kind, line: Line) -> Section {
    let name = match line.word(1) {
        "from" => "",
        name => name,
    };
    let from = line.words.iter().position(|word| word == "from");
    Section {
        kind,
        name: name.to_owned(),
        title: line.head(2),
        from: from.map(|at| line.word(at + 1).to_owned()),
        line: line.number,
        lines: Vec::new(),
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "global" => Some(Kind::Global),
        "defaults" => Some(Kind::Defaults),
        "frontend" => Some(Kind::Frontend),
        "backend" => Some(Kind::Backend),
        "listen" => Some(Kind::Listen),
        "resolvers" => Some(Kind::Resolvers),
        _ => NAMES.contains(&word).then_some(Kind::Other),
    }
}

/// Directives that are common enough to stand where a section would.
const DIRECTIVES: &[&str] = &[
    "acl",
    "balance",
    "bind",
    "cookie",
    "default-server",
    "default_backend",
    "errorfile",
    "hash-type",
    "http-check",
    "http-request",
    "http-response",
    "log",
    "maxconn",
    "mode",
    "no",
    "option",
    "redirect",
    "retries",
    "server",
    "server-template",
    "stats",
    "stick",
    "stick-table",
    "tcp-check",
    "tcp-request",
    "timeout",
    "use_backend",
];

/// All sections of HAProxy's.
const NAMES: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "userlist",
    "peers",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
];
