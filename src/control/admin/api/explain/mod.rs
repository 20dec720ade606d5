//! `/api/v1/explain`: what a redirect call or a request would get, and why. Takes no turn and no
//! token, and counts nothing.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};

use crate::control::admin::{
    Admin,
    api::{clients::bad_query, json},
    problem::Problem,
};

mod redirect;
mod request;

use redirect::{RedirectAnswer, explain_redirect};
use request::{RequestWay, explain_request};

/// What to explain: a video, or a request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The URL of a redirect call.
    video: Option<String>,
    /// The address of a listener of the load balancer; the first one where it is left out.
    listener: Option<String>,
    /// The host of a request.
    host: Option<String>,
    /// The path of a request, without a query; `/` where it is left out.
    path: Option<String>,
    /// The client's address; 127.0.0.1 where it is left out.
    client: Option<String>,
}

/// What happens, and why.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Explanation {
    /// What decides, step by step, in words.
    why: Vec<String>,
    /// The answer of the redirect service.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<RedirectAnswer>,
    /// The way of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestWay>,
}

/// Explains what a redirect call or a request would get.
#[utoipa::path(get, path = "/api/v1/explain", params(ExplainQuery), responses(
    (status = 200, body = Explanation),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such listener", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn explain(
    State(admin): State<Admin>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let snapshot = admin.shared.snapshot.load_full();
    let is_request = query.listener.is_some() || query.host.is_some() || query.path.is_some();
    let explanation = match &query.video {
        Some(_) if is_request => {
            let detail = "either a video, or listener, host and path of a request";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Some(video) => explain_redirect(&admin, &snapshot, video),
        None => explain_request(&admin, &snapshot, &query)?,
    };
    Ok(json(StatusCode::OK, &explanation))
}
