//! What a request to a listener of the load balancer would get.

use std::net::{IpAddr, SocketAddr};

use axum::http::{StatusCode, Version};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    balance::Policy,
    control::admin::{
        Admin,
        api::explain::{ExplainQuery, Explanation},
        problem::Problem,
    },
    limit::{Mode, Quota, Registered, RouteRule},
    message::RequestHead,
    route::{Prefix, Route, normal_path},
    state::{HttpSettings, Limit, Pick, Scope, Snapshot, Upstream},
};

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

/// The way that a request would take.
///
/// # Errors
///
/// When there is no such listener, or a parameter is wrong.
pub(super) fn explain_request(
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
