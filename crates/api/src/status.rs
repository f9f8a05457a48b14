//! The ten kinds of errors as HTTP statuses: the one place that says so.

use http::StatusCode;
use model::ErrorKind;

/// The status of a kind (RFC 9110, section 15; 507 is of RFC 4918). A few faults of HTTP itself
/// (a body too long, a rate exceeded, a precondition) have statuses of their own: see
/// [`crate::refusal::Refusal`].
pub(crate) fn of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Exists | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
