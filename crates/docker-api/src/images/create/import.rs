//! Imports: a root file system that comes with the request, or from a URL.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use control::Caller;
use futures::StreamExt;
use http::StatusCode;
use link::ByteStream;
use link::image::{ImportKind, ImportRequest, Progress};
use model::{Error, ErrorKind};
use serde_json::Value;

use crate::failure::{Failure, Reply};
use crate::images::{config, names, progress};
use crate::query::Query;
use crate::{Engine, body};

/// No byte for this long: the other end is gone.
const STALLED: Duration = Duration::from_secs(60);

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
        "" => format!("Imported from {source}"),
        message => message.to_owned(),
    };
    let (archive, first) = match source {
        "-" => (body::stream(body), None),
        url => {
            let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
            let first = progress::status(format!("Downloading from {url}"));
            (fetch(&url).await?, Some(first))
        }
    };
    let request = ImportRequest {
        name: name.map(|name| name.to_string()).unwrap_or_default(),
        changes: query.all("changes").map(str::to_owned).collect(),
        comment,
        platform,
        kind: ImportKind::RootFs,
        ..ImportRequest::default()
    };
    let mut steps = engine.control.images().import(&caller, "", request, archive).await?;
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

async fn fetch(url: &str) -> Reply<ByteStream> {
    let failed = |error: reqwest::Error| {
        let error = Error::unavailable(format!("Get \"{url}\"")).caused_by(error.without_url());
        let message = error.chain();
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    };
    // The program has one as a rule; where it has none, the same is taken.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().read_timeout(STALLED).build().map_err(failed)?;
    let parsed = reqwest::Url::parse(url);
    let parsed = parsed.map_err(|error| Failure::bad(format!("parse \"{url}\": {error}")))?;
    let response = client.get(parsed).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(Failure::new(
            if response.status() == StatusCode::NOT_FOUND {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            },
            format!("failed to GET {url} with status {}: ", response.status()),
        ));
    }
    let parts = response.bytes_stream().map(|part| {
        part.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the download broke off").caused_by(error)
        })
    });
    Ok(Box::pin(parts))
}
