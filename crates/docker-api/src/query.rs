//! Queries of requests: Go's booleans, and fields that were not given.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::failure::Failure;

/// The query of a request; a field may come more than once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|error| Failure::bad(format!("invalid query: {error}")))
    }
}

impl Query {
    /// The field's first value; empty when it was not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// The field's first value.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of the field.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// True unless it is absent, empty, `0`, `no`, `false` or `none`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let text = self.text(name).trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The same, with another meaning of its absence.
    pub(crate) fn flag_or(&self, name: &str, absent: bool) -> bool {
        self.given(name).map_or(absent, |_| self.flag(name))
    }

    /// A whole number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.given(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Failure::bad(format!("strconv.Atoi: parsing \"{text}\": invalid syntax")))
    }
}
