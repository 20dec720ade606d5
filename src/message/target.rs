//! The target of a request (RFC 9112 section 3.2).

/// A target in one of the forms that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// A path, perhaps with a query.
    Path,
    /// The server as a whole.
    Asterisk,
    /// A URL of `http` or `https`.
    Absolute {
        /// Host and port.
        authority: &'a [u8],
        /// What follows; it may be empty or a query alone.
        path: &'a [u8],
    },
}

/// Why a target is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetFault {
    /// It is no path, no URL of `http` or `https`, and no asterisk.
    #[error("the target is not a path")]
    NoPath,
    /// It has a fragment, which only the client may see (RFC 9110 section 7.1).
    #[error("the target has a fragment")]
    Fragment,
}

/// Reads a target. Costs a look at each byte.
///
/// # Errors
///
/// When it is in none of the forms that are served.
pub fn parse_target(target: &[u8]) -> Result<Target<'_>, TargetFault> {
    if target.contains(&b'#') {
        return Err(TargetFault::Fragment);
    }
    match target {
        [b'/', ..] => return Ok(Target::Path),
        b"*" => return Ok(Target::Asterisk),
        _ => {}
    }
    let rest = after_scheme(target).ok_or(TargetFault::NoPath)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    Ok(Target::Absolute { authority, path })
}

fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: Result<Target<'_>, TargetFault>) {
        assert_eq!(parse_target(target.as_bytes()), expected, "{target}");
    }

    fn absolute<'a>(authority: &'a str, path: &'a str) -> Result<Target<'a>, TargetFault> {
        Ok(Target::Absolute {
            authority: authority.as_bytes(),
            path: path.as_bytes(),
        })
    }

    #[test]
    fn forms_are_told_apart() {
        check("/", Ok(Target::Path));
        check("/a\"<>|^?x", Ok(Target::Path));
        check("*", Ok(Target::Asterisk));
        check("http://h:80/a", absolute("h:80", "/a"));
        check("HTTPS://h", absolute("h", ""));
        check("http://h?q", absolute("h", "?q"));
        check("ftp://h/", Err(TargetFault::NoPath));
        check("h:443", Err(TargetFault::NoPath));
        check("*/x", Err(TargetFault::NoPath));
        check("", Err(TargetFault::NoPath));
        check("/a#b", Err(TargetFault::Fragment));
    }
}
