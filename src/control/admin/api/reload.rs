//! `/api/v1/reload`: reads the configuration again and tells what came of it.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use tokio::{
    sync::oneshot,
    time::{Duration, timeout},
};

use crate::{
    config::Diagnostic,
    control::{
        admin::{Admin, api::json, problem::Problem},
        operations::Operation,
    },
};

/// What came of a reload.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ReloadView {
    /// Whether the new configuration runs. If not, the old one goes on.
    is_reloaded: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Faults and warnings, as `weir check` shows them.
    diagnostics: Vec<DiagnosticView>,
    /// Keys whose new values hold from the next start on.
    need_restart: Vec<&'static str>,
}

/// A fault or a warning of the configuration.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DiagnosticView {
    /// `error` or `warning`.
    severity: &'static str,
    message: String,
    /// The line in the file, counted from 1.
    line: Option<usize>,
    /// The column in the line, counted from 1.
    column: Option<usize>,
}

/// Has the process read its configuration again, and waits for the result.
#[utoipa::path(post, path = "/api/v1/reload", responses(
    (status = 200, body = ReloadView),
    (status = 401, description = "The token is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The request may change nothing here", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The configuration has faults; the old one goes on", body = ReloadView),
    (status = 503, description = "The process is stopping", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn reload(State(admin): State<Admin>) -> Result<Response, Problem> {
    let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the process is stopping");
    let (done, is_done) = oneshot::channel();
    let sent = admin.changes.operations.send(Operation::Reload(done)).await;
    sent.map_err(|_ended| stopping())?;
    let result = timeout(RELOAD_TIME_MAX, is_done)
        .await
        .map_err(|_elapsed| {
            let detail = "the reload takes longer than 30 s; the log will tell of its end";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
    Ok(match result.map_err(|_ended| stopping())? {
        Ok(reloaded) => json(
            StatusCode::OK,
            &ReloadView {
                is_reloaded: true,
                error: None,
                diagnostics: reloaded.warnings.iter().map(DiagnosticView::of).collect(),
                need_restart: reloaded.need_restart,
            },
        ),
        Err(fault) => json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &ReloadView {
                is_reloaded: false,
                error: Some(fault.message),
                diagnostics: fault.diagnostics.iter().map(DiagnosticView::of).collect(),
                need_restart: Vec::new(),
            },
        ),
    })
}

impl DiagnosticView {
    fn of(diagnostic: &Diagnostic) -> Self {
        let (line, column) = diagnostic.line_and_column().unzip();
        Self {
            severity: diagnostic.severity.as_str(),
            message: diagnostic.message.clone(),
            line,
            column,
        }
    }
}

/// Above what reading may take, twice.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(30);
