//! Fields behind a body.

use crate::message::{Field, Fields, Kind};

/// The trailers that may be passed on: not those that a receiver needs before the body, or that
/// would deceive it when they come late (RFC 9110 section 6.5.1). Names with an underscore go to
/// clients only: they are the backend's own affair.
pub fn allowed_trailers(trailers: &Fields, towards: Towards) -> impl Iterator<Item = Field<'_>> {
    trailers.iter().filter(move |field| {
        let may_pass = matches!(field.kind, Kind::Other | Kind::RequestId | Kind::Date)
            || (field.kind == Kind::Ambiguous && towards == Towards::Client);
        may_pass && !FORBIDDEN.iter().any(|name| field.is_named(name))
    })
}

/// To which side a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Towards {
    /// A response.
    Client,
    /// A request.
    Backend,
}

const FORBIDDEN: [&[u8]; 21] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"vary",
    b"www-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_routes_or_authorizes_stays_out() {
        let mut trailers = Fields::default();
        for name in [
            "grpc-status",
            "Content-Length",
            "transfer-encoding",
            "Host",
            "Authorization",
            "TE",
            "Set-Cookie",
            "x_y",
            "X-Forwarded-For",
            "Content-Type",
            "x-checksum",
            "Range",
            "If-None-Match",
        ] {
            trailers.push(name.as_bytes(), b"1");
        }
        let allowed = |towards| -> Vec<_> {
            allowed_trailers(&trailers, towards)
                .map(|field| field.name)
                .collect()
        };
        assert_eq!(
            allowed(Towards::Backend),
            [&b"grpc-status"[..], b"x-checksum"]
        );
        assert_eq!(
            allowed(Towards::Client),
            [&b"grpc-status"[..], b"x_y", b"x-checksum"]
        );
    }
}
