//! The CDN's part of an answer.

use url::{Host, Url};

use crate::redirect::Scheme;

/// What stands before the server in a CDN address: scheme, host, port and path prefix, without
/// a trailing slash. Written out for both schemes beforehand, so that an answer only copies it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CdnBase {
    for_http: Box<str>,
    for_https: Box<str>,
    host: Box<str>,
}

impl CdnBase {
    /// Reads `[SCHEME://]HOST[:PORT][/PREFIX]`. Without a scheme the video URL's own is used.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, CdnBaseError> {
        if text.is_empty() {
            return Err(CdnBaseError::Empty);
        }
        if text
            .bytes()
            .any(|byte| !byte.is_ascii_graphic() || byte == b'\\')
        {
            return Err(CdnBaseError::Character);
        }
        match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => {
                let base: Box<str> = read(scheme, rest)?.into();
                Self::new(base.clone(), base)
            }
            Some((scheme, _)) => Err(CdnBaseError::Scheme(scheme.to_owned())),
            None => Self::new(read("http", text)?.into(), read("https", text)?.into()),
        }
    }

    fn new(for_http: Box<str>, for_https: Box<str>) -> Result<Self, CdnBaseError> {
        let url = Url::parse(&for_http).map_err(CdnBaseError::Url)?;
        let host = url.host_str().unwrap_or_default().into();
        Ok(Self {
            for_http,
            for_https,
            host,
        })
    }

    /// The host of every CDN address, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn for_scheme(&self, scheme: Scheme) -> &str {
        match scheme {
            Scheme::Http => &self.for_http,
            Scheme::Https => &self.for_https,
        }
    }
}

/// Writes `scheme://rest` in its normal form, without a trailing slash.
fn read(scheme: &str, rest: &str) -> Result<String, CdnBaseError> {
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(CdnBaseError::Url)?;
    if !url.username().is_empty() || url.password().is_some() || rest.contains('@') {
        return Err(CdnBaseError::UserInfo);
    }
    if rest.contains(['?', '#']) {
        return Err(CdnBaseError::QueryOrFragment);
    }
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.ends_with(':') || url.port() == Some(0) {
        return Err(CdnBaseError::Port);
    }
    if prefix.trim_end_matches('/').split('/').any(str::is_empty)
        && !prefix.trim_end_matches('/').is_empty()
    {
        return Err(CdnBaseError::EmptySegment);
    }
    match url.host() {
        // The parser is lenient towards hosts such as `/cdn` or `a_b`; a setting need not be.
        Some(Host::Domain(domain)) if !is_host_name(domain) => return Err(CdnBaseError::Host),
        None => return Err(CdnBaseError::Host),
        Some(_) if rest.starts_with('/') => return Err(CdnBaseError::Host),
        Some(_) => {}
    }
    // A port that is the scheme's default disappears here, which means the same.
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Host names as DNS and container networks have them: `_` is common in the latter.
pub fn is_host_name(domain: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    domain
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(is_byte))
}

/// Why a text is no CDN base.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CdnBaseError {
    /// Nothing there.
    #[error("is empty; give a host such as cdn.example.com")]
    Empty,
    /// A space, a control character, a backslash or a non-ASCII character.
    #[error("has a character that no URL may have")]
    Character,
    /// A scheme other than `http` and `https`.
    #[error("has the scheme {0:?}; only http and https are allowed")]
    Scheme(String),
    /// An `@`.
    #[error("has user information (an @), which would be sent to every player")]
    UserInfo,
    /// A `?` or `#`.
    #[error("has a query or a fragment; only a path prefix may follow the host")]
    QueryOrFragment,
    /// The host is missing or no host name.
    #[error("has no valid host; give a host such as cdn.example.com")]
    Host,
    /// A colon without a port, or port 0. `http:/cdn.example.com` is read like that.
    #[error("has no valid port; write HOST, HOST:PORT or http://HOST")]
    Port,
    /// Two slashes in a row behind the host. `http//cdn.example.com` is read like that.
    #[error("has an empty path segment (//); write http://HOST/PREFIX")]
    EmptySegment,
    /// The URL parser's own finding.
    #[error("is not a host with an optional scheme, port and path: {0}")]
    Url(url::ParseError),
}
