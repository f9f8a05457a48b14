//! `GET /system/df`: what images, containers and volumes take.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::json;

use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::{Shared, builds, containers, images, volumes};

pub(super) async fn df(State(engine): Shared, Extension(caller): crate::By, query: Query) -> Reply {
    let kinds: Vec<&str> = query.all("type").collect();
    for kind in &kinds {
        if !["container", "image", "volume", "build-cache"].contains(kind) {
            return Err(Failure::bad(format!("unknown object type: {kind}")));
        }
    }
    let wanted = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
    let mut answer = json!({
        "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null, "BuildCache": null,
    });
    if wanted("image") {
        let (rows, layers) = images::usage(&engine, &caller).await?;
        answer["Images"] = json!(rows);
        answer["LayersSize"] = json!(layers);
    }
    if wanted("container") {
        answer["Containers"] = json!(containers::usage(&engine, &caller).await?);
    }
    if wanted("volume") {
        answer["Volumes"] = json!(volumes::usage(&engine, &caller)?);
    }
    if wanted("build-cache") {
        answer["BuildCache"] = builds::usage(&engine, &caller).await?;
    }
    Ok(axum::Json(answer).into_response())
}
