//! `POST /images/load`.

use async_stream::stream;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use futures::StreamExt;
use link::image::{ImportKind, ImportRequest, Progress};
use model::image::Image;
use serde_json::{Value, json};

use super::names::Platform;
use super::{names, progress};
use crate::failure::Reply;
use crate::query::Query;
use crate::{Shared, body};

pub(super) async fn load(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
    body: Body,
) -> Reply {
    let platform = Platform::read(query.text("platform"))?;
    let platform = platform.map(|platform| platform.to_string()).unwrap_or_default();
    let request = ImportRequest { kind: ImportKind::Archive, platform, ..ImportRequest::default() };
    let images = engine.control.images();
    let mut steps = images.import(&caller, "", request, body::stream(body)).await?;
    Ok(progress::respond(stream! {
        while let Some(step) = steps.next().await {
            match step {
                Ok(Progress::Done { images, .. }) => {
                    for line in loaded(&images) {
                        yield line;
                    }
                }
                Ok(Progress::Layer { .. } | Progress::Message { .. } | Progress::Pushed { .. }) => {}
                Err(error) => yield progress::failure(&error.chain()),
            }
        }
    }))
}

/// Names that images were given; ids, if none has a name.
fn loaded(images: &[Image]) -> Vec<Value> {
    let line = |text: String| json!({ "stream": text });
    let names = images.iter().flat_map(|image| &image.names);
    let lines: Vec<Value> =
        names.map(|name| line(format!("Loaded image: {}\n", names::familiar(name)))).collect();
    if !lines.is_empty() {
        return lines;
    }
    images.iter().map(|image| line(format!("Loaded image ID: {}\n", image.id))).collect()
}
