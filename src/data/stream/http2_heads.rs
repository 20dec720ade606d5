//! Heads between HTTP/2, as the `h2` crate has them, and ours.

use bytes::Bytes;
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    request, response, uri,
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    config::Scheme,
    data::stream::scratch::Arena,
    message::{Kind, RequestHead, ResponseHead},
};

/// Copies the head of a client's request. Joins the cookies that HTTP/2 may split (RFC 9113
/// section 8.2.3). Returns whether it asks for an extended CONNECT (RFC 8441).
pub(in crate::data) fn read_request(parts: &request::Parts, head: &mut RequestHead) {
    let target = parts
        .uri
        .path_and_query()
        .map_or("", uri::PathAndQuery::as_str);
    let method = match parts.extensions.get::<Protocol>() {
        Some(_extended) => "CONNECT",
        None => parts.method.as_str(),
    };
    head.begin(method.as_bytes(), target.as_bytes(), Version::HTTP_2);
    if let Some(authority) = parts.uri.authority() {
        head.set_authority(authority.as_str().as_bytes());
    }
    let cookies = parts.headers.get_all(http::header::COOKIE);
    let are_split = cookies.iter().count() > 1;
    for (name, value) in &parts.headers {
        let kind = Kind::of(name.as_str().as_bytes());
        if kind != Kind::Cookie || !are_split {
            head.fields_mut()
                .push_as(kind, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if are_split {
        let all: Vec<&[u8]> = cookies.iter().map(HeaderValue::as_bytes).collect();
        head.fields_mut()
            .push_as(Kind::Cookie, b"cookie", &all.join(&b"; "[..]));
    }
    head.finish();
}

/// Copies the head of a backend's response.
pub(in crate::data) fn read_response(parts: &response::Parts, head: &mut ResponseHead) {
    head.begin(parts.status.as_u16(), b"", Version::HTTP_2);
    for (name, value) in &parts.headers {
        head.fields_mut()
            .push(name.as_str().as_bytes(), value.as_bytes());
    }
    head.finish();
}

/// A request for a backend. `None` if it cannot be one: a route's rule may have set a host that is
/// none.
pub(in crate::data) fn to_request(
    head: &RequestHead,
    scheme: Scheme,
    arena: &mut Arena,
) -> Option<Request<()>> {
    let mut target = uri::Parts::default();
    target.scheme = Some(match scheme {
        Scheme::Http | Scheme::H2c | Scheme::Tcp => uri::Scheme::HTTP,
        Scheme::Https => uri::Scheme::HTTPS,
    });
    let whole = arena.copy(head.as_http1());
    let share = |part: &[u8]| share(&whole, head.as_http1(), part);
    target.authority =
        uri::Authority::from_maybe_shared(share(head.fields().first(Kind::Host)?)).ok();
    target.path_and_query = Some(path_and_query(head, share)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method()).ok()?;
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.reserve(head.fields().len());
    for field in head.fields().iter() {
        if is_of_http1_alone(field.kind) {
            continue;
        }
        append(headers, field.name, share(field.value));
    }
    Some(request)
}

/// The target. Characters that HTTP/1.1 clients leave unescaped and the `http` crate refuses are
/// escaped, as browsers do.
fn path_and_query(head: &RequestHead, share: impl Fn(&[u8]) -> Bytes) -> Option<uri::PathAndQuery> {
    let target = head.path_and_query();
    if let Ok(same) = uri::PathAndQuery::from_maybe_shared(share(target.as_bytes())) {
        return Some(same);
    }
    let escaped = utf8_percent_encode(target, REFUSED).to_string();
    uri::PathAndQuery::try_from(escaped).ok()
}

const REFUSED: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The head of a response for a client.
pub(in crate::data) fn to_response(head: &ResponseHead, arena: &mut Arena) -> Response<()> {
    let whole = arena.copy(head.as_http1());
    let mut response = Response::new(());
    *response.status_mut() = status(head);
    let headers = response.headers_mut();
    headers.reserve(head.fields().len());
    for field in head.fields().iter() {
        if !is_of_http1_alone(field.kind) {
            append(
                headers,
                field.name,
                share(&whole, head.as_http1(), field.value),
            );
        }
    }
    response
}

/// An interim response for a client.
pub(super) fn interim(head: &ResponseHead) -> Response<()> {
    to_response(head, &mut Arena::default())
}

fn status(head: &ResponseHead) -> StatusCode {
    StatusCode::from_u16(head.status()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// Whether a field frames a message of HTTP/1.1, or stands in a pseudo-header (RFC 9113 section
/// 8.2.2).
fn is_of_http1_alone(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Host | Kind::Connection | Kind::TransferEncoding | Kind::Upgrade | Kind::KeepAlive
    )
}

/// The same part of a shared copy.
fn share(copy: &Bytes, whole: &[u8], part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    let end = start.saturating_add(part.len());
    match end <= copy.len() {
        true => copy.slice(start..end),
        false => Bytes::copy_from_slice(part),
    }
}

/// Adds a field. One that HTTP/2 cannot carry is left out.
pub(super) fn append(headers: &mut HeaderMap, name: &[u8], value: Bytes) {
    let name = HeaderName::from_bytes(name);
    let value = HeaderValue::from_maybe_shared(value);
    if let (Ok(name), Ok(value)) = (name, value) {
        headers.append(name, value);
    }
}

/// The size of a request's header list.
pub(in crate::data) fn head_bytes<B>(request: &Request<B>) -> u64 {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    let authority = request
        .uri()
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let pseudo = request.method().as_str().len() + authority + target + PSEUDO_NAMES_BYTES;
    (fields.sum::<usize>() + pseudo) as u64
}

const FIELD_OVERHEAD: usize = 32;
/// `:method`, `:scheme`, `:authority` and `:path`, with `https` and the overhead of four fields.
const PSEUDO_NAMES_BYTES: usize = 7 + 7 + 10 + 5 + 5 + 4 * FIELD_OVERHEAD;
