//! `GET /redirect?video=URL` over HTTP/1.1 and HTTP/2.

use std::{borrow::Cow, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, header, uri::Authority};
use percent_encoding::percent_decode_str;

use crate::{
    data::{
        connection::{Call, Connection},
        error::CallError,
        redirect::AnswerBody,
    },
    proto::REDIRECT_PATH,
};

/// Answers a request that is not gRPC.
pub(super) fn answer<B>(connection: &Rc<Connection>, request: &Request<B>) -> Response<AnswerBody> {
    let mut call = connection.call_started();
    let answer = redirect(connection, request);
    call.answered();
    let doubtful = matches!(answer, Err(CallError::BadHost(_)));
    let mut response = match answer {
        Ok(location) => found(location, call),
        Err(error) => refused(error, request.method(), call),
    };
    if connection.is_last_answer() || (doubtful && request.version() < Version::HTTP_2) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn redirect<B>(connection: &Connection, request: &Request<B>) -> Result<HeaderValue, CallError> {
    let engine = &connection.worker().redirect;
    let video = video_of(request).inspect_err(|error| engine.reject(error.reason()))?;
    let location = engine.redirect(video.into_owned())?;
    // Only graphic ASCII passes the rule, so this cannot fail.
    HeaderValue::from_maybe_shared(Bytes::from(location)).map_err(|_source| CallError::Panic)
}

fn video_of<B>(request: &Request<B>) -> Result<Cow<'_, str>, CallError> {
    check_host(request)?;
    match request.uri().path() {
        "/redirect" => {}
        REDIRECT_PATH => return Err(CallError::UnsupportedMediaType),
        _ => return Err(CallError::NotFound),
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(CallError::MethodNotAllowed);
    }
    let query = request.uri().query().unwrap_or_default();
    let mut videos = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("video="));
    let encoded = videos.next().ok_or(CallError::BadRequest(
        "the query has no video; use /redirect?video=URL with the URL percent-encoded",
    ))?;
    if videos.next().is_some() {
        return Err(CallError::BadRequest("the query has more than one video"));
    }
    percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_source| {
            CallError::BadRequest("the video is not UTF-8 once it is percent-decoded")
        })
}

/// HTTP/1.1 needs exactly one valid `Host` (RFC 9112 section 3.2), and HTTP/2 one that is its
/// `:authority` (RFC 9113 section 8.3.1); hyper checks neither.
fn check_host<B>(request: &Request<B>) -> Result<(), CallError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let fault = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("more than one Host header"),
        (None, None) if request.version() == Version::HTTP_11 => Some("the Host header is missing"),
        (Some(host), None) if !is_authority(host) => Some("the Host header is malformed"),
        (Some(host), None) if contradicts(host, request) => {
            Some("the Host header is not the :authority")
        }
        (Some(_) | None, None) => None,
    };
    fault.map_or(Ok(()), |fault| Err(CallError::BadHost(fault)))
}

fn contradicts<B>(host: &HeaderValue, request: &Request<B>) -> bool {
    // An HTTP/1.1 request in absolute form may differ: its target wins (RFC 9112 section 3.2.2).
    let authority = request
        .uri()
        .authority()
        .filter(|_| request.version() == Version::HTTP_2);
    authority.is_some_and(|authority| {
        !authority
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes())
    })
}

fn is_authority(host: &HeaderValue) -> bool {
    let authority = Authority::try_from(host.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

fn found(location: HeaderValue, call: Call) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty(call));
    *response.status_mut() = http::StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(error: CallError, method: &Method, call: Call) -> Response<AnswerBody> {
    let status = error.http_status();
    let body = serde_json::json!({ "code": status.as_u16(), "message": error.to_string() });
    let mut response = Response::new(match *method {
        // hyper drops the body of such an answer over HTTP/1.1 alone.
        Method::HEAD => AnswerBody::empty(call),
        _ => AnswerBody::whole(Bytes::from(body.to_string()), call),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error == CallError::MethodNotAllowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
