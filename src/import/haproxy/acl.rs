//! Conditions, as far as they are about host and path: all that Weir's routes look at.

use std::collections::HashMap;

use crate::import::{
    haproxy::words::Line,
    plan::{host_name, route_path},
    remark::Remarks,
};

/// Requests of one host, or of any, below a path.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Match {
    pub(super) host: Option<String>,
    pub(super) path: String,
}

/// What an `acl` is true for, any of these; `None` where it asks for something else.
pub(super) type Acl = Option<Vec<Match>>;

impl Match {
    /// All requests.
    pub(super) fn any() -> Self {
        Self {
            host: None,
            path: "/".to_owned(),
        }
    }

    /// The requests that both are true for; `None` if there are none.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let host = match (&self.host, &other.host) {
            (Some(one), Some(other)) if one != other => return None,
            (Some(host), _) | (None, Some(host)) => Some(host.clone()),
            (None, None) => None,
        };
        let path = if is_below(&self.path, &other.path) {
            &self.path
        } else if is_below(&other.path, &self.path) {
            &other.path
        } else {
            return None;
        };
        Some(Self {
            host,
            path: path.clone(),
        })
    }
}

/// Whether a path is another one or below it, whole segments only.
fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// Reads `acl NAME CRITERION VALUE…`. Several lines with a name are true if any of them is.
pub(super) fn define(acls: &mut HashMap<String, Acl>, line: &Line, remarks: &mut Remarks) {
    let found = criterion(line, line.rest(2), remarks);
    if found.is_none() {
        let reason = "Weir's routes look at host and path alone";
        remarks.left_out(line.number, &line.text(), reason);
    }
    let known = acls.entry(line.word(1).to_owned());
    let acl = known.or_insert_with(|| Some(Vec::new()));
    match (acl.as_mut(), found) {
        (Some(acl), Some(found)) if acl.len() + found.len() <= MATCHES_MAX => acl.extend(found),
        _ => *acl = None,
    }
}

/// Reads what follows `if`: any of the matches; `None` where it cannot be told by host and path.
pub(super) fn condition(
    acls: &HashMap<String, Acl>,
    line: &Line,
    words: &[String],
    remarks: &mut Remarks,
) -> Option<Vec<Match>> {
    let mut any: Vec<Match> = Vec::new();
    let mut all = vec![Match::any()];
    let mut words = words.iter().map(String::as_str).enumerate();
    let source: Vec<String> = line.words.clone();
    let base = source.len().checked_sub(words.len())?;
    while let Some((at, word)) = words.next() {
        let found = match word {
            "or" | "||" => {
                any.append(&mut all);
                all.push(Match::any());
                continue;
            }
            "{" => {
                let length = words.by_ref().take_while(|(_, word)| *word != "}").count();
                let begin = base + at + 1;
                criterion(line, source.get(begin..begin + length)?, remarks)
            }
            "TRUE" => Some(vec![Match::any()]),
            name => acls.get(name).cloned().flatten(),
        }?;
        if all.len() * found.len() > MATCHES_MAX {
            return None;
        }
        let both = all
            .iter()
            .flat_map(|one| found.iter().filter_map(|other| one.and(other)));
        all = both.collect();
    }
    any.append(&mut all);
    (any.len() <= MATCHES_MAX).then_some(any)
}

/// Reads a criterion and its values.
fn criterion(line: &Line, words: &[String], remarks: &mut Remarks) -> Option<Vec<Match>> {
    let (fetch, values) = words.split_first()?;
    let mut method = "";
    let mut ignores_case = false;
    let mut values = values.iter().map(String::as_str).peekable();
    while let Some(flag) = values.next_if(|word| word.starts_with('-')) {
        match flag {
            "-i" => ignores_case = true,
            "-m" => method = values.next()?,
            "--" => break,
            _ => return None,
        }
    }
    let kind = kind(fetch, method)?;
    let mut matches = Vec::new();
    for value in values {
        matches.push(matched(kind, value)?);
    }
    let shown = words.join(" ");
    match kind {
        Kind::HostBegins => remarks.nearly(line.number, &shown, "the host must be this one"),
        Kind::Path => remarks.nearly(line.number, &shown, "paths below it match, too"),
        Kind::PathBegins => {
            let ends_anywhere = matches.iter().any(|found| !found.path.ends_with('/'));
            if ends_anywhere {
                remarks.nearly(
                    line.number,
                    &shown,
                    "whole segments match, /api but not /apis",
                );
            }
        }
        Kind::Host => {}
    }
    if ignores_case && matches!(kind, Kind::Path | Kind::PathBegins) {
        remarks.nearly(line.number, &shown, "upper and lower case differ in paths");
    }
    (!matches.is_empty()).then_some(matches)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Host,
    HostBegins,
    Path,
    PathBegins,
}

fn kind(fetch: &str, method: &str) -> Option<Kind> {
    let (name, rest) = fetch.split_once('(').unwrap_or((fetch, ""));
    let (argument, converters) = rest.split_once(')').unwrap_or((rest, ""));
    let is_host = argument
        .split(',')
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("host"));
    // Weir compares hosts without their ports and in lower case.
    let is_plain = matches!(
        converters,
        "" | ",lower" | ",field(1,:)" | ",lower,field(1,:)" | ",field(1,:),lower" | ",host_only"
    );
    match (name, method) {
        ("hdr" | "req.hdr" | "req.fhdr", "" | "str") if is_host && is_plain => Some(Kind::Host),
        ("hdr_dom" | "req.hdr_dom" | "hdr_beg" | "req.hdr_beg", "") if is_host => {
            Some(Kind::HostBegins)
        }
        ("hdr" | "req.hdr", "dom" | "beg") if is_host && is_plain => Some(Kind::HostBegins),
        ("path_beg" | "url_beg", "") | ("path" | "url", "beg") => Some(Kind::PathBegins),
        ("path", "" | "str") => Some(Kind::Path),
        _ => None,
    }
}

fn matched(kind: Kind, value: &str) -> Option<Match> {
    match kind {
        Kind::Host | Kind::HostBegins => {
            let host = value.split(':').next().unwrap_or_default();
            // A part of a name, such as `www.`, is no host.
            let is_whole = host.contains('.') && !host.ends_with('.') || host == "localhost";
            let host = is_whole.then(|| host_name(host)).flatten()?;
            Some(Match {
                host: Some(host),
                ..Match::any()
            })
        }
        Kind::Path | Kind::PathBegins => Some(Match {
            host: None,
            path: route_path(value)?,
        }),
    }
}

/// Of one condition.
const MATCHES_MAX: usize = 256;
