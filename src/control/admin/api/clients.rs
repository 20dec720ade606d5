//! `/api/v1/clients`: registered clients and their limits.

use axum::{
    body::Bytes,
    extract::{
        Extension, Path, Query, State, rejection::BytesRejection, rejection::QueryRejection,
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::{
    control::admin::{
        Admin,
        api::{
            ask, body_text, change,
            client_body::{ClientBody, ClientPatch, ClientView},
            conditions::{etag, is_known, precondition},
            from_json, json,
            keys::new_key,
        },
        problem::Problem,
    },
    limit::{ApiKey, StoredKey},
    store::{
        audit::Actor,
        clients::{ChangeError, ClientSpec, Precondition, StoredClient},
        parse_network,
    },
};

/// Which clients to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Clients on a page: 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
}

/// A page of clients, in the order of their names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClientList {
    clients: Vec<ClientView>,
    /// The cursor of the next page; `null` on the last one.
    next: Option<String>,
}

/// What a client has left.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BucketView {
    client_id: String,
    /// Requests that it may make at once.
    capacity: u32,
    /// Requests a second that it may make in the long run.
    rate_per_sec: f64,
    /// Requests that it may make now.
    tokens: u32,
    /// Requests that were refused in the last minute, in this process.
    refused_last_minute: u64,
}

/// Lists clients.
#[utoipa::path(get, path = "/api/v1/clients", params(ListQuery), responses(
    (status = 200, body = ClientList),
    (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(admin): State<Admin>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let limit = page_size(query.limit)?;
    let after = query.cursor.unwrap_or_default();
    let store = admin.store()?;
    // One more tells whether there is a next page.
    let mut clients = ask(store.list_clients(&after, limit + 1)).await?;
    let has_more = clients.len() > limit as usize;
    clients.truncate(limit as usize);
    let last = clients.last().filter(|_client| has_more);
    let next = last.map(|client| client.client_id.clone());
    let clients = clients.into_iter().map(ClientView::from).collect();
    Ok(json(StatusCode::OK, &ClientList { clients, next }))
}

/// Registers a client. One whose ID is no address, and that has no networks, gets an API key, which
/// this answer alone shows.
#[utoipa::path(post, path = "/api/v1/clients", request_body = ClientBody, responses(
    (status = 201, body = ClientView, headers(("Location" = String), ("ETag" = String))),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "There is such a client already, or one with such a network", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn create(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: ClientBody = from_json(&body_text(body)?)?;
    let spec = body.spec(None)?;
    let (key, stored) = first_key(&spec)?;
    let store = admin.store()?;
    let put = store.put_client(
        &spec,
        stored.as_ref(),
        &Precondition::Absent,
        change(&actor),
    );
    let client = ask(put).await?.client;
    admin.publish_clients();
    let path = utf8_percent_encode(&client.client_id, NON_ALPHANUMERIC);
    let location = format!("/api/v1/clients/{path}");
    let mut response = shown(StatusCode::CREATED, client, key);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Shows a client.
#[utoipa::path(get, path = "/api/v1/clients/{client_id}", params(("client_id" = String, Path)), responses(
    (status = 200, body = ClientView, headers(("ETag" = String))),
    (status = 304, description = "The client is as `If-None-Match` says"),
    (status = 404, description = "There is no such client", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let client = ask(admin.store()?.client(&id)).await?;
    let client = client.ok_or_else(|| ChangeError::NotFound(id))?;
    if is_known(&headers, client.version) {
        let tag = [(header::ETAG, etag(client.version))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok(shown(StatusCode::OK, client, None))
}

/// Makes a client what the body says, whether it is there or not. Its keys stay; a new one gets
/// a key as with `POST`.
#[utoipa::path(put, path = "/api/v1/clients/{client_id}", params(("client_id" = String, Path)), request_body = ClientBody, responses(
    (status = 200, body = ClientView, headers(("ETag" = String))),
    (status = 201, description = "The client is new", body = ClientView, headers(("ETag" = String))),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Another client has such a network", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "The client is not as `If-Match` or `If-None-Match` says", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn replace(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: ClientBody = from_json(&body_text(body)?)?;
    let spec = body.spec(Some(&id))?;
    let precondition = precondition(&headers);
    let (key, stored) = first_key(&spec)?;
    let store = admin.store()?;
    let put = store.put_client(&spec, stored.as_ref(), &precondition, change(&actor));
    let changed = ask(put).await.map_err(|problem| match precondition {
        // Without the condition it would have been made.
        Precondition::None => problem,
        Precondition::Absent | Precondition::Exists | Precondition::Versions(_) => {
            problem.into_failed_precondition()
        }
    })?;
    admin.publish_clients();
    let status = if changed.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let key = key.filter(|_key| changed.is_new);
    Ok(shown(status, changed.client, key))
}

/// Changes fields of a client by a merge patch (RFC 7396). `networks` is replaced as a whole.
#[utoipa::path(patch, path = "/api/v1/clients/{client_id}", params(("client_id" = String, Path)),
    request_body(content((ClientPatch = "application/merge-patch+json"), (ClientPatch = "application/json"))), responses(
    (status = 200, body = ClientView, headers(("ETag" = String))),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such client", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Another client has such a network", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "The client is not as `If-Match` says", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn patch(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let patch: Json = from_json(&body_text(body)?)?;
    let expected = precondition(&headers);
    let store = admin.store()?;
    for _ in 0..PATCH_TRIES_MAX {
        let client = ask(store.client(&id)).await?;
        let client = client.ok_or_else(|| ChangeError::NotFound(id.clone()))?;
        expected
            .check(&id, Some(&client))
            .map_err(|error| Problem::from(error).into_failed_precondition())?;
        let spec = ClientBody::patched(&client, patch.clone())?.spec(Some(&id))?;
        let unchanged = Precondition::Versions([client.version].into());
        let put = store.put_client(&spec, None, &unchanged, change(&actor));
        match tokio::time::timeout(super::ANSWER_TIME_MAX, put).await {
            // Another change came in between: the patch is made to what is there now.
            Ok(Err(ChangeError::Changed { .. })) => {}
            Ok(changed) => {
                let client = changed?.client;
                admin.publish_clients();
                return Ok(shown(StatusCode::OK, client, None));
            }
            Err(_elapsed) => break,
        }
    }
    let detail = "the client changes all the time; try again";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
}

/// Removes a client with its networks and keys. It has the default limit from then on.
#[utoipa::path(delete, path = "/api/v1/clients/{client_id}", params(("client_id" = String, Path)), responses(
    (status = 204, description = "The client is removed"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such client", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "The client is not as `If-Match` says", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = precondition(&headers);
    ask(admin.store()?.delete_client(&id, &expected, change(&actor))).await?;
    admin.publish_clients();
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a client has left, in this process.
#[utoipa::path(get, path = "/api/v1/clients/{client_id}/bucket", params(("client_id" = String, Path)), responses(
    (status = 200, body = BucketView),
    (status = 404, description = "This process knows no such client", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn bucket(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = admin.shared.snapshot.load_full();
    let registered = snapshot.limits.clients.get(&id);
    let registered = registered.ok_or_else(|| ChangeError::NotFound(id.clone()))?;
    let now = admin.shared.rate_limits.tick(Instant::now());
    let quota = &registered.client.quota;
    let view = BucketView {
        client_id: id,
        capacity: quota.capacity().get(),
        rate_per_sec: quota.rate().to_f64(),
        tokens: registered.bucket.tokens(quota, now),
        refused_last_minute: registered.refusals.last_minute(now),
    };
    Ok(json(StatusCode::OK, &view))
}

/// The key of a client that would have nothing else to be known by.
fn first_key(spec: &ClientSpec) -> Result<(Option<String>, Option<StoredKey>), Problem> {
    let has_address = !spec.networks.is_empty() || parse_network(&spec.client_id).is_some();
    let key = (!has_address).then(new_key).transpose()?;
    let parsed = key.as_deref().and_then(ApiKey::parse);
    let stored = parsed.map(|key| key.stored());
    Ok((key, stored))
}

fn shown(status: StatusCode, client: StoredClient, api_key: Option<String>) -> Response {
    let tag = etag(client.version);
    let view = ClientView {
        api_key,
        ..client.into()
    };
    let mut response = json(status, &view);
    response.headers_mut().insert(header::ETAG, tag);
    response
}

pub(super) fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

/// The elements of a page.
pub(super) fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(PAGE_SIZE) {
        limit @ 1..=PAGE_SIZE_MAX => Ok(limit),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("limit must be from 1 to {PAGE_SIZE_MAX}"),
        )),
    }
}

const PAGE_SIZE: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1000;
const PATCH_TRIES_MAX: usize = 10;
