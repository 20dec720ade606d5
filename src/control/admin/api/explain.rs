//! `/api/v1/explain`: what a redirect call or a request would get, and why. Takes no turn and no
//! token, and counts nothing.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, Version},
    response::Response,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    balance::Policy,
    control::admin::{
        Admin,
        api::{clients::bad_query, json},
        problem::Problem,
    },
    limit::{Mode, Quota, Registered, RouteRule},
    message::RequestHead,
    redirect::{RejectReason, Target},
    route::{Prefix, Route, normal_path},
    state::{HttpSettings, Limit, Pick, Scope, Snapshot, Upstream},
};

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

/// The answer of the redirect service to the next call.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct RedirectAnswer {
    is_accepted: bool,
    /// Why it is refused, as in `weir_redirect_rejected_total`.
    reason: Option<&'static str>,
    /// The turn that the next accepted call takes.
    turn: Option<u64>,
    /// `cdn` or `origin`.
    target: Option<&'static str>,
    /// Where the player is sent.
    redirect: Option<String>,
}

/// The way of a request.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct RequestWay {
    listener: String,
    /// The status that the balancer answers with by itself, if it does.
    status: Option<u16>,
    /// The route: its host (`*` for any) and path.
    route: Option<String>,
    /// The registered client that the request is of.
    client_id: Option<String>,
    /// The limits that it comes under.
    limits: Vec<LimitView>,
    upstream: Option<String>,
    policy: Option<&'static str>,
    /// Backends that take requests now.
    available: Vec<String>,
    /// The one that the next such request goes to; unknown where that is drawn at random.
    backend: Option<String>,
}

/// A limit that a request comes under.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LimitView {
    /// `default`, `client`, `listener` or `route`.
    limit: &'static str,
    /// `enforce` or `shadow`.
    mode: &'static str,
    capacity: u32,
    rate_per_sec: f64,
    /// Tokens that the request costs.
    cost: u32,
    /// Tokens that the client has now.
    tokens: u32,
    /// Whether it admits the request.
    admits: bool,
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

fn explain_redirect(admin: &Admin, snapshot: &Snapshot, video: &str) -> Explanation {
    let refused = |reason: RejectReason, why: String| Explanation {
        why: vec![why],
        redirect: Some(RedirectAnswer {
            reason: Some(reason.label()),
            ..RedirectAnswer::default()
        }),
        request: None,
    };
    let Some(settings) = &snapshot.redirect else {
        let why = "the redirect service is not configured".to_owned();
        return refused(RejectReason::NotConfigured, why);
    };
    let policy = &settings.policy;
    let accepted = match policy.accept(video) {
        Ok(accepted) => accepted,
        Err(rejection) => return refused(rejection.reason(), format!("refused: {rejection}")),
    };
    let turn = admin.shared.turns.next();
    let every = policy.origin_every;
    let (target, redirect, why) = match policy.target(turn) {
        Target::Cdn => {
            let why =
                format!("turn {turn} is not a multiple of {every}, so the player goes to the CDN");
            ("cdn", policy.cdn_url(&accepted), why)
        }
        Target::Origin => {
            let why =
                format!("turn {turn} is a multiple of {every}, so the player goes to the origin");
            ("origin", accepted.text().to_owned(), why)
        }
    };
    Explanation {
        why: vec![
            format!("the URL is accepted; the next accepted call takes turn {turn}"),
            why,
        ],
        redirect: Some(RedirectAnswer {
            is_accepted: true,
            reason: None,
            turn: Some(turn),
            target: Some(target),
            redirect: Some(redirect),
        }),
        request: None,
    }
}

fn explain_request(
    admin: &Admin,
    snapshot: &Snapshot,
    query: &ExplainQuery,
) -> Result<Explanation, Problem> {
    let http = listener(snapshot, query.listener.as_deref())?;
    let client = query.client.as_deref().unwrap_or("127.0.0.1");
    let client: IpAddr = client.parse().map_err(|_source| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("client: {client:?} is no IP address"),
        )
    })?;
    let mut asked = Asked {
        admin,
        snapshot,
        http,
        client,
        why: Vec::new(),
        way: RequestWay {
            listener: http.settings.listen.to_string(),
            ..RequestWay::default()
        },
    };
    let host = query.host.as_deref().unwrap_or_default();
    asked.follow(host, query.path.as_deref().unwrap_or("/"));
    Ok(Explanation {
        why: asked.why,
        redirect: None,
        request: Some(asked.way),
    })
}

fn listener<'a>(
    snapshot: &'a Snapshot,
    address: Option<&str>,
) -> Result<&'a HttpSettings, Problem> {
    let missing = |detail: String| Problem::new(StatusCode::NOT_FOUND, detail);
    let Some(text) = address else {
        let first = snapshot.http.first();
        return first
            .ok_or_else(|| missing("there is no listener of the load balancer".to_owned()));
    };
    let address: Option<SocketAddr> = text.parse().ok();
    let found = snapshot
        .http
        .iter()
        .find(|http| Some(http.settings.listen) == address);
    found.ok_or_else(|| {
        let listeners = snapshot
            .http
            .iter()
            .map(|http| http.settings.listen.to_string());
        let listeners: Vec<String> = listeners.collect();
        missing(format!(
            "there is no listener {text:?}; there are: {}",
            listeners.join(", ")
        ))
    })
}

/// A request on its way, as far as it is explained.
struct Asked<'a> {
    admin: &'a Admin,
    snapshot: &'a Snapshot,
    http: &'a HttpSettings,
    client: IpAddr,
    why: Vec<String>,
    way: RequestWay,
}

impl Asked<'_> {
    fn follow(&mut self, host: &str, path: &str) {
        let normal = match normal_path(path) {
            Ok(normal) => normal.into_owned(),
            Err(fault) => return self.end(400, format!("the path is refused: {fault}")),
        };
        let http = self.http;
        let Some((index, route)) = http.settings.router.route(host, &normal) else {
            return self.end(
                404,
                format!("no route matches host {host:?} and path {normal:?}"),
            );
        };
        let text = format!("{}{}", route.host.as_deref().unwrap_or("*"), route.path);
        self.why.push(format!(
            "the route {text} is the longest that matches path {normal:?}"
        ));
        if route.prefix == Prefix::Strip {
            self.why
                .push(format!("the backend gets the path without {}", route.path));
        }
        self.way.route = Some(text);
        if self.limits(route, http.route_limits.get(index).and_then(Option::as_ref)) {
            self.backend(route, host, path);
        }
    }

    fn end(&mut self, status: u16, why: String) {
        self.way.status = Some(status);
        self.why.push(why);
    }

    /// Whether the limits admit the request.
    fn limits(&mut self, route: &Route, route_limit: Option<&Limit>) -> bool {
        let limits = &self.snapshot.limits;
        let registered = limits.clients.find(self.client, None);
        self.way.client_id = registered.map(|registered| registered.client.id.to_string());
        let RouteRule::Limited { cost, .. } = route.rate_limit else {
            self.why.push("the route is exempt from limits".to_owned());
            return true;
        };
        let own = registered.map(|registered| {
            let tokens = registered
                .bucket
                .tokens(&registered.client.quota, self.now());
            view(
                Scope::Client,
                limits.mode,
                &registered.client.quota,
                cost.get(),
                tokens,
            )
        });
        let default = limits.default.as_ref().filter(|_| registered.is_none());
        let scoped = [default, self.http.limit.as_ref(), route_limit]
            .into_iter()
            .flatten();
        let registered = registered.map(|registered| &**registered);
        let scoped = scoped.map(|limit| self.scoped(limit, registered, cost.get()));
        let views: Vec<LimitView> = own.into_iter().chain(scoped).collect();
        let refusing = views
            .iter()
            .find(|view| !view.admits && view.mode == "enforce");
        let refused = refusing.map(|view| {
            format!(
                "limit {:?} refuses it: {} of {} tokens are left",
                view.limit, view.tokens, view.capacity
            )
        });
        if views.is_empty() {
            self.why.push("the request comes under no limit".to_owned());
        }
        self.way.limits = views;
        match refused {
            Some(why) => {
                self.end(429, why);
                false
            }
            None => true,
        }
    }

    fn scoped(&self, limit: &Limit, registered: Option<&Registered>, cost: u32) -> LimitView {
        let rate_limits = &self.admin.shared.rate_limits;
        let quota = &limit.rule.quota;
        let own = registered.and_then(|registered| registered.scoped(limit.slot));
        let tokens = match own {
            Some(bucket) => bucket.tokens(quota, self.now()),
            None => {
                let key = rate_limits.key(limit.slot, self.client);
                rate_limits.buckets().tokens(key, quota, self.now())
            }
        };
        view(limit.scope, limit.rule.mode, quota, cost, tokens)
    }

    fn now(&self) -> crate::limit::Tick {
        self.admin.shared.rate_limits.tick(Instant::now())
    }

    fn backend(&mut self, route: &Route, host: &str, path: &str) {
        let Some(upstream) = self.snapshot.upstreams.get(route.upstream) else {
            return;
        };
        let policy = policy(upstream.settings.policy);
        self.way.upstream = Some(upstream.name().to_owned());
        self.way.policy = Some(policy);
        self.way.available = upstream.available().map(ToString::to_string).collect();
        let next = match upstream.peek(&key(upstream, self.client, host, path)) {
            Pick::Backend(backend) => backend.to_string(),
            Pick::Busy => {
                let why = "each available backend has as many requests as it may; this one waits";
                return self.why.push(why.to_owned());
            }
            Pick::NoneLeft => {
                let why = format!("upstream {:?} has no available backend", upstream.name());
                return self.end(503, why);
            }
        };
        let name = upstream.name();
        if upstream.settings.policy == Policy::RandomTwo {
            self.why.push(format!(
                "upstream {name:?} draws two backends at random and takes the less loaded"
            ));
            return;
        }
        self.why.push(format!(
            "upstream {name:?} chooses by {policy}: {next} is next"
        ));
        self.way.backend = Some(next);
    }
}

fn view(scope: Scope, mode: Mode, quota: &Quota, cost: u32, tokens: u32) -> LimitView {
    LimitView {
        limit: scope.label(),
        mode: match mode {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        },
        capacity: quota.capacity().get(),
        rate_per_sec: quota.rate().to_f64(),
        cost,
        tokens,
        admits: tokens >= cost.min(quota.capacity().get()),
    }
}

/// What consistent hashing hashes of a request without further headers.
fn key(upstream: &Upstream, client: IpAddr, host: &str, path: &str) -> Vec<u8> {
    let mut head = RequestHead::default();
    head.begin(b"GET", path.as_bytes(), Version::HTTP_11);
    head.fields_mut().push(b"host", host.as_bytes());
    upstream.settings.hash_by.of(client, &head).into_owned()
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin => "round_robin",
        Policy::LeastConnections => "least_connections",
        Policy::RandomTwo => "random_two",
        Policy::ConsistentHash { .. } => "consistent_hash",
    }
}
