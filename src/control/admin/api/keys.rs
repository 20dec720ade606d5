//! `/api/v1/clients/{client_id}/keys`: API keys of a client. It may have two, so that one can be
//! replaced without a pause.

use axum::{
    extract::{Extension, Path, State},
    http::StatusCode,
    response::Response,
};
use serde::Serialize;

use crate::{
    control::admin::{
        Admin,
        api::{ask, change, json},
        problem::Problem,
    },
    limit::ApiKey,
    store::audit::Actor,
};

/// A new key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct KeyView {
    /// Its public part.
    key_id: String,
    /// The key. Shown in this answer, and never again.
    api_key: String,
}

/// Gives a client a further key.
#[utoipa::path(post, path = "/api/v1/clients/{client_id}/keys", params(("client_id" = String, Path)), responses(
    (status = 201, body = KeyView),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such client", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The client has two keys", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn add(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let api_key = new_key()?;
    let key = ApiKey::parse(&api_key).ok_or_else(no_random_numbers)?;
    let stored = key.stored();
    ask(admin.store()?.add_key(&id, &stored, change(&actor))).await?;
    admin.publish_clients();
    let view = KeyView {
        key_id: stored.id.into(),
        api_key,
    };
    Ok(json(StatusCode::CREATED, &view))
}

/// Takes a key away. Requests with it come under the limit of their address from then on.
#[utoipa::path(delete, path = "/api/v1/clients/{client_id}/keys/{key_id}", params(("client_id" = String, Path), ("key_id" = String, Path)), responses(
    (status = 204, description = "The key is removed"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such client or key", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The database gives no answer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn remove(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path((id, key)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    ask(admin.store()?.remove_key(&id, &key, change(&actor))).await?;
    admin.publish_clients();
    Ok(StatusCode::NO_CONTENT)
}

/// A key of the system's random numbers.
pub(super) fn new_key() -> Result<String, Problem> {
    let mut failed = false;
    let key = ApiKey::generate(|below| {
        draw(below).unwrap_or_else(|_error| {
            failed = true;
            0
        })
    });
    match failed {
        true => Err(no_random_numbers()),
        false => Ok(key),
    }
}

/// A random number below a small one, each as likely as the others.
fn draw(below: usize) -> Result<usize, getrandom::Error> {
    loop {
        let mut byte = [0];
        getrandom::fill(&mut byte)?;
        let [byte] = byte.map(usize::from);
        // The highest bytes would favour the lowest numbers.
        if byte < 256 / below * below {
            return Ok(byte % below);
        }
    }
}

fn no_random_numbers() -> Problem {
    let detail = "the system gives no random numbers";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_digits_are_drawn() {
        let drawn: std::collections::BTreeSet<usize> =
            (0..5_000).map(|_| draw(62).unwrap()).collect();
        assert_eq!(drawn.len(), 62);
        assert_ne!(new_key().unwrap(), new_key().unwrap());
    }
}
