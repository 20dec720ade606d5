//! A page that shows the API's document and sends requests to it. Needs nothing from the internet.

use axum::{
    Router,
    http::header,
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
