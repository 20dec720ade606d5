//! A request as backends get it.

use http::Version;

use crate::{
    data::{
        connection::Peer,
        exchange::{
            policies::LOOP_TOKEN,
            request_id::new_request_id,
            rewrite::{NamedByConnection, Ruled, push_length},
            route::Routed,
        },
        fault::Fault,
    },
    message::{Fields, Framing, Kind, RequestHead, forwarded_chain, is_trusted},
    route::{Prefix, Route},
};

/// Writes a request as backends get it. Nothing that concerns the client's connection alone goes
/// on; who asked is said as nginx users set it up; the client's own word counts only if it is a
/// trusted proxy. The route's rules come last.
///
/// # Errors
///
/// When the path has no form without the route's prefix.
pub(in crate::data::exchange) fn request(
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
        out.push(Kind::RequestId, b"x-request-id", &new_request_id());
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
