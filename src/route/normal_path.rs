//! The one way to write a path, so that a route cannot be side-stepped by another.
//!
//! Much like nginx: decoded once, slashes merged, `.` and `..` resolved; a backend that does the
//! same sees the path that the route was chosen by. Only routes look at it: what is forwarded is
//! what came.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// A path with as few escapes as can be, without empty segments, `.` and `..`. An escaped slash is
/// a slash. Costs one look at each byte where it is so already.
///
/// # Errors
///
/// What is wrong with it, where it has no normal form.
pub fn normal_path(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    if !is_well_escaped(path) {
        return Err("the path has a malformed escape");
    }
    let decoded = Cow::from(percent_decode_str(path));
    if decoded.contains(&0) {
        return Err("the path contains a NUL");
    }
    resolved(&decoded).map(Cow::Owned)
}

/// Whether it is sure to be normal. A dot behind a slash may be harmless, but is rare.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let is_detour = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        byte.is_ascii_graphic() && !SPECIAL.contains(&byte) && !is_detour
    })
}

fn is_well_escaped(path: &str) -> bool {
    path.split('%').skip(1).all(|escape| {
        let digits = escape.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Writes decoded segments again, without those that only lead through the tree.
fn resolved(decoded: &[u8]) -> Result<String, &'static str> {
    let mut kept = Vec::new();
    let mut ends_with_slash = true;
    for segment in decoded.split(|&byte| byte == b'/') {
        ends_with_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop().ok_or("the path climbs above the root")?;
            }
            name => kept.push(name),
        }
    }
    let mut path = String::with_capacity(decoded.len());
    for name in kept {
        path.push('/');
        path.extend(percent_encode(name, ESCAPED));
    }
    if ends_with_slash {
        path.push('/');
    }
    Ok(path)
}

/// What is visible, and yet cannot stand in a path as it is.
const SPECIAL: [u8; 6] = *b"%#?<>`";
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'#')
    .add(b'?')
    .add(b'<')
    .add(b'>')
    .add(b'`');

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<&str, &str>) {
        let normal = normal_path(path);
        assert_eq!(
            normal.as_deref().map_err(|error| *error),
            expected,
            "{path}"
        );
    }

    #[test]
    fn detours_lead_where_they_lead() {
        for path in [
            "/admin/x",
            "//admin/x",
            "/admin//x",
            "/./admin/./x",
            "/x/../admin/x",
            "/x//../admin/x",
            "/%61dmin/x",
            "/x/%2e%2E/admin/x",
            "/x%2F..%2fadmin%2Fx",
        ] {
            check(path, Ok("/admin/x"));
        }
    }

    #[test]
    fn the_end_says_whether_it_is_a_directory() {
        for path in ["/a/", "/a//", "/a/.", "/a/b/..", "/a/b/../", "/%2fa%2f"] {
            check(path, Ok("/a/"));
        }
        for path in ["/", "//", "/.", "/a/.."] {
            check(path, Ok("/"));
        }
    }

    #[test]
    fn only_whole_segments_of_dots_are_special() {
        for path in ["/.well-known/x", "/..a/...", "/a../.b"] {
            check(path, Ok(path));
        }
    }

    #[test]
    fn what_must_be_escaped_stays_so_and_is_decoded_once() {
        check("/%3f%23%20%25", Ok("/%3F%23%20%25"));
        check("/%2561dmin", Ok("/%2561dmin"));
        check("/caf\u{e9}", Ok("/caf%C3%A9"));
        check("/caf%e9/%7C", Ok("/caf%E9/|"));
    }

    #[test]
    fn some_paths_have_no_normal_form() {
        for path in [
            "/..",
            "/a/../..",
            "/../a",
            "/a/%2e%2e/%2e./b",
            "/x/%2f../..",
        ] {
            check(path, Err("the path climbs above the root"));
        }
        for path in ["/%", "/%4", "/%zz", "/%%41", "/a%2", "/%+1"] {
            check(path, Err("the path has a malformed escape"));
        }
        check("/a%00", Err("the path contains a NUL"));
    }

    /// Paths of what is special, and a little else.
    fn paths() -> impl Strategy<Value = String> {
        const PARTS: [&str; 16] = [
            "/", "/", "/", ".", "..", "a", "admin", "%2e", "%2F", "%61", "%25", "%3F", "%ff", "|",
            "\u{e9}", "%",
        ];
        vec(select(PARTS.as_slice()), 0..12).prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn the_normal_form_is_normal(path in paths()) {
            let Ok(normal) = normal_path(&path) else {
                return Ok(());
            };
            prop_assert_eq!(normal_path(&normal), Ok(normal.clone()));
            for detour in ["//", "/./", "/../"] {
                prop_assert!(!normal.contains(detour), "{} {}", path, normal);
            }
            let last = normal.rsplit('/').next();
            prop_assert!(![Some("."), Some("..")].contains(&last), "{} {}", path, normal);
            let uri: Uri = normal.parse().unwrap();
            prop_assert_eq!(uri.path(), normal);
        }

        #[test]
        fn a_plain_path_stays_as_it_is_however_it_is_escaped(path in "(/[a-z~|;=-][a-z.!]{0,3}){0,4}/?") {
            prop_assert!(matches!(normal_path(&path), Ok(Cow::Borrowed(same)) if same == path));
            let escaped: String = format!("/{path}").bytes().map(|byte| format!("%{byte:02x}")).collect();
            let path = if path.is_empty() { "/" } else { &path };
            let normal = normal_path(&escaped).unwrap();
            prop_assert_eq!(normal, path);
        }
    }
}
