//! Bodies of requests.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Limited};
use link::ByteStream;
use model::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// Longest body that is read whole.
const LONGEST: usize = 4 << 20;

/// A body of JSON; `None` when there is none at all.
pub(crate) struct Json<T>(pub(crate) T);

/// A body of JSON that may be absent.
pub(crate) struct MaybeJson<T>(pub(crate) Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let MaybeJson(value) = MaybeJson::from_request(request, state).await?;
        value
            .map(Self)
            .ok_or_else(|| Failure::bad("invalid JSON: got EOF while reading request body"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for MaybeJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let bytes = whole(request.into_body()).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_content_type(kind.as_ref().map(http::HeaderValue::as_bytes))?;
        parse(&bytes).map(Some).map(Self)
    }
}

/// All of a body, within bounds.
pub(crate) async fn whole(body: Body) -> Result<bytes::Bytes, Failure> {
    let whole = Limited::new(body, LONGEST).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return Failure::bad("http: request body too large");
        }
        Failure::bad(format!("the request's body ended in the middle: {error}"))
    })
}

fn check_content_type(kind: Option<&[u8]>) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(kind.unwrap_or_default());
    let kind = text.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Failure::bad(format!(
        "unsupported Content-Type header ({kind}): must be 'application/json'"
    )))
}

/// Reads JSON as Engine does: words where a list of words is meant are such a list.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(Failure::bad(format!("invalid JSON: {error}"))),
        None => return Err(Failure::bad("invalid JSON: got EOF while reading request body")),
    };
    if values.next().is_some() {
        return Err(Failure::bad("unexpected content after JSON"));
    }
    listen_to_words(&mut value);
    check_words(&value)?;
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    serde_json::from_value(value).map_err(|error| Failure::bad(format!("invalid JSON: {error}")))
}

/// `"Cmd": "ls"` is `"Cmd": ["ls"]`.
fn listen_to_words(value: &mut Value) {
    for field in ["Cmd", "Entrypoint"] {
        if let Some(word @ Value::String(_)) = value.get_mut(field) {
            *word = Value::Array(vec![word.take()]);
        }
    }
}

/// Words whose set is closed, refused in Engine's own words.
fn check_words(value: &Value) -> Result<(), Failure> {
    for policy in [&value["RestartPolicy"]["Name"], &value["HostConfig"]["RestartPolicy"]["Name"]] {
        let name = policy.as_str().unwrap_or_default();
        if !matches!(name, "" | "no" | "always" | "on-failure" | "unless-stopped") {
            return Err(Failure::bad(format!(
                "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', \
                 or 'unless-stopped'"
            )));
        }
    }
    for mount in value["HostConfig"]["Mounts"].as_array().into_iter().flatten() {
        let kind = mount["Type"].as_str().unwrap_or("volume");
        if !matches!(kind, "bind" | "volume" | "tmpfs" | "image" | "npipe" | "cluster") {
            return Err(Failure::bad(format!(
                "invalid mount config for type \"{kind}\": mount type unknown"
            )));
        }
    }
    Ok(())
}

/// The body's bytes; no faster than they are taken.
pub(crate) fn stream(body: Body) -> ByteStream {
    use futures::StreamExt;
    let parts = body.into_data_stream().map(|part| {
        part.map_err(|error| {
            Error::invalid("the request's body ended in the middle").caused_by(error)
        })
    });
    Box::pin(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_as_engine_reads_it() {
        let read = |text: &str| parse::<Value>(text.as_bytes()).map_err(|failure| failure.message);
        assert_eq!(read(r#"{"Cmd":"ls"}"#).unwrap()["Cmd"][0], "ls");
        assert_eq!(read("null").unwrap(), serde_json::json!({}));
        assert!(read("{").unwrap_err().starts_with("invalid JSON: "));
        assert_eq!(read("{} {}").unwrap_err(), "unexpected content after JSON");
    }
}
