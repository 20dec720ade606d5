//! The admin API: `/api/v1`.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Duration, timeout};
use utoipa::OpenApi;

use crate::{
    control::{
        admin::{
            Admin,
            problem::{FieldError, Problem},
        },
        operations::now_ms,
        stats::Stats,
    },
    store::{Store, StoreError, audit::Actor, clients::Change},
};

mod audit;
mod client_body;
mod clients;
mod conditions;
mod config;
mod explain;
mod keys;
mod reload;
mod stats;
mod upstreams;

/// The document of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir's admin API",
        description = "Registered clients, their limits and keys, backends, reloads, and the record of changes. Changes need `Authorization: Bearer TOKEN` where a token is set.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        clients::list,
        clients::create,
        clients::show,
        clients::replace,
        clients::patch,
        clients::delete,
        clients::bucket,
        keys::add,
        keys::remove,
        audit::list,
        stats::show,
        upstreams::list,
        upstreams::patch,
        upstreams::overrides,
        reload::reload,
        explain::explain,
        config::show,
    ),
    components(schemas(Problem, FieldError))
)]
struct Document;

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/api/openapi.json", get(document))
        .route("/api/v1/clients", get(clients::list).post(clients::create))
        .route(
            "/api/v1/clients/{client_id}",
            get(clients::show)
                .put(clients::replace)
                .patch(clients::patch)
                .delete(clients::delete),
        )
        .route("/api/v1/clients/{client_id}/bucket", get(clients::bucket))
        .route(
            "/api/v1/clients/{client_id}/keys",
            axum::routing::post(keys::add),
        )
        .route(
            "/api/v1/clients/{client_id}/keys/{key_id}",
            axum::routing::delete(keys::remove),
        )
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/stats", get(stats::show))
        .route("/api/v1/upstreams", get(upstreams::list))
        .route(
            "/api/v1/upstreams/{upstream}/backends/{backend}",
            axum::routing::patch(upstreams::patch),
        )
        .route("/api/v1/overrides", get(upstreams::overrides))
        .route("/api/v1/config", get(config::show))
        .route("/api/v1/explain", get(explain::explain))
        .route("/api/v1/reload", axum::routing::post(reload::reload))
        .route("/api/{*path}", axum::routing::any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// The statistics, as `/api/v1/stats` answers them.
pub(super) fn stats_json(stats: &Stats) -> Response {
    json(StatusCode::OK, stats)
}

async fn document() -> Response {
    json(StatusCode::OK, &Document::openapi())
}

async fn unknown() -> Problem {
    let detail = "there is no such resource; /api/openapi.json lists them";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method() -> Problem {
    let detail = "the resource does not have this method; /api/openapi.json lists them";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

impl Admin {
    /// The database, if there is one.
    fn store(&self) -> Result<&Store, Problem> {
        self.changes.store.as_ref().ok_or_else(|| {
            let detail = "no database is configured: set DATABASE_URL, or `database:` in the file";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    /// Has other clients published at once.
    fn publish_clients(&self) {
        self.changes.clients_changed.notify_one();
    }
}

/// Waits for the database, but not for long.
async fn ask<T, E: Into<Problem>>(
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    match timeout(ANSWER_TIME_MAX, asking).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_elapsed) => Err(StoreError::TimedOut(ANSWER_TIME_MAX).into()),
    }
}

fn change(actor: &Actor) -> Change<'_> {
    Change {
        actor,
        now_ms: now_ms(),
    }
}

/// Reads a body.
fn body_text(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
}

/// Reads a body of a kind; the fault names the field.
fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: serde_json::Value = serde::Deserialize::deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is no JSON: {error}"),
            )
        })?;
    // A list would be taken for the fields in their order.
    match value.is_object() {
        true => from_value(value),
        false => {
            let whole = FieldError::whole("the body must be an object");
            Err(Problem::of_fields(vec![whole]))
        }
    }
}

fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        // A missing field is named by the message alone.
        let is_whole = path == ".";
        let path = path.replace(['.', '['], "/").replace(']', "");
        let message = error.into_inner().to_string();
        let named = message.split('`').nth(1).filter(|_name| is_whole);
        let field = named.unwrap_or(&path).to_owned();
        Problem::of_fields(vec![FieldError::new(&field, message)])
    })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_unwritable) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

const BODY_BYTES_MAX: usize = 64 * 1024;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
