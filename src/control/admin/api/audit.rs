//! `/api/v1/audit`: who changed what.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};

use crate::{
    control::admin::{
        Admin,
        api::{
            ask,
            clients::{bad_query, page_size},
            json,
        },
        problem::Problem,
    },
    store::audit::{Entry, Filter},
};

/// Which changes to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only changes of this, such as `client/client1`.
    subject: Option<String>,
    /// Only changes of this kind, such as `client.update`.
    action: Option<String>,
    /// Only changes by this actor.
    actor: Option<String>,
    /// Changes on a page: 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    cursor: Option<i64>,
}

/// A page of changes, the latest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AuditList {
    entries: Vec<Entry>,
    /// The cursor of the next page; `null` on the last one.
    next: Option<i64>,
}

/// Lists changes, the latest first.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery), responses(
    (status = 200, body = AuditList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = page_size(query.limit)?;
    let filter = Filter {
        subject: query.subject,
        action: query.action,
        actor: query.actor,
        before: query.cursor,
    };
    let mut entries = ask(admin.store()?.audit(&filter, limit + 1)).await?;
    let has_more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries
        .last()
        .filter(|_entry| has_more)
        .map(|entry| entry.id);
    Ok(json(StatusCode::OK, &AuditList { entries, next }))
}
