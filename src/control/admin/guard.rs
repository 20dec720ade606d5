//! Which requests the admin listener answers: what comes before each handler.
//!
//! A web page can send requests to any listener that the visitor's browser reaches,
//! loopback included. It cannot send JSON to another origin unasked, nor hide its own origin.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use tokio::time::{Duration, timeout};

use crate::{
    control::admin::{Admin, problem::Problem, settings::Access},
    store::audit::Actor,
};

/// The other end of an admin connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Refuses requests that a web page sends by a name of its own. Probes may come by any name, as
/// kubelet and Prometheus do.
pub(super) async fn check_host(
    State(admin): State<Admin>,
    request: Request,
    next: Next,
) -> Response {
    let host = host_of(request.headers());
    let is_allowed = host
        .as_ref()
        .is_none_or(|host| admin.settings.access().takes_host(host));
    if is_allowed || is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let host = host.unwrap_or_default();
    let reason = format!("the host {host:?} is not allowed here; name it in admin.hosts\n");
    (StatusCode::FORBIDDEN, reason).into_response()
}

/// Refuses what must not change anything, and notes who changes something.
pub(super) async fn check_changes(
    State(admin): State<Admin>,
    mut request: Request,
    next: Next,
) -> Response {
    if has_token_in_query(request.uri().query()) {
        let detail = "a token belongs in the header Authorization: addresses are logged";
        return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
    }
    let is_read = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !is_read {
        let peer = request
            .extensions()
            .get::<Peer>()
            .map(|Peer(address)| *address);
        let name = match allow_change(
            &admin.settings.access(),
            request.method(),
            request.headers(),
        ) {
            Ok(name) => name,
            Err(problem) => return problem.into_response(),
        };
        request.extensions_mut().insert(Actor {
            name: name.to_owned(),
            address: peer.map(|address| address.to_string()).unwrap_or_default(),
        });
    }
    // Handlers may ask the database; so many at a time, and no more wait.
    let Ok(_place) = admin.calls.clone().try_acquire_owned() else {
        let detail = "too many requests of the admin API at a time";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    match timeout(CALL_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        // Its body may come slowly, and must not keep the place.
        Err(_elapsed) => {
            let detail = format!("the request took longer than {CALL_TIME_MAX:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}

/// Tells who makes a change.
fn allow_change(
    access: &Access,
    method: &Method,
    headers: &HeaderMap,
) -> Result<&'static str, Problem> {
    if !is_own_page(access, headers) {
        let detail = "requests of web pages of other origins change nothing here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let name = match &access.token {
        Some(token) => {
            let presented = bearer(headers);
            if !presented.is_some_and(|presented| token.is(presented)) {
                let detail = "changes need the header Authorization: Bearer TOKEN";
                return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
            }
            "token"
        }
        None if access.is_local => "local",
        None => {
            let detail = "changes need a token here, as the listener is no loopback address: set WEIR_ADMIN_TOKEN or admin.token_file";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
    };
    // A page of another origin cannot send these without being asked for its permission.
    let needs_json = method != Method::DELETE;
    match needs_json && !is_json(headers) {
        true => {
            let detail = "the content type must be application/json";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
        false => Ok(name),
    }
}

/// Whether a request is of no web page, or of one of this listener's.
fn is_own_page(access: &Access, headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    let is_same_site = site.is_none_or(|site| site == b"same-origin");
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str());
    is_same_site
        && match origin {
            None => true,
            Some(Ok(origin)) => {
                host_of(headers).is_some_and(|host| access.takes_origin(origin, &host))
            }
            Some(Err(_not_text)) => false,
        }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == MERGE_PATCH
}

fn has_token_in_query(query: Option<&str>) -> bool {
    let names = query.unwrap_or_default().split('&');
    let mut names = names.filter_map(|pair| pair.split('=').next());
    names.any(|name| ["token", "access_token"].contains(&name))
}

fn host_of(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?;
    Some(String::from_utf8_lossy(host.as_bytes()).into_owned())
}

fn is_probe(path: &str) -> bool {
    ["/livez", "/readyz", "/healthz", "/metrics"].contains(&path)
}

/// The media type of a merge patch (RFC 7396).
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
/// Above the time that a reload may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(45);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
