//! Streams of answers: a JSON value a line, or bytes, and how their failure is told.
//!
//! Once the head of an answer is sent its status cannot change. A stream of lines that fails ends
//! with the line `{"error":{…problem…}}`; a stream of bytes ends with the trailer
//! [`ERROR_TRAILER`] (RFC 9110, section 6.5) if the request said `TE: trailers`, and is cut off
//! otherwise.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Problem;

/// Trailer with a problem document in base64.
pub const ERROR_TRAILER: &str = "hull-error";

/// Header with the name of the operation that an answer tells the progress of.
pub const OPERATION: &str = "hull-operation";

/// The last line of a stream that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// Why.
    pub error: Problem,
}

/// What a line that tells a failure begins with; no other line does.
pub const FAILURE_START: &[u8] = b"{\"error\":";

/// The trailer's value.
pub fn encode_trailer(problem: &Problem) -> String {
    let json = serde_json::to_vec(problem).expect("a struct of plain fields can be encoded");
    STANDARD.encode(json)
}

/// Reads [`encode_trailer`]'s value.
pub fn decode_trailer(value: &[u8]) -> Error {
    let problem = STANDARD.decode(value).ok();
    match problem.and_then(|json| serde_json::from_slice::<Problem>(&json).ok()) {
        Some(problem) => problem.into(),
        None => Error::internal("the server failed in the middle and did not say why"),
    }
}

/// Reads a line; one that tells a failure is one.
pub fn decode_line<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T> {
    if line.starts_with(FAILURE_START)
        && let Ok(failure) = serde_json::from_slice::<Failure>(line)
    {
        return Err(failure.error.into());
    }
    serde_json::from_slice(line).map_err(|error| {
        Error::internal("a line of the server's answer cannot be read").caused_by(error)
    })
}
