//! The head of a response.

use http::Version;

use crate::message::{
    Fields, Kind,
    fields::{Span, span_in},
    request_head::{asked_upgrade, is_keep_alive},
};

/// The head of a response as a backend sent it.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    fields: Fields,
    version: Version,
    status: u16,
    reason: Span,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            version: Version::HTTP_11,
            status: 0,
            reason: Span::default(),
        }
    }
}

impl ResponseHead {
    /// Begins a head in the form of HTTP/1.1, with the usual reason if `reason` is empty. Fields
    /// follow by [`ResponseHead::fields_mut`], and [`ResponseHead::finish`] ends it.
    pub fn begin(&mut self, status: u16, reason: &[u8], version: Version) {
        let digit = |place: u16| b'0' + u8::try_from(status / place % 10).unwrap_or_default();
        self.fields.clear();
        self.version = version;
        self.status = status;
        self.fields.push_raw(b"HTTP/1.1 ");
        self.fields
            .push_raw(&[digit(100), digit(10), digit(1), b' ']);
        self.reason = self.fields.push_raw(match reason {
            b"" => usual_reason(status).as_bytes(),
            reason => reason,
        });
        self.fields.push_raw(b"\r\n");
    }

    /// Ends a head that was begun.
    pub fn finish(&mut self) {
        self.fields.push_raw(b"\r\n");
    }

    /// The whole head as HTTP/1.1 sends it; only of a head that was built here.
    pub fn as_http1(&self) -> &[u8] {
        self.fields.bytes()
    }

    /// Takes over the head that an HTTP/1.1 parser found in `bytes`. The parts are parts of
    /// `bytes`. Costs a copy of `bytes`.
    pub fn read<'a>(
        &mut self,
        bytes: &'a [u8],
        version: Version,
        status: u16,
        reason: &'a [u8],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        self.fields.clear();
        self.fields.push_raw(bytes);
        self.version = version;
        self.status = status;
        self.reason = match reason {
            b"" => Span::default(),
            reason => span_in(bytes, reason),
        };
        for (name, value) in fields {
            self.fields
                .note(span_in(bytes, name), span_in(bytes, value));
        }
    }

    /// The version that the backend speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; empty if there is none.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.fields.bytes())
    }

    /// The fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields of a head that is being built.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Whether it is an interim response (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Whether the backend's connection can carry another request after this response.
    pub fn is_keep_alive(&self) -> bool {
        is_keep_alive(&self.fields, self.version) && !self.announces_forbidden_body()
    }

    /// Whether it is a 204 that says how long its body is. It has none (RFC 9112 section 6.3), but
    /// a backend that says so may send one, at the beginning of what would be the next response.
    fn announces_forbidden_body(&self) -> bool {
        self.status == 204
            && self.fields.iter().any(|field| {
                let is_empty = field.value.iter().all(|&digit| digit == b'0');
                field.kind == Kind::TransferEncoding
                    || (field.kind == Kind::ContentLength && !is_empty)
            })
    }

    /// Whether it switches to the protocol that was asked for (RFC 9110 section 7.8).
    pub fn switches_to(&self, protocol: &[u8]) -> bool {
        self.status == 101
            && self.version == Version::HTTP_11
            && asked_upgrade(&self.fields).is_some_and(|to| to.eq_ignore_ascii_case(protocol))
    }

    /// Whether it says that the backend cannot do its work: 502, 503 or 504, or a gRPC status of
    /// `UNAVAILABLE` in the head of a response over HTTP/2.
    pub fn says_unavailable(&self) -> bool {
        match self.status {
            502..=504 => true,
            200 if self.version == Version::HTTP_2 => {
                self.fields.value(b"grpc-status") == Some(b"14")
            }
            _ => false,
        }
    }
}

fn usual_reason(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    reason.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, version: Version, fields: &[(&str, &str)]) -> ResponseHead {
        let mut head = ResponseHead::default();
        head.begin(status, b"", version);
        for (name, value) in fields {
            head.fields_mut().push(name.as_bytes(), value.as_bytes());
        }
        head.finish();
        head
    }

    #[test]
    fn connections_are_kept_as_version_and_options_say() {
        for (version, option, kept) in [
            (Version::HTTP_11, "", true),
            (Version::HTTP_11, "Close", false),
            (Version::HTTP_10, "", false),
            (Version::HTTP_10, "keep-alive", true),
            (Version::HTTP_10, "keep-alive, close", false),
        ] {
            let head = head(200, version, &[("Connection", option)]);
            assert_eq!(head.is_keep_alive(), kept, "{version:?} {option}");
        }
    }

    /// Otherwise the body would be the next response.
    #[test]
    fn a_body_where_there_is_none_costs_the_connection() {
        for (status, field, kept) in [
            (204, ("Content-Length", "0"), true),
            (204, ("Content-Length", "10"), false),
            (204, ("Transfer-Encoding", "chunked"), false),
            (304, ("Content-Length", "10"), true),
            (200, ("Content-Length", "10"), true),
        ] {
            let head = head(status, Version::HTTP_11, &[field]);
            assert_eq!(head.is_keep_alive(), kept, "{status} {field:?}");
        }
    }

    #[test]
    fn a_switch_names_the_protocol_that_was_asked_for() {
        let fields = [("Connection", "Upgrade"), ("Upgrade", "WebSocket")];
        let switched = head(101, Version::HTTP_11, &fields);
        assert!(switched.switches_to(b"websocket") && !switched.switches_to(b"h2c"));
        assert!(!head(200, Version::HTTP_11, &fields).switches_to(b"websocket"));
        assert!(!head(101, Version::HTTP_10, &fields).switches_to(b"websocket"));
        assert!(!head(101, Version::HTTP_11, &fields[1..]).switches_to(b"websocket"));
    }
}
