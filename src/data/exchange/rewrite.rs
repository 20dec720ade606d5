//! The stage that writes heads anew: the request as backends get it, the response as the client
//! gets it.

use std::io::Write as _;

use http::Version;

use crate::{
    data::{
        connection::Peer,
        exchange::{policies::LOOP_TOKEN, route::Routed},
        fault::Fault,
    },
    header_rules::HeaderRules,
    message::{
        Fields, Framing, Kind, RequestHead, ResponseHead, forwarded_chain, is_trusted, tokens,
    },
    route::{Prefix, Route},
};

/// Writes a request as backends get it. Nothing that concerns the client's connection alone goes
/// on; who asked is said as nginx users set it up; the client's own word counts only if it is a
/// trusted proxy. The route's rules come last.
///
/// # Errors
///
/// When the path has no form without the route's prefix.
pub(super) fn request(
    head: &RequestHead,
    routed: &Routed<'_>,
    peer: &Peer,
    body: Framing,
    upgrade: Option<&[u8]>,
    out: &mut RequestHead,
) -> Result<(), Fault> {
    match routed.route.prefix {
        Prefix::Keep => out.begin(
            head.method(),
            head.path_and_query().as_bytes(),
            Version::HTTP_11,
        ),
        Prefix::Strip => {
            let target = without_prefix(head, routed.route)?;
            out.begin(head.method(), target.as_bytes(), Version::HTTP_11);
        }
    }
    write_request_fields(head, routed, peer, body, upgrade, out.fields_mut());
    out.finish();
    Ok(())
}

fn write_request_fields(
    head: &RequestHead,
    routed: &Routed<'_>,
    peer: &Peer,
    body: Framing,
    upgrade: Option<&[u8]>,
    fields: &mut Fields,
) {
    let mut out = Ruled {
        fields,
        rules: &routed.route.request_headers,
    };
    out.push(Kind::Host, b"host", routed.host);
    let trusted = is_trusted(peer.ip, &routed.listener.trusted_proxies);
    pass_request_fields(head, trusted, &mut out);
    say_who_asked(head, routed, peer, trusted, &mut out);
    frame_request(head, body, &mut out);
    if let Some(protocol) = upgrade {
        out.push(Kind::Connection, b"connection", b"upgrade");
        out.push(Kind::Upgrade, b"upgrade", protocol);
    }
    out.push_set();
}

fn without_prefix(head: &RequestHead, route: &Route) -> Result<String, Fault> {
    let mut target = route
        .without_prefix(head.path())
        .map_err(Fault::BadRequest)?;
    if let Some(query) = head.query() {
        target.extend(["?", query]);
    }
    Ok(target)
}

/// Passes on what backends get as the client sent it.
fn pass_request_fields(head: &RequestHead, trusted: bool, out: &mut Ruled<'_>) {
    let named = NamedByConnection::of(head.fields());
    for field in head.fields().iter() {
        let passes = match field.kind {
            Kind::Other
            | Kind::Date
            | Kind::Cookie
            | Kind::ContentType
            | Kind::RequestId
            | Kind::CdnLoop => true,
            Kind::ForwardedProto | Kind::ForwardedHost | Kind::ForwardedClaim => trusted,
            // Written anew, where it is.
            Kind::Host
            | Kind::ContentLength
            | Kind::TransferEncoding
            | Kind::Connection
            | Kind::KeepAlive
            | Kind::Te
            | Kind::Upgrade
            | Kind::Expect
            | Kind::HopByHop
            | Kind::ForwardedFor
            | Kind::RealIp
            | Kind::Ambiguous => false,
        };
        if passes && !named.contains(field.name) {
            out.push(field.kind, field.name, field.value);
        }
    }
}

/// Says who asked and how, in the fields that nginx users set.
fn say_who_asked(
    head: &RequestHead,
    routed: &Routed<'_>,
    peer: &Peer,
    trusted: bool,
    out: &mut Ruled<'_>,
) {
    let fields = head.fields();
    let named = NamedByConnection::of(fields);
    let has = |kind| {
        let mut of_kind = fields.of_kind(kind);
        trusted && of_kind.any(|field| !named.contains(field.name))
    };
    let peer_text = peer.text.as_bytes();
    if has(Kind::ForwardedFor) {
        let chain = forwarded_chain(fields);
        out.push_parts(
            Kind::ForwardedFor,
            b"x-forwarded-for",
            &[&chain, b", ", peer_text],
        );
    } else {
        out.push(Kind::ForwardedFor, b"x-forwarded-for", peer_text);
    }
    if routed.client == peer.ip {
        out.push(Kind::RealIp, b"x-real-ip", peer_text);
    } else {
        let client = routed.client.to_string();
        out.push(Kind::RealIp, b"x-real-ip", client.as_bytes());
    }
    if !has(Kind::ForwardedProto) {
        out.push(Kind::ForwardedProto, b"x-forwarded-proto", b"http");
    }
    if !has(Kind::ForwardedHost) {
        out.push(Kind::ForwardedHost, b"x-forwarded-host", routed.host);
    }
    let mut ids = fields.of_kind(Kind::RequestId);
    if !ids.any(|id| !named.contains(id.name)) {
        out.push(Kind::RequestId, b"x-request-id", &request_id());
    }
    out.push(Kind::CdnLoop, b"cdn-loop", LOOP_TOKEN);
}

/// Says how long the body is, in one way.
fn frame_request(head: &RequestHead, body: Framing, out: &mut Ruled<'_>) {
    match body {
        Framing::Length(length) => push_length(out.fields, length),
        Framing::Chunked | Framing::UntilEnd => {
            out.fields
                .push_as(Kind::TransferEncoding, b"transfer-encoding", b"chunked");
        }
        // Some servers answer 411, or wait (RFC 9110 section 8.6).
        Framing::Empty if matches!(head.method(), b"POST" | b"PUT" | b"PATCH") => {
            push_length(out.fields, 0);
        }
        Framing::Empty => {}
    }
    if head.expects_continue() && body != Framing::Empty {
        out.fields.push_as(Kind::Expect, b"expect", b"100-continue");
    }
}

fn push_length(fields: &mut Fields, length: u64) {
    let mut digits = [0; 20];
    let mut rest = &mut digits[..];
    let _fits = write!(rest, "{length}");
    let left = rest.len();
    let digits = digits.get(..20 - left).unwrap_or_default();
    fields.push_as(Kind::ContentLength, b"content-length", digits);
}

/// 128 random bits in hexadecimal digits.
fn request_id() -> [u8; 32] {
    let mut random = fastrand::u128(..);
    [(); 32].map(|()| {
        let digit = u32::try_from(random & 15).unwrap_or_default();
        random >>= 4;
        char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8)
    })
}

/// What a response must suit.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseFor {
    /// The client's version.
    pub(super) version: Version,
    /// Whether the client's connection carries no further request.
    pub(super) is_last: bool,
    /// Whether an HTTP/1.0 client asked for its connection to be kept.
    pub(super) says_keep_alive: bool,
}

/// Writes a response as the client gets it. Returns how its body is framed.
pub(super) fn response(
    head: &ResponseHead,
    body: Framing,
    suits: ResponseFor,
    rules: &HeaderRules,
    date: &[u8],
    out: &mut ResponseHead,
) -> Framing {
    out.begin(head.status(), head.reason(), Version::HTTP_11);
    let mut out_fields = Ruled {
        fields: out.fields_mut(),
        rules,
    };
    pass_response_fields(head, &mut out_fields);
    // RFC 9110 section 6.6.1.
    if head.fields().first(Kind::Date).is_none() {
        out_fields.push(Kind::Date, b"date", date);
    }
    out_fields.push_set();
    let framing = match body {
        Framing::Empty => {
            pass_length_of_left_out_body(head, out.fields_mut());
            Framing::Empty
        }
        Framing::Length(length) => {
            push_length(out.fields_mut(), length);
            Framing::Length(length)
        }
        Framing::Chunked | Framing::UntilEnd => match suits.version {
            Version::HTTP_11 => {
                let fields = out.fields_mut();
                fields.push_as(Kind::TransferEncoding, b"transfer-encoding", b"chunked");
                Framing::Chunked
            }
            _ => Framing::UntilEnd,
        },
    };
    let is_last =
        suits.is_last || (framing == Framing::UntilEnd && suits.version < Version::HTTP_2);
    if suits.version < Version::HTTP_2 {
        let option: &[u8] = match (is_last, suits.says_keep_alive) {
            (true, _) => b"close",
            (false, true) => b"keep-alive",
            (false, false) => b"",
        };
        if !option.is_empty() {
            out.fields_mut()
                .push_as(Kind::Connection, b"connection", option);
        }
    }
    out.finish();
    framing
}

/// Writes a 101 to the protocol that both sides agreed on.
pub(super) fn switch(
    head: &ResponseHead,
    protocol: &[u8],
    rules: &HeaderRules,
    out: &mut ResponseHead,
) {
    out.begin(head.status(), head.reason(), Version::HTTP_11);
    let mut fields = Ruled {
        fields: out.fields_mut(),
        rules,
    };
    pass_response_fields(head, &mut fields);
    fields.push_set();
    out.fields_mut()
        .push_as(Kind::Connection, b"connection", b"upgrade");
    out.fields_mut()
        .push_as(Kind::Upgrade, b"upgrade", protocol);
    out.finish();
}

/// Writes an interim response.
pub(super) fn interim(head: &ResponseHead, out: &mut ResponseHead) {
    out.begin(head.status(), head.reason(), Version::HTTP_11);
    let mut fields = Ruled {
        fields: out.fields_mut(),
        rules: &HeaderRules::default(),
    };
    pass_response_fields(head, &mut fields);
    out.finish();
}

/// The response to a `HEAD`, and a 304, say how long the body would be. Neither a 101 nor a 204
/// has a length (RFC 9110 section 8.6).
fn pass_length_of_left_out_body(head: &ResponseHead, fields: &mut Fields) {
    let length = head.fields().first(Kind::ContentLength);
    if let Some(length) = length.filter(|_| !head.is_interim() && head.status() != 204) {
        fields.push_as(Kind::ContentLength, b"content-length", length);
    }
}

/// Passes on what the client gets as the backend sent it. The length is written anew, whatever
/// rules or `Connection` say: without it the client would find another end.
fn pass_response_fields(head: &ResponseHead, out: &mut Ruled<'_>) {
    let named = NamedByConnection::of(head.fields());
    for field in head.fields().iter() {
        let passes = !field.kind.is_hop_by_hop()
            && field.kind != Kind::ContentLength
            && !named.contains(field.name);
        if passes {
            out.push(field.kind, field.name, field.value);
        }
    }
}

/// Fields that are written under a route's rules.
struct Ruled<'a> {
    fields: &'a mut Fields,
    rules: &'a HeaderRules,
}

impl Ruled<'_> {
    fn push(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        if !self.rules.touches(name) {
            self.fields.push_as(kind, name, value);
        }
    }

    fn push_parts(&mut self, kind: Kind, name: &[u8], parts: &[&[u8]]) {
        if !self.rules.touches(name) {
            self.fields.push_parts(kind, name, parts);
        }
    }

    /// Adds what the rules set.
    fn push_set(&mut self) {
        for (name, value) in &self.rules.set {
            self.fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Names that `Connection` may list: each costs a comparison for each field.
pub(super) const OPTIONS_MAX: usize = 32;

/// The names that `Connection` lists, which go no further (RFC 9110 section 7.6.1).
struct NamedByConnection<'a>(Option<&'a Fields>);

impl<'a> NamedByConnection<'a> {
    fn of(fields: &'a Fields) -> Self {
        let is_usual = |option: &[u8]| {
            let usual: [&[u8]; 4] = [b"keep-alive", b"close", b"upgrade", b"te"];
            usual.iter().any(|usual| option.eq_ignore_ascii_case(usual))
        };
        let mut options = tokens(fields.of_kind(Kind::Connection));
        Self(options.any(|option| !is_usual(option)).then_some(fields))
    }

    /// Costs nothing where `Connection` lists no name.
    fn contains(&self, name: &[u8]) -> bool {
        self.0.is_some_and(|fields| {
            let mut options = tokens(fields.of_kind(Kind::Connection)).take(OPTIONS_MAX);
            options.any(|option| option.eq_ignore_ascii_case(name))
        })
    }
}
