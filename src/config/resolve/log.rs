//! `log`: the event log.

use crate::config::{
    EventFormat, EventLog,
    diagnostic::Place,
    key::{Choice, Key, Table, Text},
    overrides::Setting,
    section::Section,
};

const FORMAT: Key<Choice<EventFormat>> = Key::new(
    "format",
    Choice(&[
        ("auto", EventFormat::Auto),
        ("text", EventFormat::Text),
        ("json", EventFormat::Json),
    ]),
    "auto",
    "How events are written: one JSON object a line, or short lines for people. `auto` writes text to a terminal and JSON otherwise",
)
.or_setting(Setting::LogFormat);
const LEVEL: Key<Text<String>> = Key::new(
    "level",
    Text {
        words: "`error`, `warn`, `info`, `debug` or `trace`; also TARGET=LEVEL, with commas between several",
        parse: any,
    },
    "info",
    "Which events are written",
)
.or_setting(Setting::LogLevel);
pub(super) static LOG: Table = Table {
    keys: &[&FORMAT, &LEVEL],
    renamed: &[],
    example: "{ level: info }",
};

/// Reads the section. A bad level in the file is a fault; in the environment, where it may be meant
/// for another program, it is a warning, and the default holds.
pub(super) fn log(section: &Section<'_>) -> EventLog {
    let mut level = section.get(&LEVEL);
    if let Some(bad) = bad_directive(&level) {
        let message = format!("{bad:?} names no level; there are: error, warn, info, debug, trace");
        let place = section.value_place(&LEVEL);
        match place {
            Place::Setting(_) => {
                let reading = section.reading();
                reading.warn(place, format!("{message}; the default is used"));
            }
            Place::File { .. } | Place::Nowhere => section.reading().fault(place, message),
        }
        level = LEVEL.default();
    }
    EventLog {
        format: section.get(&FORMAT),
        level,
    }
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

/// A word that is no level would be a target of its own, so that a typo such as `inof` would silence
/// everything else.
fn bad_directive(text: &str) -> Option<&str> {
    text.split(',')
        .map(str::trim)
        .find(|directive| is_bad(directive))
}

fn is_bad(directive: &str) -> bool {
    let is_level = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    match directive.rsplit_once('=') {
        // Spans and their fields have a syntax of their own.
        _ if directive.is_empty() || directive.contains('[') => false,
        Some((target, level)) => target.is_empty() || !is_level(level),
        None => !is_level(directive) && !is_target(directive),
    }
}

fn is_target(word: &str) -> bool {
    word.contains("::") || CRATES.contains(&word)
}

const LEVELS: [&str; 12] = [
    "off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5",
];
/// Crates that write events.
const CRATES: [&str; 10] = [
    "weir",
    "h2",
    "hyper",
    "hyper_util",
    "tokio",
    "tonic",
    "tower",
    "rustls",
    "hickory_resolver",
    "notify",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_a_bad_directive() {
        for (text, bad) in [
            ("", None),
            ("debug", None),
            ("WARN,h2=off", None),
            ("weir::control=debug,info", None),
            ("weir", None),
            ("inof", Some("inof")),
            ("info,weir=debgu", Some("weir=debgu")),
            ("=info", Some("=info")),
        ] {
            assert_eq!(bad_directive(text), bad, "{text:?}");
        }
    }
}
