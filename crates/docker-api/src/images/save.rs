//! `GET /images/get` and `GET /images/{name}/get`: images as one archive.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use control::Caller;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::image::Reference;

use super::names::Platform;
use super::{Name, Named, names};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::{Engine, Shared, streams};

pub(super) async fn several(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
) -> Reply {
    let asked: Vec<String> = query.all("names").map(str::to_owned).collect();
    if asked.is_empty() {
        return Err(Failure::bad("no image names given"));
    }
    save(&engine, &caller, &asked, &query).await
}

pub(super) async fn one(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(Name(name)): Named,
    query: Query,
) -> Reply {
    save(&engine, &caller, &[name], &query).await
}

async fn save(engine: &Engine, caller: &Caller, asked: &[String], query: &Query) -> Reply {
    let platform = Platform::read(query.text("platform"))?;
    let mut wanted = Vec::new();
    for name in asked {
        for name in expand(engine, caller, name).await? {
            if let Some(platform) = &platform {
                platform.check(&name, &engine.image(caller, &name).await?)?;
            }
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    let archive = engine.control.images().save(caller, "", wanted).await?;
    let body = Body::from_stream(streams::io_errors(archive));
    Ok(([(CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// A repository without a tag means all of its tags here.
async fn expand(engine: &Engine, caller: &Caller, name: &str) -> Reply<Vec<String>> {
    names::parse_any(name)?;
    if let Ok(reference) = names::parse(name)
        && names::is_bare(name)
    {
        let tags = tags(engine, caller, &reference).await?;
        if !tags.is_empty() {
            return Ok(tags);
        }
    }
    engine.image(caller, name).await.map_err(|mut failure| {
        if failure.status == StatusCode::NOT_FOUND {
            // As it was asked for, without the tag that nobody spoke of.
            failure.message = format!("No such image: {name}");
        }
        failure
    })?;
    Ok(vec![name.to_owned()])
}

/// The names that images here have in a repository.
pub(super) async fn tags(
    engine: &Engine,
    caller: &Caller,
    repository: &Reference,
) -> Reply<Vec<String>> {
    let images = engine.control.images().list(caller, "").await?;
    let own = |name: &&String| {
        Reference::parse(name).is_ok_and(|reference| reference.name() == repository.name())
    };
    let mut tags: Vec<String> =
        images.iter().flat_map(|image| &image.names).filter(own).cloned().collect();
    tags.sort();
    Ok(tags)
}
