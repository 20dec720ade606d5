//! Entity tags, and requests that depend on them (RFC 9110 sections 8.8.3 and 13).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::store::clients::Precondition;

/// The tag of a version. It changes with what is stored, and with nothing else.
pub(super) fn etag(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a value")
}

/// What `If-Match` and `If-None-Match` ask of a change.
pub(super) fn precondition(headers: &HeaderMap) -> Precondition {
    if let Some(tags) = list(headers, &header::IF_MATCH) {
        return match tags.iter().any(|tag| tag == "*") {
            true => Precondition::Exists,
            // A weak tag, and one that is none of ours, matches nothing.
            false => Precondition::Versions(tags.iter().filter_map(|tag| version(tag)).collect()),
        };
    }
    match list(headers, &header::IF_NONE_MATCH) {
        Some(tags) if tags.iter().any(|tag| tag == "*") => Precondition::Absent,
        Some(_) | None => Precondition::None,
    }
}

/// Whether the client has this version already, as `If-None-Match` says.
pub(super) fn is_known(headers: &HeaderMap, version: i64) -> bool {
    let tag = format!("\"{version}\"");
    let tags = list(headers, &header::IF_NONE_MATCH).unwrap_or_default();
    tags.iter()
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    headers.contains_key(name).then(|| {
        let lines = headers
            .get_all(name)
            .iter()
            .filter_map(|line| line.to_str().ok());
        let tags = lines.flat_map(|line| line.split(','));
        tags.map(|tag| tag.trim().to_owned()).collect()
    })
}

fn version(tag: &str) -> Option<i64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: HeaderName, lines: &[&'static str], expected: Precondition) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_static(line));
        }
        assert_eq!(precondition(&headers), expected, "{lines:?}");
    }

    #[test]
    fn conditions_are_read() {
        let versions = |versions: &[i64]| Precondition::Versions(versions.into());
        check(header::IF_MATCH, &["\"7\""], versions(&[7]));
        check(
            header::IF_MATCH,
            &["\"7\", \"8\"", "\"9\""],
            versions(&[7, 8, 9]),
        );
        check(header::IF_MATCH, &["W/\"7\""], versions(&[]));
        check(header::IF_MATCH, &["abc"], versions(&[]));
        check(header::IF_MATCH, &["*"], Precondition::Exists);
        check(header::IF_NONE_MATCH, &["*"], Precondition::Absent);
        check(header::IF_NONE_MATCH, &["\"7\""], Precondition::None);
        check(header::ACCEPT, &[], Precondition::None);
    }

    #[test]
    fn a_known_version_is_told() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            HeaderValue::from_static("\"6\", W/\"7\""),
        );
        assert!(is_known(&headers, 7) && is_known(&headers, 6) && !is_known(&headers, 8));
    }
}
