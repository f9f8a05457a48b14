//! Errors told again: to the callers who share one failure, and with more said about the object.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use model::Error;

/// The same error for one more caller.
pub(crate) fn again(error: &Arc<Error>) -> Error {
    retell(error, error.message().to_owned())
}

/// The same error with `object` named before its message.
pub(crate) fn about(object: impl fmt::Display, error: Error) -> Error {
    let message = format!("{object}: {}", error.message());
    retell(&Arc::new(error), message)
}

fn retell(error: &Arc<Error>, message: String) -> Error {
    let mut told = Error::new(error.kind(), message);
    if let Some(code) = error.code() {
        told = told.coded(code);
    }
    if let Some(field) = error.field() {
        told = told.at(field);
    }
    if let Some(step) = error.next_step() {
        told = told.next(step);
    }
    match error.source() {
        Some(_) => told.caused_by(Cause(error.clone())),
        None => told,
    }
}

/// The cause of the error inside, shared.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |cause| fmt::Display::fmt(cause, f))
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_or_said_twice() {
        let cause = std::io::Error::other("reset");
        let error = Error::unavailable("no answer").next("wait").at("image").caused_by(cause);
        let told = about("nginx", error.coded(model::error::Code::LoginWanted));
        assert_eq!(told.code(), Some(model::error::Code::LoginWanted));
        assert_eq!(told.chain(), "nginx: no answer: reset");
        assert_eq!((told.next_step(), told.field()), (Some("wait"), Some("image")));
        assert_eq!(again(&Arc::new(told)).chain(), "nginx: no answer: reset");
    }
}
