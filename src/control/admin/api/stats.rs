//! `/api/v1/stats`: the running process in numbers.

use axum::{extract::State, http::StatusCode, response::Response};

use crate::control::{
    admin::{Admin, api::json, problem::Problem},
    stats::Stats,
};

/// Shows the running process in numbers: process, redirect service, listeners, upstreams, backends.
#[utoipa::path(get, path = "/api/v1/stats", responses(
    (status = 200, body = Stats),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(admin): State<Admin>) -> Response {
    json(StatusCode::OK, &admin.stats.latest().stats)
}
