//! The head of a request.

use http::Version;

use crate::message::{
    Fields, Kind, Target, TargetFault,
    fields::{Span, span_in},
    parse_target, tokens,
};

/// The head of a request: what the client sent, or what a backend gets.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    version: Version,
    method: Span,
    target: Span,
    authority: Option<Span>,
    /// Path and query; in `fields` as all spans.
    path: Span,
    form: Form,
}

/// The form of the target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Path,
    Asterisk,
    Other,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            version: Version::HTTP_11,
            method: Span::default(),
            target: Span::default(),
            authority: None,
            path: Span::default(),
            form: Form::Other,
        }
    }
}

impl RequestHead {
    /// Begins a head in the form of HTTP/1.1. Fields follow by [`RequestHead::fields_mut`], and
    /// [`RequestHead::finish`] ends it.
    pub fn begin(&mut self, method: &[u8], target: &[u8], version: Version) {
        self.fields.clear();
        self.version = version;
        self.method = self.fields.push_raw(method);
        self.fields.push_raw(b" ");
        self.target = self.fields.push_raw(target);
        self.fields.push_raw(b" HTTP/1.1\r\n");
        self.authority = None;
        self.path = self.target;
        self.form = match target {
            [b'/', ..] => Form::Path,
            b"*" => Form::Asterisk,
            _ => Form::Other,
        };
    }

    /// Ends a head that was begun.
    pub fn finish(&mut self) {
        self.fields.push_raw(b"\r\n");
    }

    /// Takes over the head that an HTTP/1.1 parser found in `bytes`. The parts are parts of
    /// `bytes`. Costs a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// When the target is in none of the forms that are served.
    pub fn read<'a>(
        &mut self,
        bytes: &'a [u8],
        version: Version,
        method: &'a [u8],
        target: &'a [u8],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), TargetFault> {
        self.fields.clear();
        self.fields.push_raw(bytes);
        self.version = version;
        self.method = span_in(bytes, method);
        self.target = span_in(bytes, target);
        for (name, value) in fields {
            self.fields
                .note(span_in(bytes, name), span_in(bytes, value));
        }
        self.authority = None;
        self.path = self.target;
        self.form = Form::Other;
        if method == b"CONNECT" {
            // Its target is no path, and a success would make the connection a tunnel.
            return Err(TargetFault::NoPath);
        }
        self.read_target(bytes, target)
    }

    fn read_target(&mut self, bytes: &[u8], target: &[u8]) -> Result<(), TargetFault> {
        match parse_target(target)? {
            Target::Path => self.form = Form::Path,
            Target::Asterisk => self.form = Form::Asterisk,
            Target::Absolute { authority, path } => {
                self.authority = Some(span_in(bytes, authority));
                self.form = Form::Path;
                self.path = match path {
                    [b'/', ..] => span_in(bytes, path),
                    b"" if self.method() == b"OPTIONS" => {
                        // RFC 9112 section 3.2.4: it asks about the server as a whole.
                        self.form = Form::Asterisk;
                        self.fields.push_raw(b"*")
                    }
                    // RFC 9112 section 3.2.1: an empty path is sent as "/".
                    query => {
                        let slash = self.fields.push_raw(b"/");
                        let end = self.fields.push_raw(query);
                        slash.to(end)
                    }
                };
            }
        }
        Ok(())
    }

    /// Notes the `:authority` of HTTP/2.
    pub fn set_authority(&mut self, authority: &[u8]) {
        self.authority = Some(self.fields.push_raw(authority));
        self.fields.push_raw(b"\r\n");
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The method, in the case that it came in.
    pub fn method(&self) -> &[u8] {
        self.method.of(self.fields.bytes())
    }

    /// The method as text; methods are tokens (RFC 9110 section 9.1).
    pub fn method_text(&self) -> &str {
        str::from_utf8(self.method()).unwrap_or_default()
    }

    /// The target as it came.
    pub fn target(&self) -> &str {
        str::from_utf8(self.target.of(self.fields.bytes())).unwrap_or_default()
    }

    /// Path and query. Begins with a slash unless it is the target of `OPTIONS *`.
    pub fn path_and_query(&self) -> &str {
        str::from_utf8(self.path.of(self.fields.bytes())).unwrap_or_default()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        let whole = self.path_and_query();
        whole.split_once('?').map_or(whole, |(path, _query)| path)
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        Some(self.path_and_query().split_once('?')?.1)
    }

    /// The authority of an absolute target, or HTTP/2's `:authority`.
    pub fn authority(&self) -> Option<&[u8]> {
        Some(self.authority?.of(self.fields.bytes()))
    }

    /// Whether the target begins with a slash.
    pub fn has_path(&self) -> bool {
        self.form == Form::Path
    }

    /// Whether it asks about the server as a whole (RFC 9110 section 9.3.7).
    pub fn is_options_asterisk(&self) -> bool {
        self.form == Form::Asterisk && self.method() == b"OPTIONS"
    }

    /// Whether the method is `HEAD`.
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Whether it may be sent twice (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method(),
            b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE"
        )
    }

    /// The fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields of a head that is being built.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The whole head as HTTP/1.1 sends it; only of a head that was built here.
    pub fn as_http1(&self) -> &[u8] {
        self.fields.bytes()
    }

    /// Whether the client reads trailers.
    pub fn wants_trailers(&self) -> bool {
        tokens(self.fields.of_kind(Kind::Te)).any(|token| {
            let name = token.split(|&byte| byte == b';').next();
            name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        })
    }

    /// Whether it is a gRPC call, told from its content type. `application/grpc-web` is not.
    pub fn is_grpc(&self) -> bool {
        let content_type = self.fields.first(Kind::ContentType);
        let suffix = content_type.and_then(|text| text.strip_prefix(b"application/grpc"));
        suffix.is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';' | b' ')))
    }

    /// Whether the client waits for a 100 before it sends the body (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        let mut expectations = tokens(self.fields.of_kind(Kind::Expect));
        self.version >= Version::HTTP_11
            && expectations.any(|token| token.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether the client's connection can carry another request after this one.
    pub fn is_keep_alive(&self) -> bool {
        is_keep_alive(&self.fields, self.version)
    }

    /// The one protocol that it asks to switch to, named by `Connection` (RFC 9110 section 7.8).
    /// HTTP/1.0 cannot ask, and HTTP/2 asks otherwise.
    pub fn asked_upgrade(&self) -> Option<&[u8]> {
        let can_ask = self.version == Version::HTTP_11;
        asked_upgrade(&self.fields).filter(|_| can_ask)
    }
}

/// Whether a connection persists after a message of this version with these fields (RFC 9112
/// section 9.3). `close` wins over `keep-alive`.
pub(super) fn is_keep_alive(fields: &Fields, version: Version) -> bool {
    let has_option = |name: &[u8]| {
        let mut options = tokens(fields.of_kind(Kind::Connection));
        options.any(|option| option.eq_ignore_ascii_case(name))
    };
    !has_option(b"close") && (version >= Version::HTTP_11 || has_option(b"keep-alive"))
}

/// The one protocol that a head names in `Upgrade`, if `Connection` names `Upgrade`.
pub(super) fn asked_upgrade(fields: &Fields) -> Option<&[u8]> {
    let mut protocols = tokens(fields.of_kind(Kind::Upgrade));
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
        return None;
    };
    let mut options = tokens(fields.of_kind(Kind::Connection));
    let is_named = options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    is_named.then_some(protocol)
}

#[cfg(test)]
mod tests;
