//! Imports: a root file system that comes with the request, or from a URL.

use std::sync::Arc;

use async_stream::stream;
use axum::body::Body;
use control::Caller;
use futures::StreamExt;
use http::StatusCode;
use link::image::{ImportKind, ImportRequest, Progress};
use model::address::without_login;
use model::{Error, ErrorKind};
use serde_json::Value;

use crate::failure::{Failure, Reply};
use crate::images::{config, names, progress};
use crate::query::Query;
use crate::{Engine, body};

pub(super) async fn import(
    engine: Arc<Engine>,
    caller: Caller,
    query: &Query,
    platform: String,
    body: Body,
) -> Reply {
    let source = query.text("fromSrc");
    let name = names::join(query.text("repo"), query.text("tag"))?;
    query.all("changes").flat_map(str::lines).try_for_each(config::check_change)?;
    let comment = match query.text("message") {
        "" => format!("Imported from {}", without_login(source)),
        message => message.to_owned(),
    };
    // The node fetches what does not come with the request.
    let fetched = match source {
        "-" => String::new(),
        url if url.contains("://") => url.to_owned(),
        url => format!("http://{url}"),
    };
    let first = (!fetched.is_empty())
        .then(|| progress::status(format!("Downloading from {}", without_login(&fetched))));
    let request = ImportRequest {
        name: name.map(|name| name.to_string()).unwrap_or_default(),
        changes: query.all("changes").map(str::to_owned).collect(),
        comment,
        platform,
        kind: ImportKind::RootFs,
        source: fetched,
        ..ImportRequest::default()
    };
    let steps = engine.control.images().import(&caller, "", request, body::stream(body)).await;
    let mut steps = steps.map_err(|error| match error.kind() {
        // Of another server's, not of the engine's.
        ErrorKind::Unavailable => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.chain()),
        _ => error.into(),
    })?;
    if let Some(first) = first {
        return Ok(progress::respond(stream! {
            yield first;
            match outcome(&mut steps).await {
                Ok(line) => yield line,
                Err(failure) => yield progress::failure(&failure.message),
            }
        }));
    }
    let line = outcome(&mut steps).await?;
    Ok(progress::respond(futures::stream::iter([line])))
}

/// The image's id, alone on a line.
async fn outcome(steps: &mut link::ResultStream<Progress>) -> Reply<Value> {
    while let Some(step) = steps.next().await {
        if let Progress::Done { images, .. } = step? {
            let id = images.first().map(|image| image.id.clone()).unwrap_or_default();
            return Ok(progress::status(id));
        }
    }
    Err(Failure::from(Error::internal("an import ended without a word")))
}
