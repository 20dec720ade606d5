//! `/api/v1/config`: the configuration that runs, and where each value comes from.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use crate::{
    config::{Effective, Source},
    control::admin::{Admin, api::json, problem::Problem},
};

/// The configuration that runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConfigView {
    /// The keys that have a value, in the order in which they were read. Secrets are masked.
    settings: Vec<SettingView>,
}

/// A key of the configuration.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SettingView {
    /// The key with its section, such as `drain.timeout`.
    key: String,
    /// Its value, as the file would have it.
    value: String,
    /// `default`, `file`, or the flag or environment variable that says so.
    source: &'static str,
    /// The line in the file, counted from 1.
    line: Option<usize>,
}

/// Shows the configuration that runs. Changes of backends stand above it: see `/api/v1/overrides`.
#[utoipa::path(get, path = "/api/v1/config", responses(
    (status = 200, body = ConfigView),
    (status = 503, description = "Too many requests at a time", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(State(admin): State<Admin>) -> Response {
    let settings = admin.settings.settings();
    let settings = settings.iter().map(SettingView::of).collect();
    json(StatusCode::OK, &ConfigView { settings })
}

impl SettingView {
    fn of(setting: &Effective) -> Self {
        let (source, line) = match setting.source {
            Source::Default => ("default", None),
            Source::File { line } => ("file", Some(line)),
            Source::Setting(name) => (name, None),
        };
        Self {
            key: setting.path(),
            value: setting.text.clone(),
            source,
            line,
        }
    }
}
