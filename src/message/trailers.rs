//! Fields behind a body.

use crate::message::{Field, Fields, Kind};

/// The trailers that may be passed on: not those that a receiver needs before the body, or that
/// would deceive it when they come late (RFC 9110 section 6.5.1).
pub fn allowed_trailers(trailers: &Fields) -> impl Iterator<Item = Field<'_>> {
    trailers.iter().filter(|field| {
        let is_proxy_field = !matches!(field.kind, Kind::Other | Kind::RequestId);
        !is_proxy_field && !FORBIDDEN.iter().any(|name| field.is_named(name))
    })
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
        let allowed: Vec<_> = allowed_trailers(&trailers).map(|f| f.name).collect();
        assert_eq!(allowed, [&b"grpc-status"[..], b"x-checksum"]);
    }
}
