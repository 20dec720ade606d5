//! Which events are logged, as `RUST_LOG` says.

use tracing_subscriber::EnvFilter;

/// A filter, and the directive that it could not be made of.
pub(super) struct LogFilter {
    pub(super) filter: EnvFilter,
    pub(super) bad_directive: Option<String>,
}

/// Reads a filter; the default one where it is empty or a directive is bad. A word that is no level
/// would be a target of its own, so that a typo such as `inof` would silence everything else.
pub(super) fn parse(text: &str) -> LogFilter {
    let mut directives = text.split(',').map(str::trim);
    let bad_directive = directives.find(|directive| is_bad(directive));
    let filter = match bad_directive.is_none() && !text.trim().is_empty() {
        true => EnvFilter::try_new(text).ok(),
        false => None,
    };
    LogFilter {
        filter: filter.unwrap_or_else(|| EnvFilter::new(EVENTS_BY_DEFAULT)),
        bad_directive: bad_directive.map(str::to_owned),
    }
}

fn is_bad(directive: &str) -> bool {
    let is_level = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    match directive.rsplit_once('=') {
        _ if directive.is_empty() => false,
        // Spans and their fields have a syntax of their own.
        _ if directive.contains('[') => EnvFilter::try_new(directive).is_err(),
        Some((target, level)) => target.is_empty() || !is_level(level),
        None => !is_level(directive) && !is_target(directive),
    }
}

fn is_target(word: &str) -> bool {
    word.contains("::") || CRATES.contains(&word)
}

/// `h2` warns of each unsolicited acknowledgement of a PING, which costs a client 17 bytes.
const EVENTS_BY_DEFAULT: &str = "info,h2=error";
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
    fn a_typo_leaves_the_default_and_is_named() {
        for (text, bad) in [
            ("", None),
            (" ", None),
            ("debug", None),
            ("WARN,h2=off", None),
            ("weir::control=debug,info", None),
            ("weir", None),
            ("inof", Some("inof")),
            ("info,weir=debgu", Some("weir=debgu")),
            ("=info", Some("=info")),
        ] {
            let parsed = parse(text);
            assert_eq!(parsed.bad_directive.as_deref(), bad, "{text:?}");
            let is_default = parsed.filter.to_string().contains("h2=error");
            assert_eq!(
                is_default,
                bad.is_some() || text.trim().is_empty(),
                "{text:?}"
            );
        }
    }
}
