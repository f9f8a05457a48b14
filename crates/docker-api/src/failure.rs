//! How errors are told: a status and `{"message": …}`, in Engine's own words where clients match on
//! them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::error::Code;
use model::{Error, ErrorKind};
use serde_json::json;

/// What an endpoint that fails answers.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// What exactly went wrong, for who decides by it.
    pub(crate) code: Option<Code>,
}

/// What an endpoint answers.
pub(crate) type Reply<T = Response> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// What the engine has no part for. The reviewed list is `docs/docker-api.md`.
    pub(crate) fn unserved(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// The same failure in Engine's words, for one kind of it.
    pub(crate) fn reword(
        error: Error,
        kind: ErrorKind,
        message: impl FnOnce(&Error) -> String,
    ) -> Self {
        let mut failure = Self::from_ref(&error);
        if error.kind() == kind {
            failure.message = message(&error);
        }
        failure
    }

    fn from_ref(error: &Error) -> Self {
        let mut message = error.chain();
        if let Some(next) = error.next_step() {
            message.push_str(": ");
            message.push_str(next);
        }
        Self { status: status(error.kind()), message, code: error.code() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::Internal {
            tracing::error!(error = error.chain(), "the Docker API failed");
        }
        Self::from_ref(&error)
    }
}

/// The one place where kinds become statuses of this API.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Exhausted | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({ "message": self.message }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status() {
        for kind in ErrorKind::ALL {
            let failure = Failure::from(Error::new(kind, "x"));
            assert!(failure.status.is_client_error() || failure.status.is_server_error());
        }
    }
}
