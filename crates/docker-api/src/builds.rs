//! Builds by the classic endpoint, and connections of clients with BuildKit (`/grpc`, `/session`).

mod kit;
mod request;

use std::sync::Arc;

use async_stream::stream;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Router};
use base64::Engine as _;
use control::Caller;
use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use link::build::{BuildCache, BuildStep};
use model::ErrorKind;
use serde_json::{Value, json};

use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::images::{auth, names, progress};
use crate::query::Query;
use crate::{Engine, Shared, body};

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/build", post(build))
        .route("/build/prune", post(prune))
        .route("/session", post(kit::session))
        .route("/grpc", post(kit::control))
}

async fn build(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let request = request::read(&query, auth::of_build(&headers))?;
    let (quiet, by_kit) = (query.flag("q"), request.session.is_some());
    let images = engine.control.images();
    let steps = images.build(&caller, "", request, body::stream(body)).await;
    let mut steps = steps.map_err(|error| match error.kind() {
        // The Dockerfile; Engine has no status of its own for that.
        ErrorKind::NotFound => {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.message().to_owned())
        }
        _ => error.into(),
    })?;
    Ok(progress::respond(stream! {
        // Who wants to hear nothing hears all of a build that fails.
        let mut held = String::new();
        while let Some(step) = steps.next().await {
            match step {
                Ok(BuildStep::Text { text }) if quiet => held.push_str(&text),
                Ok(BuildStep::Text { text }) => yield json!({ "stream": text }),
                Ok(BuildStep::Failed { message, code }) => {
                    if !held.is_empty() {
                        yield json!({ "stream": std::mem::take(&mut held) });
                    }
                    yield failed(&message, code);
                }
                Ok(BuildStep::Trace { message }) => {
                    let message = base64::engine::general_purpose::STANDARD.encode(message);
                    yield json!({ "id": "moby.buildkit.trace", "aux": message });
                }
                Ok(BuildStep::Built { id, .. }) if by_kit => {
                    yield json!({ "id": "moby.image.id", "aux": { "ID": id } });
                }
                Ok(BuildStep::Built { id, .. }) if quiet => {
                    yield json!({ "stream": format!("{id}\n") });
                }
                Ok(BuildStep::Built { id, names }) => {
                    for line in built(&id, &names) {
                        yield line;
                    }
                }
                Err(error) => yield progress::failure(&error.chain()),
            }
        }
    }))
}

fn failed(message: &str, code: Option<i32>) -> Value {
    let mut line = progress::failure(message);
    if let Some(code) = code {
        line["errorDetail"]["code"] = json!(code);
    }
    line
}

fn built(id: &str, tagged: &[String]) -> Vec<Value> {
    let mut lines = vec![
        json!({ "aux": { "ID": id } }),
        json!({ "stream": format!("Successfully built {}\n", names::short(id)) }),
    ];
    lines.extend(tagged.iter().map(
        |name| json!({ "stream": format!("Successfully tagged {}\n", names::familiar(name)) }),
    ));
    lines
}

async fn prune(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let known = ["description", "id", "inuse", "parent", "private", "shared", "type", "until"];
    let filters = Filters::read(&query, &known)?;
    if let Some(name) = known.iter().find(|name| filters.has(name)) {
        return Err(Failure::unserved(format!(
            "the builder's cache cannot be pruned by the filter '{name}'"
        )));
    }
    let pruned = engine.control.images().build_prune(&caller, "", query.flag("all")).await?;
    let deleted = if pruned.removed.is_empty() { Value::Null } else { json!(pruned.removed) };
    let answer = json!({ "CachesDeleted": deleted, "SpaceReclaimed": pruned.freed.0 });
    Ok(axum::response::IntoResponse::into_response(axum::Json(answer)))
}

/// Rows of `df`; null for none.
pub(crate) async fn usage(engine: &Engine, caller: &Caller) -> Reply<Value> {
    let kept = engine.control.images().build_cache(caller, "").await?;
    if kept.is_empty() {
        return Ok(Value::Null);
    }
    Ok(kept.iter().map(row).collect())
}

fn row(cache: &BuildCache) -> Value {
    json!({
        "ID": cache.id,
        "Type": "regular",
        "Description": cache.name,
        "InUse": false,
        "Shared": false,
        "Size": cache.size.0,
        "CreatedAt": cache.created.map(|created| created.to_string()),
        "LastUsedAt": Value::Null,
        "UsageCount": 1,
    })
}
