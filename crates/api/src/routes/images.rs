//! Images. Their names have slashes, so they stand in queries and bodies, never in paths.

mod build;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use client::wire::{
    BYTES, ExportQuery, ImageQuery, ImportQuery, LogoutRequest, NodeQuery, PruneImagesQuery,
    PruneRequest, PushRequest, RemoveImageQuery, SaveQuery, TAR, TagQuery, TagRequest,
};
use control::{Caller, Verb, authorise};
use http::{HeaderMap, Method, StatusCode};
use link::ResultStream;
use link::image::{self, DiskImport, ImportRequest, Login, Progress, PullRequest, Removed};
use model::image::Image;
use model::{Error, Kind, Result};

use super::objects::{json_value, mode};
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::{Api, download, lease, operation, upload};

const PATH: &str = "/v1/images";

fn describe(id: &'static str, summary: &str) -> Description {
    Description::new("images", id, summary)
}

fn path(verb: &str) -> String {
    format!("{PATH}/{verb}")
}

pub(super) fn routes(routes: Routes) -> Routes {
    build::routes(long_work(archives(records(routes))))
}

fn records(routes: Routes) -> Routes {
    let listing = describe("listImages", "Lists images; with `name` shows one.")
        .query::<ImageQuery>()
        .answers(
            200,
            "All of them; with `name` one object.",
            Named::of::<Image>().array().or(Named::of::<Image>()),
        );
    let removing = describe("deleteImage", "Takes a name away, and the image with its last name.")
        .query::<RemoveImageQuery>()
        .answers(200, "What is gone.", Named::of::<Removed>());
    let tagging = describe("tagImage", "Gives an image a further name.")
        .query::<TagQuery>()
        .body::<TagRequest>()
        .answers_nothing(204, "Done.");
    let pruning = describe("pruneImages", "Removes images that are of no use.")
        .query::<PruneImagesQuery>()
        .body::<PruneRequest>()
        .answers(200, "What is gone.", Named::of::<Removed>());
    let logging_in = describe("loginRegistry", "Checks a login with its registry and keeps it.")
        .query::<NodeQuery>()
        .body::<Login>()
        .answers_nothing(204, "Done.");
    let logging_out = describe("logoutRegistry", "Forgets a login.")
        .query::<NodeQuery>()
        .body::<LogoutRequest>()
        .answers_nothing(204, "Done.");
    routes
        .add(Pace::Prompt, Method::GET, PATH, list, listing)
        .add(Pace::Lasting, Method::DELETE, PATH, remove, removing)
        .add(Pace::Prompt, Method::POST, &path("tag"), tag, tagging)
        .add(Pace::Lasting, Method::POST, &path("prune"), prune, pruning)
        .add(Pace::Prompt, Method::POST, &path("login"), login, logging_in)
        .add(Pace::Prompt, Method::POST, &path("logout"), logout, logging_out)
}

fn archives(routes: Routes) -> Routes {
    let saving = describe("saveImages", "Writes images into one archive.")
        .query::<SaveQuery>()
        .answers_bytes("An OCI layout that `docker load` reads too.", TAR);
    let importing = describe("importImages", "Reads images from an archive.")
        .query::<ImportQuery>()
        .bytes(TAR)
        .answers_lines("How far it is.", Named::of::<Progress>());
    let exporting = describe("exportImage", "Writes the disk of a machine's image.")
        .query::<ExportQuery>()
        .answers_bytes("The disk.", BYTES);
    routes
        .add(Pace::Lasting, Method::GET, &path("save"), save, saving)
        .add(Pace::Lasting, Method::GET, &path("export"), export, exporting)
        .add(Pace::Lasting, Method::POST, &path("import"), import, importing)
}

fn long_work(routes: Routes) -> Routes {
    let pulling = describe("pullImage", "Fetches an image from its registry.")
        .query::<NodeQuery>()
        .body::<PullRequest>()
        .answers_lines("How far it is.", Named::of::<Progress>());
    let pushing = describe("pushImage", "Sends an image to its registry.")
        .query::<NodeQuery>()
        .body::<PushRequest>()
        .answers_lines("How far it is.", Named::of::<Progress>());
    routes.add(Pace::Lasting, Method::POST, &path("pull"), pull, pulling).add(
        Pace::Lasting,
        Method::POST,
        &path("push"),
        push,
        pushing,
    )
}

async fn list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(ImageQuery { name, node }): Params<ImageQuery>,
) -> Reply<Response> {
    let images = api.control.images();
    match name.as_str() {
        "" => json_value(&images.list(&caller, &node).await?),
        name => json_value(&images.get(&caller, &node, name).await?),
    }
}

async fn remove(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(RemoveImageQuery { name, force, plan, node }): Params<RemoveImageQuery>,
) -> Reply<Response> {
    json_value(&api.control.images().remove(&caller, &node, &name, force, mode(plan)).await?)
}

async fn tag(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(TagQuery { plan, node }): Params<TagQuery>,
    Json(TagRequest { name, new }): Json<TagRequest>,
) -> Reply<StatusCode> {
    api.control.images().tag(&caller, &node, &name, &new, mode(plan)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(PruneImagesQuery { plan, node }): Params<PruneImagesQuery>,
    Json(PruneRequest { all }): Json<PruneRequest>,
) -> Reply<Response> {
    let request = image::PruneRequest { all, plan, ..image::PruneRequest::default() };
    json_value(&api.control.images().prune(&caller, &node, request).await?)
}

async fn login(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(NodeQuery { node }): Params<NodeQuery>,
    Json(login): Json<Login>,
) -> Reply<StatusCode> {
    api.control.images().login(&caller, &node, login).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(NodeQuery { node }): Params<NodeQuery>,
    Json(LogoutRequest { registry }): Json<LogoutRequest>,
) -> Reply<StatusCode> {
    api.control.images().logout(&caller, &node, &registry).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn save(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(SaveQuery { names, node }): Params<SaveQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let words = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = words.map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Error::invalid("no image is named").at("names").into());
    }
    let archive = api.control.images().save(&caller, &node, names).await?;
    Ok(download::bytes(&api, &headers, TAR, archive))
}

async fn export(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(ExportQuery { name, format, node }): Params<ExportQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let disk = api.control.images().export(&caller, &node, name, format).await?;
    Ok(download::bytes(&api, &headers, BYTES, disk))
}

async fn import(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(query): Params<ImportQuery>,
    body: Body,
) -> Reply<Response> {
    let ImportQuery { name, changes, machine, firmware, format, node } = query;
    let lines = changes.lines().filter(|line| !line.trim().is_empty());
    let changes = lines.map(str::to_owned).collect();
    let disk = machine.then_some(DiskImport { firmware, format });
    let request = ImportRequest { name, changes, disk, ..ImportRequest::default() };
    let title = match request.name.as_str() {
        "" => "import images".to_owned(),
        name => format!("import {name}"),
    };
    let archive = upload::bytes(body);
    let images = api.control.images();
    let work = images.import(&caller, &node, request, archive);
    streamed(&api, &caller, &title, work).await
}

async fn pull(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(NodeQuery { node }): Params<NodeQuery>,
    Json(request): Json<PullRequest>,
) -> Reply<Response> {
    let title = format!("pull {}", request.name);
    let images = api.control.images();
    streamed(&api, &caller, &title, images.pull(&caller, &node, request)).await
}

async fn push(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(NodeQuery { node }): Params<NodeQuery>,
    Json(PushRequest { name, login }): Json<PushRequest>,
) -> Reply<Response> {
    let title = format!("push {name}");
    let images = api.control.images();
    streamed(&api, &caller, &title, images.push(&caller, &node, &name, login)).await
}

/// Begins an operation, then the work, and answers with the progress of both.
async fn streamed(
    api: &Arc<Api>,
    caller: &Caller,
    title: &str,
    work: impl Future<Output = Result<ResultStream<Progress>>>,
) -> Reply<Response> {
    // Who may add no image at all leaves no trace of trying.
    authorise(caller, Verb::Create, Kind::Image, "")?;
    let ongoing = api.control.operations().begin(caller, title).await?;
    let name = ongoing.operation().meta.name.clone();
    match lease::current().during(work).await {
        Ok(progress) => {
            let answer = download::lines(api, operation::tracked(ongoing, progress));
            Ok(operation::name_in(answer, &name))
        }
        Err(error) => {
            operation::finish(ongoing, Err(&error)).await;
            Err(error.into())
        }
    }
}
