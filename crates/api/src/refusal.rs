//! How a request that is refused or failed is answered: a problem document (RFC 9457).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use client::wire::{PROBLEM, Problem};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use model::{Error, ErrorKind};

use crate::status;

/// An answer, or why there is none.
pub(crate) type Reply<T> = Result<T, Refusal>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: Error,
    status: StatusCode,
    retry: Option<u32>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = status::of(error.kind());
        Self { error, status, retry: None }
    }
}

impl Refusal {
    /// The error with a status of HTTP's own.
    pub(crate) fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error, status, retry: None }
    }

    /// 429 (RFC 6585, section 4): the caller asks too often.
    pub(crate) fn too_often(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
        let error = Error::exhausted("too many requests from this caller")
            .next(format!("try again in {seconds} s"));
        Self { error, status: StatusCode::TOO_MANY_REQUESTS, retry: Some(seconds) }
    }

    /// 413: the body is longer than the server reads.
    pub(crate) fn too_long(limit: usize) -> Self {
        let error = Error::invalid(format!("the request's body is longer than {limit} bytes"));
        Self::with_status(error, StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// 412: the object is not at the revision that `If-Match` names.
    pub(crate) fn precondition(error: Error) -> Self {
        Self::with_status(error, StatusCode::PRECONDITION_FAILED)
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Why, in a sentence.
    pub(crate) fn message(&self) -> &str {
        self.error.message()
    }

    /// The document.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(&self.error, self.status.as_u16())
    }

    fn log(&self) {
        if self.error.kind() == ErrorKind::Internal {
            tracing::error!(error = self.error.chain(), "request failed");
        }
    }
}

/// The document that tells an error in the middle of a stream.
pub(crate) fn problem(error: Error) -> Problem {
    let refusal = Refusal::from(error);
    refusal.log();
    refusal.problem()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.log();
        let body = serde_json::to_vec(&self.problem()).expect("plain fields can be encoded");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hull\""));
        }
        if let Some(seconds) = self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_that_tells_success_from_failure() {
        for kind in ErrorKind::ALL {
            let response = Refusal::from(Error::new(kind, "no")).into_response();
            assert!(response.status().as_u16() >= 400, "{kind}");
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM);
        }
    }
}
