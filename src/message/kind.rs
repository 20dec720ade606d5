//! What a header field means to a proxy, told from its name.

/// What a header field means to a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Passed on and not looked at.
    Other,
    /// `Host`.
    Host,
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Connection`.
    Connection,
    /// `Keep-Alive`.
    KeepAlive,
    /// `TE`.
    Te,
    /// `Upgrade`.
    Upgrade,
    /// `Expect`.
    Expect,
    /// Concerns one connection alone and is never passed on: `Proxy-Connection`, `Trailer`,
    /// `HTTP2-Settings`; and `Proxy`, which CGI programs read as `HTTP_PROXY`.
    HopByHop,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// `Forwarded` (RFC 7239) and every other `X-Forwarded-` name: a claim that counts only if a
    /// trusted proxy makes it.
    ForwardedClaim,
    /// `X-Real-IP`.
    RealIp,
    /// `X-Request-ID`.
    RequestId,
    /// `CDN-Loop` (RFC 8586).
    CdnLoop,
    /// `Cookie`.
    Cookie,
    /// `Date`.
    Date,
    /// `Content-Type`.
    ContentType,
    /// A name with an underscore: `X_Forwarded_For` is `X-Forwarded-For` to CGI programs.
    Ambiguous,
}

impl Kind {
    /// The kind of a name in any case. Costs a look at its length, and at its bytes where the
    /// length is that of a known name.
    pub fn of(name: &[u8]) -> Self {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let kind = match name.len() {
            2 if is(b"te") => Self::Te,
            4 if is(b"host") => Self::Host,
            4 if is(b"date") => Self::Date,
            5 if is(b"proxy") => Self::HopByHop,
            6 if is(b"cookie") => Self::Cookie,
            6 if is(b"expect") => Self::Expect,
            7 if is(b"upgrade") => Self::Upgrade,
            7 if is(b"trailer") => Self::HopByHop,
            8 if is(b"cdn-loop") => Self::CdnLoop,
            9 if is(b"x-real-ip") => Self::RealIp,
            9 if is(b"forwarded") => Self::ForwardedClaim,
            10 if is(b"connection") => Self::Connection,
            10 if is(b"keep-alive") => Self::KeepAlive,
            12 if is(b"content-type") => Self::ContentType,
            12 if is(b"x-request-id") => Self::RequestId,
            14 if is(b"content-length") => Self::ContentLength,
            14 if is(b"http2-settings") => Self::HopByHop,
            15 if is(b"x-forwarded-for") => Self::ForwardedFor,
            16 if is(b"x-forwarded-host") => Self::ForwardedHost,
            16 if is(b"proxy-connection") => Self::HopByHop,
            17 if is(b"x-forwarded-proto") => Self::ForwardedProto,
            17 if is(b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        };
        if kind != Self::Other {
            return kind;
        }
        if begins_with_claim(name) {
            return Self::ForwardedClaim;
        }
        match name.contains(&b'_') {
            true => Self::Ambiguous,
            false => Self::Other,
        }
    }

    /// Whether it concerns one connection alone (RFC 9110 section 7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Expect
                | Self::HopByHop
        )
    }
}

fn begins_with_claim(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let start = name.get(..PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_in_any_case() {
        for (name, kind) in [
            ("Host", Kind::Host),
            ("TE", Kind::Te),
            ("transfer-ENCODING", Kind::TransferEncoding),
            ("Proxy", Kind::HopByHop),
            ("X-Forwarded-Port", Kind::ForwardedClaim),
            ("X-Forwarded-For", Kind::ForwardedFor),
            ("x_forwarded_for", Kind::Ambiguous),
            ("x-forwardedfor", Kind::Other),
            ("hosts", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(name.as_bytes()), kind, "{name}");
        }
    }
}
