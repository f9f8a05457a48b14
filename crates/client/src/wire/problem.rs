//! Errors as problem documents (RFC 9457).

use model::error::Code;
use model::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// Why something was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Names the sort of problem; not an address.
    pub r#type: String,
    /// The sort of problem in words.
    pub title: String,
    /// The status of the answer it came with, or would have come with.
    pub status: u16,
    /// Which object and why, causes included.
    pub detail: String,
    /// Path of the field at fault, e.g. `spec.containers[0].image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// One of ten words: `invalid`, `notFound`, `exists`, `conflict`, `forbidden`,
    /// `unauthenticated`, `exhausted`, `unavailable`, `unsupported`, `internal`.
    #[schema(value_type = String)]
    pub kind: ErrorKind,
    /// What exactly went wrong, where programs decide by it: `ProgramMissing`. Others may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Problem {
    /// The document that tells `error`, with the status a front-end gives its kind.
    pub fn new(error: &Error, status: u16) -> Self {
        Self {
            r#type: format!("urn:hull:problem:{}", error.kind()),
            title: title(error.kind()).to_owned(),
            status,
            detail: error.chain(),
            field: error.field().map(str::to_owned),
            next: error.next_step().map(str::to_owned),
            kind: error.kind(),
            code: error.code().map(|code| code.as_str().to_owned()),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let mut error = Error::new(problem.kind, problem.detail);
        if let Some(field) = problem.field {
            error = error.at(field);
        }
        // A server may know codes that this program does not.
        if let Some(code) = problem.code.as_deref().and_then(Code::named) {
            error = error.coded(code);
        }
        match problem.next {
            Some(next) => error.next(next),
            None => error,
        }
    }
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "The request is wrong",
        ErrorKind::NotFound => "There is no such object",
        ErrorKind::Exists => "The name is taken",
        ErrorKind::Conflict => "The object's state or revision does not allow this",
        ErrorKind::Forbidden => "The caller may not do this",
        ErrorKind::Unauthenticated => "The caller is not known",
        ErrorKind::Exhausted => "Something is used up",
        ErrorKind::Unavailable => "A part that is needed does not answer",
        ErrorKind::Unsupported => "This cannot be done here",
        ErrorKind::Internal => "A fault of the platform",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "no").at("spec.x").next("do");
            let text = serde_json::to_string(&Problem::new(&error, 400)).unwrap();
            let back: Error = serde_json::from_str::<Problem>(&text).unwrap().into();
            assert_eq!((back.kind(), back.message()), (kind, "no"));
            assert_eq!((back.field(), back.next_step()), (Some("spec.x"), Some("do")));
            assert_eq!(back.code(), None);
        }
        for code in Code::ALL {
            let problem = Problem::new(&Error::new(code.kind(), "no").coded(code), 400);
            assert_eq!(Error::from(problem).code(), Some(code));
        }
        let later =
            Problem { code: Some("OfLater".into()), ..Problem::new(&Error::invalid("no"), 400) };
        assert_eq!(Error::from(later).code(), None);
    }
}
