//! Failures on the way: what the reader of an error can do about each.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;
use hyper_util::client::legacy;
use model::{Error, ErrorKind};

use crate::config::Host;
use crate::wire::Problem;

/// The error for a host that does not answer.
pub fn unreachable(host: &Host, cause: impl StdError + Send + Sync + 'static) -> Error {
    if io_kind(&cause) == Some(io::ErrorKind::PermissionDenied) {
        return Error::forbidden(format!("{host} may not be used by this user"))
            .next("run as root, or as a member of group hull")
            .caused_by(cause);
    }
    if is_untrusted(&cause) {
        return Error::unavailable(format!("{host} cannot prove that it is the cluster asked for"))
            .next("does HULL_CA name that cluster's authority, and HULL_HOST one of its names?")
            .caused_by(cause);
    }
    let error = Error::unavailable(format!("{host} does not answer"));
    let error = match host {
        Host::Unix(_) => error.next("is the daemon running? hull up"),
        Host::Https { .. } => error.next("is the daemon running there? does HULL_HOST name it?"),
    };
    error.caused_by(cause)
}

/// The error for a request that got no answer.
pub(crate) fn no_answer(host: &Host, cause: legacy::Error) -> Error {
    if cause.is_connect() {
        return unreachable(host, cause);
    }
    cut_off(host, cause)
}

/// The error for an answer that ended in the middle.
pub(crate) fn cut_off(host: &Host, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::unavailable(format!("the connection to {host} broke")).caused_by(cause)
}

/// The error an answer tells: its problem document, or what its status says when something between
/// us and the server answered.
pub(crate) fn from_answer(status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Error::new(kind_of(status), format!("the server answered {status}: {}", text.trim()))
        }
    }
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::Forbidden,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::INSUFFICIENT_STORAGE => ErrorKind::Exhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorKind::Unavailable
        }
        status if status.is_client_error() => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    // An `io::Error` keeps what it wraps to itself: its own source is that of what it wraps.
    let tls = |cause: &&(dyn StdError + 'static)| {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = match wrapped {
            Some(inner) => inner.downcast_ref::<rustls::Error>(),
            None => cause.downcast_ref::<rustls::Error>(),
        };
        matches!(found, Some(rustls::Error::InvalidCertificate(_)))
    };
    causes(error).any(|cause| tls(&cause))
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
