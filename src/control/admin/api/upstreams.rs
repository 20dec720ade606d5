//! `/api/v1/upstreams`: upstreams and their backends as they run, and changes of backends that hold
//! above the file.

use std::num::NonZeroU16;

use axum::{
    body::Bytes,
    extract::{Extension, Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::{sync::oneshot, time::Duration};

use crate::{
    config::{AdminState, BackendKey, BackendOverride, Overridden, Upstream, WeightedBackend},
    control::{
        admin::{
            Admin,
            api::{ask, body_text, change, client_body::whole, from_json, json},
            problem::{FieldError, Problem},
        },
        operations::{Operation, now_ms},
    },
    health::Health,
    state::{self, Member},
    store::audit::Actor,
};

/// The upstreams.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct UpstreamList {
    upstreams: Vec<UpstreamView>,
}

/// An upstream as it runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct UpstreamView {
    name: String,
    /// Backends that take requests now.
    available: usize,
    /// Requests that wait for a backend.
    queue: usize,
    backends: Vec<BackendView>,
}

/// A backend as it runs. A name that stands for several addresses has one for each.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BackendView {
    /// How the file names it, for paths of this API.
    id: String,
    /// Its address.
    address: String,
    /// Its share of the requests, which holds now.
    weight: u16,
    /// What is wanted of it now: `enabled`, `draining` or `disabled`.
    state: &'static str,
    /// Why it takes requests or not, such as `available`.
    condition: &'static str,
    /// Whether its checks find it healthy.
    is_healthy: bool,
    /// Requests that it has now.
    in_flight: usize,
    /// Responses that it has given.
    responses: u64,
    /// Those of them with a 5xx status.
    server_errors: u64,
    /// Attempts without a response.
    failures: u64,
}

/// A change of a backend. What is left out stays as it is; `null` gives the file's value back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendPatch {
    /// Its share of the requests.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    weight: Option<Option<Whole>>,
    /// `enabled`, `draining` (finishes what it has) or `disabled` (as draining, and not checked).
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "draining")]
    state: Option<Option<String>>,
    /// How long the change holds, such as `10m`; until further notice if it is left out or `null`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "10m")]
    ttl: Option<Option<String>>,
}

/// Changes of backends.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct OverrideList {
    overrides: Vec<OverrideView>,
}

/// A change of a backend that holds above the file.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct OverrideView {
    upstream: String,
    backend: String,
    /// The weight that holds; `null` if it is the file's.
    weight: Option<u16>,
    /// The file's weight, if another one holds.
    file_weight: Option<u16>,
    /// The state that holds; `null` if it is the file's.
    state: Option<&'static str>,
    /// The file's state, if another one holds.
    file_state: Option<&'static str>,
    /// When the file's values return, in milliseconds since 1970; `null` for not by itself.
    until_ms: Option<i64>,
}

/// A whole number.
#[derive(Debug, Deserialize)]
struct Whole(#[serde(deserialize_with = "whole")] i64);

/// Tells a field that is `null` from one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Shows upstreams and their backends as they run.
#[utoipa::path(get, path = "/api/v1/upstreams", responses(
    (status = 200, body = UpstreamList),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    let snapshot = admin.shared.snapshot.load_full();
    let upstreams = snapshot.upstreams.iter().map(UpstreamView::of).collect();
    json(StatusCode::OK, &UpstreamList { upstreams })
}

/// Lists changes of backends that hold above the file.
#[utoipa::path(get, path = "/api/v1/overrides", responses(
    (status = 200, body = OverrideList),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn overrides(State(admin): State<Admin>) -> Response {
    let overrides = admin.settings.overrides();
    let overrides = overrides
        .iter()
        .map(|(key, wanted)| OverrideView::of(key, wanted));
    json(
        StatusCode::OK,
        &OverrideList {
            overrides: overrides.collect(),
        },
    )
}

/// Changes the weight or the state of a backend, until further notice or for a time. It survives a
/// restart where there is a database, and ends when the file changes the same backend.
#[utoipa::path(patch, path = "/api/v1/upstreams/{upstream}/backends/{backend}",
    params(("upstream" = String, Path), ("backend" = String, Path, description = "As `id` of the list has it; host and port alone will do")),
    request_body = BackendPatch, responses(
    (status = 200, body = OverrideView),
    (status = 400, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no such upstream or backend", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is longer than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The process is stopping", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn patch(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path((upstream, backend)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let patch: BackendPatch = from_json(&body_text(body)?)?;
    let config = admin.settings.config();
    let (upstream, backend) = find(&config.upstreams, &upstream, &backend)?;
    let key = BackendKey::of(&upstream.name, backend);
    let before = admin.settings.overrides().get(&key).cloned();
    let wanted = patch.applied_to(before, backend, now_ms())?;
    let wanted = Some(wanted).filter(|wanted| wanted.weight.is_some() || wanted.state.is_some());
    let is_stored = keep(&admin, &key, wanted.as_ref(), &actor).await;
    let shown = OverrideView::of(&key, wanted.as_ref().unwrap_or(&NOTHING));
    let (done, is_done) = oneshot::channel();
    let operation = Operation::Override {
        key,
        wanted,
        is_stored,
        done,
    };
    let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the process is stopping");
    let sent = admin.changes.operations.send(operation).await;
    sent.map_err(|_ended| stopping())?;
    is_done.await.map_err(|_ended| stopping())?;
    Ok(json(StatusCode::OK, &shown))
}

/// Keeps a change in the database. A backend must be taken out of service also while there is none,
/// so the change is made without it as well.
async fn keep(
    admin: &Admin,
    key: &BackendKey,
    wanted: Option<&BackendOverride>,
    actor: &Actor,
) -> bool {
    let Some(store) = &admin.changes.store else {
        let (name, address, change) = (&actor.name, &actor.address, format!("{wanted:?}"));
        let (upstream, backend) = (&key.upstream, &key.backend);
        tracing::info!(
            name,
            address,
            upstream,
            backend,
            change,
            "changed through the admin API, until the next restart, as there is no database"
        );
        return false;
    };
    ask(store.put_override(key, wanted, "backend.override", change(actor)))
        .await
        .is_ok()
}

fn find<'a>(
    upstreams: &'a [Upstream],
    name: &str,
    id: &str,
) -> Result<(&'a Upstream, &'a WeightedBackend), Problem> {
    let missing = |detail: String| Problem::new(StatusCode::NOT_FOUND, detail);
    let upstream = upstreams.iter().find(|upstream| upstream.name == name);
    let upstream = upstream.ok_or_else(|| missing(format!("there is no upstream {name:?}")))?;
    let backends = || upstream.backends.iter();
    let exact = backends().find(|backend| backend.addr.to_string() == id);
    let found = exact.or_else(|| backends().find(|backend| backend.addr.authority() == id));
    let found = found.ok_or_else(|| {
        let names: Vec<String> = backends().map(|backend| backend.addr.to_string()).collect();
        missing(format!(
            "upstream {name:?} has no backend {id:?}; it has: {}",
            names.join(", ")
        ))
    });
    Ok((upstream, found?))
}

impl BackendPatch {
    /// What is wanted of a backend after this change.
    fn applied_to(
        self,
        before: Option<BackendOverride>,
        backend: &WeightedBackend,
        now_ms: i64,
    ) -> Result<BackendOverride, Problem> {
        let mut errors = Vec::new();
        let mut wanted = before.unwrap_or(NOTHING);
        if let Some(weight) = self.weight {
            wanted.weight = weight.and_then(|Whole(weight)| {
                let value = u16::try_from(weight)
                    .ok()
                    .filter(|weight| *weight <= WEIGHT_MAX);
                let value = value.and_then(NonZeroU16::new);
                if value.is_none() {
                    errors.push(FieldError::new("weight", "must be from 1 to 1000"));
                }
                let file = backend.weight;
                value.map(|value| Overridden { value, file })
            });
        }
        if let Some(state) = self.state {
            wanted.state = state.and_then(|word| {
                let value = AdminState::of(&word);
                if value.is_none() {
                    let detail = "must be enabled, draining or disabled";
                    errors.push(FieldError::new("state", detail));
                }
                let file = backend.admin_state;
                value.map(|value| Overridden { value, file })
            });
        }
        if let Some(ttl) = self.ttl {
            wanted.until_ms = ttl.and_then(|text| match ttl_of(&text) {
                Some(ttl) => Some(now_ms.saturating_add(i64::try_from(ttl.as_millis()).ok()?)),
                None => {
                    let detail = "must be a time from 1s to 30d, such as 10m";
                    errors.push(FieldError::new("ttl", detail));
                    None
                }
            });
        }
        match errors.is_empty() {
            true => Ok(wanted),
            false => Err(Problem::of_fields(errors)),
        }
    }
}

fn ttl_of(text: &str) -> Option<Duration> {
    let ttl = humantime::parse_duration(text).ok()?;
    (TTL_MIN..=TTL_MAX).contains(&ttl).then_some(ttl)
}

impl UpstreamView {
    fn of(upstream: &state::Upstream) -> Self {
        let backends: Vec<BackendView> = upstream.members.iter().map(BackendView::of).collect();
        let is_available =
            |backend: &&BackendView| backend.condition == state::Condition::Available.label();
        Self {
            name: upstream.name().to_owned(),
            available: backends.iter().filter(is_available).count(),
            queue: upstream.queue.waiting(),
            backends,
        }
    }
}

impl BackendView {
    fn of(member: &Member) -> Self {
        let backend = &member.backend;
        let stats = &backend.stats;
        Self {
            id: backend.name.to_string(),
            address: backend.addr.to_string(),
            weight: member.weight.get(),
            state: member.admin_state.word(),
            condition: stats.condition().label(),
            is_healthy: stats.health() == Health::Healthy,
            in_flight: stats.in_flight(),
            responses: stats.responses(),
            server_errors: stats.server_errors(),
            failures: stats.failures(),
        }
    }
}

impl OverrideView {
    fn of(key: &BackendKey, wanted: &BackendOverride) -> Self {
        Self {
            upstream: key.upstream.clone(),
            backend: key.backend.clone(),
            weight: wanted.weight.map(|weight| weight.value.get()),
            file_weight: wanted.weight.map(|weight| weight.file.get()),
            state: wanted.state.map(|state| state.value.word()),
            file_state: wanted.state.map(|state| state.file.word()),
            until_ms: wanted.until_ms,
        }
    }
}

/// The file's values.
const NOTHING: BackendOverride = BackendOverride {
    weight: None,
    state: None,
    until_ms: None,
};
const WEIGHT_MAX: u16 = 1000;
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
