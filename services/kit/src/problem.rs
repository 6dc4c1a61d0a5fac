//! Errors as `application/problem+json` with a stable code.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chat_events::Code;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{metrics as names, trace};

/// What a handler answers when it cannot do what was asked.
#[derive(Debug)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// For the log only.
    source: Option<anyhow::Error>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// The body of every error answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Always `about:blank`: `code` says what happened.
    pub r#type: &'static str,
    pub title: &'static str,
    pub status: u16,
    pub code: Code,
    pub detail: String,
    /// The trace id: names the request in the logs of every service.
    pub request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            source: None,
        }
    }

    /// 400: one field is not acceptable.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, Code::Invalid.title()).and(field, message)
    }

    /// Names one more field that is not acceptable.
    #[must_use]
    pub fn and(mut self, field: &str, message: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            field: field.to_owned(),
            message: message.into(),
        });
        self
    }

    pub fn not_found() -> Self {
        Self::from(Code::NotFound)
    }

    /// 500: a fault of ours. The cause goes to the log, not to the client.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::from(Code::Internal)
        }
    }

    /// 503: something that we depend on is away.
    pub fn unavailable(source: impl Into<anyhow::Error>) -> Self {
        Self {
            source: Some(source.into()),
            retry_after: Some(Duration::from_secs(1)),
            ..Self::from(Code::Unavailable)
        }
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if crate::pg::is_unavailable(&error) {
            Self::unavailable(error)
        } else {
            Self::internal(error)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = serde_json::to_value(self.code).unwrap_or_default();
        let code = code.as_str().unwrap_or_default().to_owned();
        metrics::counter!(names::ERRORS, "code" => code.clone()).increment(1);
        if let Some(source) = &self.source {
            tracing::error!(
                error.code = code,
                error = format!("{source:#}"),
                "request failed"
            );
        }
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let trace = trace::current();
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail,
            request_id: trace
                .as_deref()
                .and_then(trace::id)
                .unwrap_or_default()
                .to_owned(),
            errors: self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(wait) = self.retry_after {
            // Whole seconds, never 0: 0 would mean at once.
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64),
            );
        }
        response
    }
}
