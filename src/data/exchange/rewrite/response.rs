//! A response as the client gets it.

use http::Version;

use crate::{
    data::exchange::rewrite::{NamedByConnection, Ruled, push_length},
    header_rules::HeaderRules,
    message::{Fields, Framing, Kind, ResponseHead},
};

/// What a response must suit.
#[derive(Clone, Copy, Debug)]
pub(in crate::data::exchange) struct ResponseFor {
    /// The client's version.
    pub(in crate::data::exchange) version: Version,
    /// Whether the client's connection carries no further request.
    pub(in crate::data::exchange) is_last: bool,
    /// Whether an HTTP/1.0 client asked for its connection to be kept.
    pub(in crate::data::exchange) says_keep_alive: bool,
}

/// Writes a response as the client gets it. Returns how its body is framed.
pub(in crate::data::exchange) fn response(
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
pub(in crate::data::exchange) fn switch(
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
pub(in crate::data::exchange) fn interim(head: &ResponseHead, out: &mut ResponseHead) {
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
