//! Answers of our own: what a client gets where no backend answers it.

use http::Version;

use crate::{
    data::{
        fault::Fault,
        stream::{MessageStream, StreamFault, Turn},
    },
    http1::Piece,
    message::{Fields, Framing, Kind, RequestHead, tokens},
};

/// What an answer must suit.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Asked {
    pub(in crate::data) version: Version,
    pub(in crate::data) to_head: bool,
    pub(in crate::data) is_grpc: bool,
    pub(in crate::data) wants_json: bool,
}

impl Asked {
    /// What the answer to a request must suit.
    pub(in crate::data) fn by(head: &RequestHead) -> Self {
        let accept = head.fields().value(b"accept").unwrap_or_default();
        let json = b"application/json";
        Self {
            version: head.version(),
            to_head: head.is_head(),
            is_grpc: head.is_grpc(),
            wants_json: accept.windows(json.len()).any(|part| part == json),
        }
    }

    /// What the answer to a head that cannot be read must suit.
    pub(in crate::data) fn unreadably() -> Self {
        Self {
            version: Version::HTTP_11,
            to_head: false,
            is_grpc: false,
            wants_json: false,
        }
    }
}

/// Answers a request by a fault: its message as text or JSON, or a gRPC status, with the request's
/// id. Returns the bytes of the body.
///
/// # Errors
///
/// When the client is gone.
pub(in crate::data) fn refuse(
    turn: &mut Turn<'_, '_>,
    client: &mut MessageStream,
    asked: Asked,
    fault: &Fault,
    request_id: &[u8],
    is_last: bool,
) -> Result<usize, StreamFault> {
    let row = fault.row();
    if asked.is_grpc {
        let status = fault.to_status().into_http::<()>();
        let head = &mut turn.scratch.outgoing;
        head.begin(200, b"", Version::HTTP_11);
        for (name, value) in status.headers() {
            head.fields_mut()
                .push(name.as_str().as_bytes(), value.as_bytes());
        }
        push_request_id(head.fields_mut(), request_id);
        return send(turn, client, asked, b"", is_last);
    }
    let (content_type, body) = match (fault.limited(), asked.wants_json) {
        // The body that clients of rate limiters know.
        (Some(_), _) => (JSON, json_body(fault, b"")),
        (None, true) => (JSON, json_body(fault, request_id)),
        (None, false) => (TEXT, text_body(fault, request_id)),
    };
    let head = &mut turn.scratch.outgoing;
    head.begin(row.status, b"", Version::HTTP_11);
    let fields = head.fields_mut();
    fields.push_as(Kind::ContentType, b"content-type", content_type);
    fields.push_as(Kind::Other, b"cache-control", b"no-store");
    push_request_id(fields, request_id);
    if let Some(limited) = fault.limited() {
        limited.write(fields);
    }
    if row.status == 503 {
        fields.push_as(Kind::Other, b"retry-after", b"1");
    }
    send(turn, client, asked, body.as_bytes(), is_last)
}

fn json_body(fault: &Fault, request_id: &[u8]) -> String {
    let (code, message) = (fault.row().status, fault.to_string());
    let body = match request_id.is_empty() {
        true => serde_json::json!({ "code": code, "message": message }),
        false => {
            let id = String::from_utf8_lossy(request_id);
            serde_json::json!({ "code": code, "message": message, "request_id": id })
        }
    };
    body.to_string()
}

fn text_body(fault: &Fault, request_id: &[u8]) -> String {
    match request_id.is_empty() {
        true => format!("{fault}\n"),
        false => format!(
            "{fault}\nrequest ID: {}\n",
            String::from_utf8_lossy(request_id)
        ),
    }
}

fn push_request_id(fields: &mut Fields, request_id: &[u8]) {
    if !request_id.is_empty() {
        fields.push_as(Kind::RequestId, b"x-request-id", request_id);
    }
}

/// Sends the answer whose head was begun in the scratch buffers.
///
/// # Errors
///
/// When the client is gone.
pub(in crate::data) fn send(
    turn: &mut Turn<'_, '_>,
    client: &mut MessageStream,
    asked: Asked,
    body: &[u8],
    is_last: bool,
) -> Result<usize, StreamFault> {
    let head = &mut turn.scratch.outgoing;
    let length = body.len().to_string();
    // A gRPC answer without a body has no length in its head, nor has a 204 (RFC 9110 section 8.6).
    let has_length = !asked.is_grpc || asked.version < Version::HTTP_2;
    if has_length && head.status() != 204 {
        head.fields_mut()
            .push_as(Kind::ContentLength, b"content-length", length.as_bytes());
    }
    head.fields_mut()
        .push_as(Kind::Date, b"date", turn.scratch.date.as_bytes());
    if asked.version < Version::HTTP_2 && is_last {
        head.fields_mut()
            .push_as(Kind::Connection, b"connection", b"close");
    }
    head.finish();
    let framing = match asked.to_head || body.is_empty() {
        true => Framing::Empty,
        false => Framing::Length(body.len() as u64),
    };
    client.send_response(turn, framing, false)?;
    if framing == Framing::Empty {
        return Ok(0);
    }
    client.send(&mut turn.outlet(), Piece::Data(body))?;
    client.send(&mut turn.outlet(), Piece::End(None))?;
    Ok(body.len())
}

/// Answers `OPTIONS *`, which is about this server and no backend (RFC 9110 section 9.3.7).
///
/// # Errors
///
/// When the client is gone.
pub(in crate::data) fn options(
    turn: &mut Turn<'_, '_>,
    client: &mut MessageStream,
    asked: Asked,
    is_last: bool,
) -> Result<usize, StreamFault> {
    let head = &mut turn.scratch.outgoing;
    head.begin(200, b"", Version::HTTP_11);
    let methods = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    head.fields_mut().push_as(Kind::Other, b"allow", methods);
    send(turn, client, asked, b"", is_last)
}

/// Whether a request's connection may carry another one, as far as the request says.
pub(in crate::data) fn asks_to_keep(head: &RequestHead) -> bool {
    head.version() == Version::HTTP_2 || head.is_keep_alive()
}

/// Whether an HTTP/1.0 client asks for its connection to be kept, and must be told that it is.
pub(in crate::data) fn asks_to_be_told(head: &RequestHead) -> bool {
    let mut options = tokens(head.fields().of_kind(Kind::Connection));
    head.version() == Version::HTTP_10
        && options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
}

const JSON: &[u8] = b"application/json";
const TEXT: &[u8] = b"text/plain; charset=utf-8";
