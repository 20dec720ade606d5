//! The stats page: what runs, for people (`page`), for scripts that read HAProxy's (`csv`), and live
//! (`events`). All are made of the same look at the process.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::control::{
    admin::{Admin, api},
    stats::{Look, Stats},
};

mod csv;
mod events;
mod fragments;
mod page;

pub(super) fn router() -> Router<Admin> {
    let mut router = Router::new()
        .route("/stats/events", get(events::stream))
        .route("/stats/history", get(history))
        .route("/stats/page.css", get(style))
        .route("/stats/page.js", get(script))
        .route("/stats/uPlot.css", get(chart_style))
        .route("/stats/uPlot.js", get(chart_script));
    // The spellings that scripts use with HAProxy, whose options stand behind semicolons.
    for path in SPELLINGS {
        router = router.route(path, get(show).post(refuse_post));
    }
    router
}

/// What is asked for, in one of HAProxy's spellings.
#[derive(Debug, PartialEq)]
struct Wanted<'a> {
    format: Format,
    /// A part of the names that are shown.
    scope: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Page,
    Csv,
    Json,
}

impl<'a> Wanted<'a> {
    /// Reads the options behind the semicolons of a path and of a query.
    fn of(path: &'a str, query: Option<&'a str>) -> Self {
        let mut wanted = Self {
            format: Format::Page,
            scope: "",
        };
        let options = path.split(';').skip(1);
        let in_query = query.unwrap_or_default().split([';', '&']);
        for option in options.chain(in_query) {
            match option {
                "csv" => wanted.format = Format::Csv,
                "json" => wanted.format = Format::Json,
                option => {
                    if let Some(scope) = option.strip_prefix("scope=") {
                        wanted.scope = scope;
                    }
                }
            }
        }
        wanted
    }
}

async fn show(State(admin): State<Admin>, uri: Uri) -> Response {
    let wanted = Wanted::of(uri.path(), uri.query());
    let look = admin.stats.latest();
    let stats = scoped(&look.stats, wanted.scope);
    match wanted.format {
        Format::Page => page::render(&stats),
        Format::Csv => text("text/plain; charset=utf-8", csv::write(&stats)),
        Format::Json => api::stats_json(&stats),
    }
}

/// The same, with those listeners and upstreams alone whose names have this in them.
fn scoped(stats: &Stats, scope: &str) -> Stats {
    let mut stats = stats.clone();
    if !scope.is_empty() {
        stats
            .upstreams
            .retain(|upstream| upstream.name.contains(scope));
        stats
            .listeners
            .retain(|listener| csv::name_of(listener).contains(scope));
    }
    stats
}

async fn refuse_post() -> Response {
    let text = "the stats page changes nothing by POST: use PATCH /api/v1/upstreams/UPSTREAM/backends/BACKEND, see /api/docs\n";
    let allowed = [(header::ALLOW, "GET, HEAD")];
    (StatusCode::METHOD_NOT_ALLOWED, allowed, text).into_response()
}

async fn history(State(admin): State<Admin>) -> Response {
    let look: &Look = &admin.stats.latest();
    match serde_json::to_string(&look.history) {
        Ok(json) => text("application/json", json),
        Err(_unwritable) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("page.css"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page.js"))
}

async fn chart_style() -> Response {
    let style = include_str!("assets/uPlot.min.css");
    file("text/css; charset=utf-8", style)
}

async fn chart_script() -> Response {
    let script = include_str!("assets/uPlot.iife.min.js");
    file("text/javascript; charset=utf-8", script)
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let kept = (header::CACHE_CONTROL, "no-cache");
    ([(header::CONTENT_TYPE, content_type), kept], text).into_response()
}

fn text(content_type: &'static str, text: String) -> Response {
    let kept = (header::CACHE_CONTROL, "no-store");
    ([(header::CONTENT_TYPE, content_type), kept], text).into_response()
}

const SPELLINGS: [&str; 10] = [
    "/stats",
    "/stats/",
    "/stats;csv",
    "/stats/;csv",
    "/stats;csv;norefresh",
    "/stats/;csv;norefresh",
    "/stats;norefresh",
    "/stats;json",
    "/stats/;json",
    "/stats;json;norefresh",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, format: Format, scope: &str) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        assert_eq!(Wanted::of(path, query), Wanted { format, scope });
    }

    #[test]
    fn haproxys_spellings_are_read() {
        check("/stats", Format::Page, "");
        check("/stats;norefresh", Format::Page, "");
        check("/stats;csv", Format::Csv, "");
        check("/stats/;csv", Format::Csv, "");
        check("/stats;csv;norefresh", Format::Csv, "");
        check("/stats?scope=pg", Format::Page, "pg");
        check("/stats?scope=pg;csv", Format::Csv, "pg");
        check("/stats;csv?scope=pg", Format::Csv, "pg");
        check("/stats?;csv", Format::Csv, "");
        check("/stats;json", Format::Json, "");
    }
}
