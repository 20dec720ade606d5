//! Liveness, readiness, metrics and `/status`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::encoding::text;

use crate::{
    control::{admin::Admin, is_ready, metrics::MetricsFormat},
    shutdown::Phase,
    state::Status,
};

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/status", get(status))
}

async fn index() -> &'static str {
    concat!(
        "weir ",
        env!("CARGO_PKG_VERSION"),
        "\n\n/livez             the process works\n/readyz            it may get traffic\n/metrics           Prometheus\n/status            version, process and reloads, as JSON\n/stats             listeners, upstreams and backends, live; /stats;csv as HAProxy's\n/api/docs          the admin API, for browsers\n/api/openapi.json  the same as OpenAPI 3.1\n"
    )
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    let phase: Phase = *admin.phase.borrow();
    if is_ready(phase, &admin.shared) {
        return (StatusCode::OK, "ready\n");
    }
    let why = if phase == Phase::Running {
        "probing backends\n"
    } else {
        "stopping\n"
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn status(State(admin): State<Admin>) -> Response {
    let stop_time_max = admin.settings.stop_seconds_max();
    let reloads = &admin.shared.reloads;
    let phase: Phase = *admin.phase.borrow();
    let status = Status {
        is_stopping: phase != Phase::Running,
        reloads: reloads.count_succeeded(),
        reloads_refused: reloads.count_refused(),
        reload_error: reloads.last_error(),
        ..Status::of_this_process(Duration::from_secs(stop_time_max))
    };
    match serde_json::to_string_pretty(&status) {
        Ok(page) => ([(header::CONTENT_TYPE, "application/json")], page).into_response(),
        Err(_unwritable) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn scrape(State(admin): State<Admin>, head: HeaderMap) -> Response {
    let mut page = String::new();
    let format = MetricsFormat::accepted_by(&head);
    match text::encode(&mut page, &admin.registry) {
        Ok(()) => {
            let page = format.page(page);
            ([(header::CONTENT_TYPE, format.content_type())], page).into_response()
        }
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
