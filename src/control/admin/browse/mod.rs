//! A page that shows the API's document and sends requests to it. Needs nothing from the internet.

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::control::admin::Admin;

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/api/docs", get(page))
        .route("/api/docs/page.css", get(style))
        .route("/api/docs/page.js", get(script))
}

async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("page.html"))
}

async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("page.css"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let kept = (header::CACHE_CONTROL, "no-cache");
    ([(header::CONTENT_TYPE, content_type), kept], text).into_response()
}

/// Adds what every answer tells browsers: scripts and styles of this listener alone, in no frame
/// (Content Security Policy Level 3), and no other content type than the one that is named.
pub(super) async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
