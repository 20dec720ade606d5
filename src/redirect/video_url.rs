//! The strict reading of a video URL.
//!
//! Much narrower than a WHATWG parser on purpose: whatever passes here means the same to every
//! parser, so an answer can never lead to another host than the one that was checked. The tests
//! and the fuzz target hold it against the `url` crate.

use crate::redirect::{OriginClusters, Rejection, Scheme};

/// The longest video URL that is read, in bytes.
pub const VIDEO_URL_BYTES_MAX: usize = 8 * 1024;

/// A checked video URL, split where the rule needs it. Borrows the text it was read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VideoUrl<'a> {
    text: &'a str,
    scheme: Scheme,
    server: &'a str,
    rest: &'a str,
}

impl<'a> VideoUrl<'a> {
    /// Reads a video URL whose host must be one label before one of `clusters`. White space around it
    /// does not count.
    ///
    /// # Errors
    ///
    /// The first fault found, in the order of [`Rejection`]'s variants.
    pub fn parse(text: &'a str, clusters: &OriginClusters) -> Result<Self, Rejection> {
        let text = text.trim_matches(WHITE_SPACE);
        check_bytes(text)?;
        let (scheme, after_scheme) = split_scheme(text)?;
        let ends_authority = |byte: u8| matches!(byte, b'/' | b'?' | b'#');
        let authority_bytes = after_scheme
            .bytes()
            .position(ends_authority)
            .unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme.split_at(authority_bytes);
        let host = split_host(authority)?;
        if !rest.starts_with('/') {
            return Err(Rejection::MissingPath);
        }
        check_host(host)?;
        let server = clusters.server_of(host).ok_or(Rejection::HostNotAllowed)?;
        if let Some(at) = dot_segment(rest) {
            let at = text.len() - rest.len() + at;
            return Err(Rejection::DotSegment { at });
        }
        Ok(Self {
            text,
            scheme,
            server,
            rest,
        })
    }

    /// The URL, without the white space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The first label of the host, as it was written.
    pub fn server(&self) -> &'a str {
        self.server
    }

    /// Everything after the authority; begins with `/`.
    pub fn rest(&self) -> &'a str {
        self.rest
    }
}

fn check_bytes(text: &str) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(Rejection::Empty);
    }
    if text.len() > VIDEO_URL_BYTES_MAX {
        return Err(Rejection::TooLong { bytes: text.len() });
    }
    let doubtful = |&byte: &u8| !byte.is_ascii_graphic() || byte == b'\\';
    let Some(at) = text.as_bytes().iter().position(doubtful) else {
        return Ok(());
    };
    Err(match text.as_bytes().get(at) {
        Some(b' ') => Rejection::Space { at },
        Some(b'\\') => Rejection::Backslash { at },
        Some(byte) if !byte.is_ascii() => Rejection::NonAscii { at },
        Some(_) | None => Rejection::ControlCharacter { at },
    })
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), Rejection> {
    for (prefix, scheme) in [("http://", Scheme::Http), ("https://", Scheme::Https)] {
        let Some((start, rest)) = text.split_at_checked(prefix.len()) else {
            continue;
        };
        // A scheme is the same in any case (RFC 3986 section 3.1).
        if start.eq_ignore_ascii_case(prefix) {
            return Ok((scheme, rest));
        }
    }
    Err(Rejection::Scheme)
}

/// Where the first dot segment of the path begins (RFC 3986 section 3.3). An encoded dot is a dot to
/// browsers (WHATWG URL, "double-dot path segment").
fn dot_segment(rest: &str) -> Option<usize> {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let mut from = 0;
    for segment in path.split('/') {
        if is_dot_segment(segment) {
            return Some(from);
        }
        from += segment.len() + 1;
    }
    None
}

fn is_dot_segment(segment: &str) -> bool {
    let without_dot = |text: &str| -> Option<usize> {
        let encoded = text.get(..3).filter(|dot| dot.eq_ignore_ascii_case("%2e"));
        match encoded {
            Some(dot) => Some(dot.len()),
            None => text.starts_with('.').then_some(1),
        }
    };
    let (mut rest, mut dots) = (segment, 0);
    while let Some(length) = without_dot(rest) {
        rest = rest.get(length..).unwrap_or_default();
        dots += 1;
    }
    rest.is_empty() && (1..=2).contains(&dots)
}

/// Splits a port off an authority and checks it.
fn split_host(authority: &str) -> Result<&str, Rejection> {
    if authority.contains('@') {
        return Err(Rejection::UserInfo);
    }
    if authority.starts_with('[') {
        return Err(Rejection::IpLiteral);
    }
    let Some((host, port)) = authority.split_once(':') else {
        return Ok(authority);
    };
    let digits_only = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits_only && number != 0 && port.len() <= 5 => Ok(host),
        Ok(_) | Err(_) => Err(Rejection::Port),
    }
}

fn check_host(host: &str) -> Result<(), Rejection> {
    let mut last_label: &[u8] = &[];
    let mut has_punycode = false;
    for (index, label) in host.as_bytes().split(|&byte| byte == b'.').enumerate() {
        let is_allowed = match index {
            0 => is_server_label(label),
            _ => is_label(label),
        };
        if !is_allowed {
            return Err(Rejection::MalformedHost);
        }
        has_punycode |= label
            .get(..4)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"));
        last_label = label;
    }
    if host.len() > HOST_BYTES_MAX || (has_punycode && !is_unchanged_by_idna(host)) {
        return Err(Rejection::MalformedHost);
    }
    if is_ipv4_number(last_label) {
        return Err(Rejection::IpLiteral);
    }
    Ok(())
}

/// Whether the text is a domain name that no parser takes for an IPv4 address.
pub(super) fn is_domain(name: &str) -> bool {
    let mut labels = name.as_bytes().split(|&byte| byte == b'.');
    let last_label = name.as_bytes().rsplit(|&byte| byte == b'.').next();
    labels.all(is_label) && !last_label.is_some_and(is_ipv4_number)
}

/// Whether the text is `[A-Za-z0-9-]{1,63}`.
fn is_label(label: &[u8]) -> bool {
    let is_label_byte = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len()) && label.iter().all(is_label_byte)
}

/// Whether the text is `[A-Za-z0-9_-]{1,63}`: container networks have names with `_`.
fn is_server_label(label: &[u8]) -> bool {
    let is_byte = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.iter().all(is_byte)
}

/// Whether a host that ends in this label is read as an IPv4 address, valid or not
/// (WHATWG URL, "ends in a number").
fn is_ipv4_number(last_label: &[u8]) -> bool {
    if let [b'0', b'x' | b'X', digits @ ..] = last_label {
        return digits.iter().all(u8::is_ascii_hexdigit);
    }
    last_label.iter().all(u8::is_ascii_digit)
}

/// Whether a WHATWG parser keeps this host as it is. Only for the rare punycode label, whose
/// decoding may fail or normalise to another name.
fn is_unchanged_by_idna(host: &str) -> bool {
    matches!(url::Host::parse(host), Ok(url::Host::Domain(domain)) if domain.eq_ignore_ascii_case(host))
}

/// What may stand around a video URL.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// The longest host name, in bytes (RFC 1035 section 2.3.4, without the root's dot).
const HOST_BYTES_MAX: usize = 253;
