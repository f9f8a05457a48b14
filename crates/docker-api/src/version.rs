//! Which version of the API a request speaks: its path begins with `/v1.NN`, or it takes the newest.

use std::fmt;
use std::str::FromStr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, header};

use crate::failure::Failure;

/// A version of the API, `1.44`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

/// The newest that the public specification names. Its bodies are those of 1.53, of which the generated
/// types are.
pub(crate) const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 55 };
/// The oldest that is answered.
pub(crate) const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };
/// What the engine says of itself in its `Server` header and `docker version`: clients compare it.
pub(crate) const ENGINE: &str = "29.3.1";

impl ApiVersion {
    /// Version 1 of this minor number.
    pub(crate) const fn minor(minor: u16) -> Self {
        Self { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        let number = |text: &str| match text.bytes().all(|c| c.is_ascii_digit()) {
            true => text.parse().map_err(drop),
            false => Err(()),
        };
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// Takes the version off the path, refuses one that is not spoken, and has every answer say which are.
pub(crate) async fn negotiate(mut request: Request, next: Next) -> Response {
    let spoken = match take_version(&mut request) {
        Ok(version) => version,
        Err(failure) => return said(failure.into_response()),
    };
    request.extensions_mut().insert(spoken);
    said(next.run(request).await)
}

fn take_version(request: &mut Request) -> Result<ApiVersion, Failure> {
    let Some((version, rest)) = split(request.uri()) else { return Ok(NEWEST) };
    if version > NEWEST {
        return Err(Failure::bad(format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        )));
    }
    if version < OLDEST {
        return Err(Failure::bad(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please \
             upgrade your client to a newer version"
        )));
    }
    *request.uri_mut() = rest;
    Ok(version)
}

/// The version a path begins with, and the rest of it.
fn split(uri: &Uri) -> Option<(ApiVersion, Uri)> {
    let path = uri.path().strip_prefix("/v")?;
    let (version, rest) = path.split_once('/')?;
    let version = version.parse().ok()?;
    let text = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Some((version, Uri::from_parts(parts).ok()?))
}

fn said(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let own = [
        ("api-version", HeaderValue::try_from(NEWEST.to_string())),
        ("docker-experimental", Ok(HeaderValue::from_static("false"))),
        ("ostype", Ok(HeaderValue::from_static("linux"))),
        (header::SERVER.as_str(), HeaderValue::try_from(format!("Docker/{ENGINE} (linux)"))),
    ];
    for (name, value) in own {
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_paths() {
        let version =
            |path: &str| split(&path.parse().unwrap()).map(|(v, rest)| (v, rest.to_string()));
        assert_eq!(
            version("/v1.44/containers/json?all=1"),
            Some((ApiVersion::minor(44), "/containers/json?all=1".to_owned()))
        );
        for none in ["/containers/json", "/volumes", "/volumes/x", "/v1/x", "/v1.+4/x", "/v1.4"] {
            assert_eq!(version(none), None, "{none}");
        }
    }
}
