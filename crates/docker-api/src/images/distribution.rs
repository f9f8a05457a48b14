//! `GET /distribution/{name}/json`: what a name means at its registry.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{auth, create, names};
use crate::Shared;
use crate::failure::{Failure, Reply};

pub(super) async fn inspect(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let Some(name) = path.strip_suffix("/json") else {
        return Err(Failure::not_found("page not found"));
    };
    if names::parse(name).is_err() && names::parse_any(name).is_ok() {
        let message = "no manifest found for full image ID";
        return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    }
    let reference = names::parse(name)?;
    let login = auth::of(&headers, &reference.registry);
    let shown = login.is_some();
    let images = engine.control.images();
    let found = images.look_up(&caller, "", &reference.to_string(), login).await;
    let found = found.map_err(|error| {
        let mut failure = create::refusal(&reference, shown, error);
        // A pull says what it is that was not found; here the registry's own words are told.
        if let Some(words) = failure.message.strip_prefix("manifest for ")
            && let Some((_, words)) = words.split_once(" not found: ")
        {
            failure.message = words.to_owned();
        }
        failure
    })?;
    let platforms: Vec<Value> = found.platforms.iter().map(platform).collect();
    let answer = json!({
        "Descriptor": {
            "mediaType": found.media_type, "digest": found.digest, "size": found.size,
        },
        "Platforms": platforms,
    });
    Ok(axum::Json(answer).into_response())
}

fn platform((os, architecture, variant): &(String, String, String)) -> Value {
    let mut platform = json!({ "architecture": architecture, "os": os });
    if !variant.is_empty() {
        platform["variant"] = json!(variant);
    }
    platform
}
