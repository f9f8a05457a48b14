//! A container's files: archives of them, what changed, and images made of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard_stubs::models::ContainerConfig;
use control::{Caller, Goal};
use http::{HeaderValue, StatusCode};
use link::ByteStream;
use link::instance::{ChangeKind, CommitRequest, PathStat};
use model::error::Code;
use model::image::ImageConfig;
use model::instance::Instance;
use model::{Error, ErrorKind};
use serde_json::{Value, json};

use super::show::state::NEVER;
use super::{find, id_of};
use crate::body::{self, MaybeJson};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::streams;
use crate::{Engine, Shared};

/// Time for a node to hear of a container.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const TAR: &str = "application/x-tar";
const PATH_STAT: &str = "x-docker-container-path-stat";

fn path_of(query: &Query) -> Reply<&str> {
    match query.text("path") {
        "" => Err(Failure::bad("bad parameter: pathcannot be empty")),
        path => Ok(path),
    }
}

/// The container, once its node knows of it: files are asked for, and links made, right after it was made.
pub(super) async fn known(engine: &Engine, caller: &Caller, name: &str) -> Reply<Arc<Instance>> {
    let instance = find(engine, caller, name)?;
    if instance.status.observed_generation >= instance.meta.generation {
        return Ok(instance);
    }
    let instances = engine.control.instances();
    let settled = instances.settle(caller, &instance.meta.id, Goal::InForce, KNOWN_WITHIN).await;
    // What keeps it from its node is told by what is asked of it.
    Ok(settled.unwrap_or(instance))
}

fn no_such_file(name: &str, path: &str) -> impl FnOnce(Error) -> Failure {
    move |error| {
        Failure::reword(error, ErrorKind::NotFound, |_| {
            format!("Could not find the file {path} in container {name}")
        })
    }
}

pub(super) async fn read(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let path = path_of(&query)?;
    let instance = known(&engine, &caller, &name).await?;
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let read = instances.read_archive(&caller, &engine.project, id, "", path).await;
    let (stat, archive) = read.map_err(no_such_file(&name, path))?;
    let mut response = tar(archive).into_response();
    response.headers_mut().insert(PATH_STAT, header(&stat)?);
    Ok(response)
}

pub(super) async fn stat(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let path = path_of(&query)?;
    let instance = known(&engine, &caller, &name).await?;
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let stat = instances.stat_path(&caller, &engine.project, id, "", path).await;
    let stat = stat.map_err(no_such_file(&name, path))?;
    Ok([(PATH_STAT, header(&stat)?)].into_response())
}

fn tar(archive: ByteStream) -> impl IntoResponse {
    ([(http::header::CONTENT_TYPE, TAR)], Body::from_stream(streams::io_errors(archive)))
}

fn header(stat: &PathStat) -> Reply<HeaderValue> {
    let document = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": go_mode(stat.mode),
        "mtime": stat.modified.map_or_else(|| NEVER.to_owned(), |time| time.to_string()),
        "linkTarget": stat.link_target,
    });
    let text = BASE64_STANDARD.encode(document.to_string());
    HeaderValue::try_from(text)
        .map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the file's name is too long"))
}

/// A file's mode as Go has it (package io/fs): types are other bits than `st_mode`'s.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => (1 << 26) | (1 << 21),
        0o060_000 => 1 << 26,
        _ => 0,
    };
    let bit = |bit: u32, go: u32| if mode & bit == 0 { 0 } else { 1 << go };
    kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20) | (mode & 0o777)
}

pub(super) async fn write(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Reply {
    let path = path_of(&query)?;
    let instance = known(&engine, &caller, &name).await?;
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let user = instance.spec.main().map_or("", |main| main.user.as_str());
    if query.flag("copyUIDGID") && !user.is_empty() {
        return Err(Failure::unserved(format!(
            "copyUIDGID is not served by this engine for a container that runs as {user:?}"
        )));
    }
    let keep_type = query.flag("noOverwriteDirNonDir");
    let archive = body::stream(request.into_body());
    let written =
        instances.write_archive(&caller, &engine.project, id, "", path, keep_type, archive).await;
    written.map_err(|error| {
        let words = match error.code() {
            Some(Code::RootReadOnly) => Some("container rootfs is marked read-only"),
            Some(Code::VolumeReadOnly) => Some("mounted volume is marked read-only"),
            Some(_) | None => None,
        };
        if let Some(words) = words {
            return Failure::bad(words);
        }
        let mut failure = no_such_file(&name, path)(error);
        if failure.status == StatusCode::BAD_REQUEST
            && failure.message.ends_with("is not a directory")
        {
            failure.message = "extraction point is not a directory".into();
        }
        failure
    })?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn changes(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let instance = known(&engine, &caller, &name).await?;
    if instance.spec.placement.is_none() || instance.status.runs == 0 {
        return Ok(axum::Json(Value::Null).into_response());
    }
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let changes = instances.diff(&caller, &engine.project, id, "").await?;
    let kind = |kind| match kind {
        ChangeKind::Changed => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    let rows: Vec<_> =
        changes.iter().map(|it| json!({ "Path": it.path, "Kind": kind(it.kind) })).collect();
    let rows = if rows.is_empty() { Value::Null } else { json!(rows) };
    Ok(axum::Json(rows).into_response())
}

pub(super) async fn export(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let instance = known(&engine, &caller, &name).await?;
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let archive = instances.export(&caller, &engine.project, id, "").await?;
    Ok(tar(archive).into_response())
}

pub(super) async fn commit(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
    MaybeJson(body): MaybeJson<ContainerConfig>,
) -> Reply {
    let name = query.text("container");
    let instance = known(&engine, &caller, name).await?;
    let image = match (query.text("repo"), query.text("tag")) {
        ("", _) => String::new(),
        (repository, "") => repository.to_owned(),
        (repository, tag) => format!("{repository}:{tag}"),
    };
    let changes: Vec<&str> = query.all("changes").flat_map(str::lines).collect();
    let config = committed(&instance, body, &changes)?;
    let request = CommitRequest {
        name: image,
        author: query.text("author").to_owned(),
        message: query.text("comment").to_owned(),
        config: Some(config),
        // What Docker's words made has all of its image's configuration beside it.
        whole: super::origin::Origin::of(&instance).is_some(),
        pause: query.flag_or("pause", true),
    };
    let (instances, id) = (engine.control.instances(), id_of(&instance));
    let made = instances.commit(&caller, &engine.project, id, "", request).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "Id": made }))).into_response())
}

/// The configuration of a committed image: the container's, the request's over it, then its lines.
fn committed(
    instance: &model::instance::Instance,
    body: Option<ContainerConfig>,
    changes: &[&str],
) -> Reply<ImageConfig> {
    let origin = super::origin::Origin::of(instance).unwrap_or_default();
    let mut config = crate::images::config::from_docker(&origin.config)?;
    if let Some(main) = instance.spec.main() {
        config.env.clone_from(&main.env);
    }
    config.labels.clone_from(&instance.meta.labels);
    if let Some(body) = body {
        config = config.overlaid(crate::images::config::from_docker(&body)?);
    }
    let entrypoint = config.entrypoint.clone();
    for line in changes.iter().filter(|line| !line.trim().is_empty()) {
        crate::images::config::check_change(line)?;
        config.change(line)?;
    }
    if config.entrypoint.is_empty() {
        // One that is made empty is as if it were not spoken of.
        config.entrypoint = entrypoint;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_go_has_them() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), (1 << 31) | 0o755);
        assert_eq!(go_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
    }
}
