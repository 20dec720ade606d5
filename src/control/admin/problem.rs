//! Errors of the admin API, as problem documents (RFC 9457).

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::store::{StoreError, clients::ChangeError};

/// Why a request of the admin API is not carried out.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// The kind of problem: `about:blank`, as the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// What is wrong with fields of the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// What is wrong with a field.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct FieldError {
    /// The field, as a JSON pointer.
    pub(super) pointer: String,
    /// What is wrong.
    pub(super) detail: String,
}

impl FieldError {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: format!("#/{field}"),
            detail: detail.into(),
        }
    }

    /// What is wrong with the body as a whole.
    pub(super) fn whole(detail: &str) -> Self {
        Self {
            pointer: "#".to_owned(),
            detail: detail.to_owned(),
        }
    }

    fn sentence(&self) -> String {
        match self.pointer.strip_prefix("#/") {
            Some(field) => format!("{field}: {}", self.detail),
            None => self.detail.clone(),
        }
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The same, of a condition that the request makes.
    #[must_use]
    pub(super) fn into_failed_precondition(self) -> Self {
        match self.status {
            404 | 409 => Self::new(StatusCode::PRECONDITION_FAILED, self.detail),
            _ => self,
        }
    }

    /// The answer to a body with faulty fields.
    pub(super) fn of_fields(errors: Vec<FieldError>) -> Self {
        let details: Vec<String> = errors.iter().map(FieldError::sentence).collect();
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, details.join("; "))
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, content_type, body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                "Bearer".parse().expect("is a value"),
            );
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, "1".parse().expect("is a value"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the admin API got no answer from the database");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the database gives no answer; the log says why",
        )
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let status = match &error {
            ChangeError::NotFound(_) | ChangeError::NoKey { .. } => StatusCode::NOT_FOUND,
            ChangeError::Exists(_)
            | ChangeError::NetworkTaken { .. }
            | ChangeError::TooManyKeys(_) => StatusCode::CONFLICT,
            ChangeError::Changed { .. } => StatusCode::PRECONDITION_FAILED,
            ChangeError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        if let ChangeError::Store(error) = error {
            return error.into();
        }
        Self::new(status, error.to_string())
    }
}
