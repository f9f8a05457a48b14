//! Reading what a caller sends: queries and JSON bodies.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use model::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Api;
use crate::refusal::{Refusal, Reply};
use crate::shape::unknown_field;
use crate::upload;

/// How much of a body that is too long is taken in, bytes.
const SWALLOWED: usize = 64 << 20;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The query's parameters. One that is not known, or of the wrong type, is named.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Reply<Self> {
        let text = parts.uri.query().unwrap_or_default();
        Ok(Self(read_query(text)?))
    }
}

fn read_query<T: DeserializeOwned>(text: &str) -> model::Result<T> {
    let pairs = serde_urlencoded::Deserializer::new(form(text));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let field = error.path().to_string();
        let refused = Error::invalid(format!("the query cannot be read: {}", error.inner()));
        if field == "." { refused } else { refused.at(field) }
    })
}

fn form(text: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(text.as_bytes())
}

/// A JSON body; none counts as `{}`. A field that is not known is named, and so is one of the wrong type.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Reply<Self> {
        let value = read_value(request, api, &["application/json"]).await?;
        let nothing = || Value::Object(serde_json::Map::new());
        Ok(Self(read(value.unwrap_or_else(nothing), api)?))
    }
}

/// A merge patch (RFC 7396): an object.
pub(crate) struct MergePatch(pub(crate) Value);

impl FromRequest<Arc<Api>> for MergePatch {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Reply<Self> {
        let accepted = [client::wire::MERGE_PATCH, "application/json"];
        match read_value(request, api, &accepted).await? {
            Some(patch @ Value::Object(_)) => Ok(Self(patch)),
            _ => Err(Error::invalid("a merge patch is a JSON object")
                .next("send the fields to be changed; null takes one away")
                .into()),
        }
    }
}

/// Reads a body of type `T` that is JSON already.
pub(crate) fn read<T: DeserializeOwned + 'static>(value: Value, api: &Api) -> model::Result<T> {
    let schema = api.document.body(TypeId::of::<T>());
    if let Some(field) = unknown_field(&value, schema, api.document.schemas()) {
        return Err(Error::invalid(format!("there is no field {field}"))
            .at(field)
            .next("see /openapi.json for the fields there are"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let refused = Error::invalid(format!("the body cannot be read: {}", error.inner()));
        if field == "." { refused } else { refused.at(field) }
    })
}

/// The body as JSON; nothing when it is empty.
async fn read_value(request: Request, api: &Api, types: &[&str]) -> Reply<Option<Value>> {
    let (parts, body) = request.into_parts();
    let bytes = read_whole(&parts.headers, body, api.limits.body).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    check_type(&parts.headers, types)?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("the body is not JSON: {error}")))?;
    Ok(Some(value))
}

async fn read_whole(headers: &HeaderMap, body: axum::body::Body, limit: usize) -> Reply<Bytes> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        swallow(body).await;
        return Err(Refusal::too_long(limit));
    }
    let (mut parts, mut whole) = (upload::bytes(body), BytesMut::new());
    while let Some(part) = parts.next().await {
        whole.extend_from_slice(&part?);
        if whole.len() > limit {
            return Err(Refusal::too_long(limit));
        }
    }
    Ok(whole.freeze())
}

/// Takes in what a caller goes on sending, within bounds: one that still writes when the connection
/// closes sees that it broke, and not why.
pub(crate) async fn swallow(body: axum::body::Body) {
    let swallow = Limited::new(body, SWALLOWED);
    let mut pieces = swallow.into_data_stream();
    let all = async { while let Some(Ok(_)) = pieces.next().await {} };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

/// A form of a web page cannot set these types, so that a page cannot write in a caller's name.
fn check_type(headers: &HeaderMap, types: &[&str]) -> Reply<()> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if types.iter().any(|accepted| essence.eq_ignore_ascii_case(accepted)) {
        return Ok(());
    }
    let error = Error::invalid(format!("a body of type {given:?} is not read here"))
        .at("Content-Type")
        .next(format!("send {}", types.join(" or ")));
    Err(Refusal::with_status(error, StatusCode::UNSUPPORTED_MEDIA_TYPE))
}
