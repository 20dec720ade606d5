//! The page as a browser first gets it: all numbers, and where its script puts later ones.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use askama::Template;
use axum::{
    http::header,
    response::{IntoResponse, Response},
};

use crate::control::{
    admin::stats::fragments,
    stats::{BackendView, CHARTED_UPSTREAMS, Stats, UpstreamStats},
};

#[derive(Template)]
#[template(path = "stats/page.html")]
struct Page<'a> {
    title: &'static str,
    layout: u64,
    process: String,
    redirect: Option<String>,
    upstreams: Vec<UpstreamPart<'a>>,
    listeners: String,
    wrong: String,
    limits: String,
}

struct UpstreamPart<'a> {
    name: &'a str,
    kind: &'a str,
    balance: String,
    has_chart: bool,
    summary: String,
    backends: Vec<BackendPart<'a>>,
}

struct BackendPart<'a> {
    number: usize,
    id: &'a str,
    address: &'a str,
    /// Whether the address says more than the name.
    shows_address: bool,
    is_backup: bool,
    cells: String,
}

/// Renders the page.
pub(super) fn render(stats: &Stats) -> Response {
    let upstreams = stats.upstreams.iter().enumerate();
    let page = Page {
        title: stats.process.state,
        layout: layout(stats),
        process: fragments::process(&stats.process),
        redirect: stats.redirect.as_ref().map(fragments::redirect),
        upstreams: upstreams
            .map(|(index, upstream)| UpstreamPart::of(upstream, index))
            .collect(),
        listeners: fragments::listeners(&stats.listeners),
        wrong: fragments::wrong(&stats.faults, &stats.retries),
        limits: fragments::limits(&stats.rate_limits),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, fragments::rendered(&page)).into_response()
}

/// A number that differs when the page has other elements: an upstream or a backend came or went.
pub(super) fn layout(stats: &Stats) -> u64 {
    let mut hasher = DefaultHasher::new();
    stats.redirect.is_some().hash(&mut hasher);
    for upstream in &stats.upstreams {
        upstream.name.hash(&mut hasher);
        for backend in &upstream.backends {
            (&backend.number, backend.is_backup).hash(&mut hasher);
        }
    }
    // As exact as a number of JavaScript.
    hasher.finish() >> 11
}

impl<'a> UpstreamPart<'a> {
    fn of(upstream: &'a UpstreamStats, index: usize) -> Self {
        let backends = upstream.backends.iter();
        Self {
            name: &upstream.name,
            kind: upstream.kind,
            balance: upstream.balance.replace('_', " "),
            has_chart: index < CHARTED_UPSTREAMS,
            summary: fragments::summary(upstream),
            backends: backends.map(BackendPart::of).collect(),
        }
    }
}

impl<'a> BackendPart<'a> {
    fn of(backend: &'a BackendView) -> Self {
        Self {
            number: backend.number,
            id: &backend.id,
            address: &backend.address,
            shows_address: !backend.id.ends_with(&backend.address),
            is_backup: backend.is_backup,
            cells: fragments::cells(backend),
        }
    }
}
