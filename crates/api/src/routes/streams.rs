//! What no record can say of an instance: logs, sessions, files, counters. Asked of its node, through
//! control.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::archive::{PATH_STAT, encode_stat};
use client::wire::{
    ArchiveQuery, ContainerQuery, LOG_FRAMES, LogsQuery, StatsQuery, TAR, TopQuery,
};
use control::{Verb, authorise};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use link::instance::{
    AttachRequest, Change, CommitRequest, ExecRequest, PathStat, ProcessTable, Stats,
};
use model::instance::{GuestFacts, InstanceNoun};
use model::{Error, Kind};

use super::instances::path;
use super::objects::{Place, describe, json_value};
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, Params, swallow};
use crate::document::{Description, Named};
use crate::refusal::{Refusal, Reply};
use crate::{Api, download, lease, operation, session, upload};

pub(super) fn routes(routes: Routes) -> Routes {
    images(files(sessions(counters(routes))))
}

fn about(verb: &str, summary: &str) -> Description {
    describe::<InstanceNoun>(verb, false, summary.into())
}

fn counters(routes: Routes) -> Routes {
    let logs = describe::<InstanceNoun>("logsOf", false, "Reads a container's log.".into())
        .query::<LogsQuery>()
        .answers_bytes("Frames; with `raw=true` bytes alone.", LOG_FRAMES);
    let stats = describe::<InstanceNoun>("statsOf", false, "Tells what a container uses.".into())
        .query::<StatsQuery>()
        .answers_lines("Once, or with `follow=true` once a second.", Named::of::<Stats>());
    let top = describe::<InstanceNoun>("topOf", false, "Shows a container's processes.".into())
        .query::<TopQuery>()
        .answers(200, "As ps(1) prints them.", Named::of::<ProcessTable>());
    let guest = about("guestOf", "Asks a running machine's guest of itself.").answers(
        200,
        "What it tells.",
        Named::of::<GuestFacts>(),
    );
    routes
        .add(Pace::Lasting, Method::GET, &path("logs"), self::logs, logs)
        .add(Pace::Lasting, Method::GET, &path("stats"), self::stats, stats)
        .add(Pace::Prompt, Method::GET, &path("top"), self::top, top)
        .add(Pace::Prompt, Method::GET, &path("guest"), self::guest, guest)
}

fn sessions(routes: Routes) -> Routes {
    let attach = about("attachTo", "Talks to a container's main process over a WebSocket.")
        .query::<ContainerQuery>()
        .reads::<AttachRequest>("The first message.")
        .answers_nothing(101, "The session begins.");
    let exec = about("execIn", "Runs a further process in a container, over a WebSocket.")
        .query::<ContainerQuery>()
        .reads::<ExecRequest>("The first message.")
        .answers_nothing(101, "The session begins.");
    routes.add(Pace::Lasting, Method::GET, &path("attach"), self::attach, attach).add(
        Pace::Lasting,
        Method::GET,
        &path("exec"),
        self::exec,
        exec,
    )
}

fn files(routes: Routes) -> Routes {
    let reading = about("readFilesOf", "Reads what is at a path inside.")
        .query::<ArchiveQuery>()
        .answers_bytes("A tar archive; what it is, in the header `Hull-Path-Stat`.", TAR);
    let looking = about("statFilesOf", "Tells what is at a path inside.")
        .query::<ArchiveQuery>()
        .answers_nothing(200, "What it is, in the header `Hull-Path-Stat`: JSON in base64.");
    let writing = about("writeFilesOf", "Unpacks an archive into a directory inside.")
        .query::<ArchiveQuery>()
        .bytes(TAR)
        .answers_nothing(204, "Done.");
    let differing = about("diff", "Tells what differs from the image.")
        .query::<ContainerQuery>()
        .answers(200, "What does.", Named::of::<Change>().array());
    let exporting = about("export", "Reads the whole file system.")
        .query::<ContainerQuery>()
        .answers_bytes("A tar archive.", TAR);
    routes
        .add(Pace::Lasting, Method::GET, &path("archive"), read_archive, reading)
        .add(Pace::Prompt, Method::HEAD, &path("archive"), stat_path, looking)
        .add(Pace::Lasting, Method::PUT, &path("archive"), write_archive, writing)
        .add(Pace::Lasting, Method::GET, &path("diff"), diff, differing)
        .add(Pace::Lasting, Method::GET, &path("export"), export, exporting)
}

fn images(routes: Routes) -> Routes {
    let description = about("commit", "Makes an image of a container.")
        .query::<ContainerQuery>()
        .body::<CommitRequest>()
        .answers(200, "The image's id.", Named::of::<String>());
    routes.add(Pace::Lasting, Method::POST, &path("commit"), commit, description)
}

async fn logs(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(query): Params<LogsQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let request = query.request()?;
    let instances = api.control.instances();
    let records = instances.logs(&caller, &project, &name, &query.container, request).await?;
    Ok(match query.raw {
        true => download::raw_records(&api, &headers, records),
        false => download::records(&api, records),
    })
}

async fn stats(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(StatsQuery { container, follow }): Params<StatsQuery>,
) -> Reply<Response> {
    let instances = api.control.instances();
    let stats = instances.stats(&caller, &project, &name, &container, follow).await?;
    Ok(download::lines(&api, stats))
}

async fn top(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(TopQuery { container, options }): Params<TopQuery>,
) -> Reply<Response> {
    let instances = api.control.instances();
    json_value(&instances.top(&caller, &project, &name, &container, &options).await?)
}

async fn guest(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
) -> Reply<Response> {
    json_value(&api.control.instances().guest(&caller, &project, &name).await?)
}

async fn attach(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ContainerQuery { container }): Params<ContainerQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Reply<Response> {
    authorise(&caller, Verb::Enter, Kind::Instance, &project)?;
    let instances = api.control.instances();
    let begin = move |request: AttachRequest| async move {
        instances.attach(&caller, &project, &name, &container, request).await
    };
    Ok(session::upgrade(&api, websocket(upgrade)?, begin))
}

async fn exec(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ContainerQuery { container }): Params<ContainerQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Reply<Response> {
    authorise(&caller, Verb::Enter, Kind::Instance, &project)?;
    let instances = api.control.instances();
    let begin = move |request: ExecRequest| async move {
        instances.exec(&caller, &project, &name, &container, request).await
    };
    Ok(session::upgrade(&api, websocket(upgrade)?, begin))
}

fn websocket<E: std::fmt::Display>(
    upgrade: Result<WebSocketUpgrade, E>,
) -> Reply<WebSocketUpgrade> {
    let next = "connect by WebSocket (RFC 6455) with the sub-protocol v1.channel.hull";
    websocket_or(upgrade, next)
}

/// The upgrade, or what to do to get one.
pub(super) fn websocket_or<E: std::fmt::Display>(
    upgrade: Result<WebSocketUpgrade, E>,
    next: &str,
) -> Reply<WebSocketUpgrade> {
    upgrade.map_err(|error| {
        let error =
            Error::invalid(format!("this is for WebSockets: {error}")).at("Upgrade").next(next);
        Refusal::with_status(error, StatusCode::UPGRADE_REQUIRED)
    })
}

async fn read_archive(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ArchiveQuery { container, path, keep_type: _ }): Params<ArchiveQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let instances = api.control.instances();
    let (stat, archive) =
        instances.read_archive(&caller, &project, &name, &container, &path).await?;
    let mut response = download::bytes(&api, &headers, TAR, archive);
    response.headers_mut().insert(PATH_STAT, stat_header(&stat));
    Ok(response)
}

async fn stat_path(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ArchiveQuery { container, path, keep_type: _ }): Params<ArchiveQuery>,
) -> Reply<Response> {
    let instances = api.control.instances();
    let stat = instances.stat_path(&caller, &project, &name, &container, &path).await?;
    Ok([(PATH_STAT, stat_header(&stat))].into_response())
}

fn stat_header(stat: &PathStat) -> HeaderValue {
    HeaderValue::try_from(encode_stat(stat)).expect("base64 has only characters headers take")
}

async fn write_archive(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ArchiveQuery { container, path, keep_type }): Params<ArchiveQuery>,
    body: Body,
) -> Reply<StatusCode> {
    let instances = api.control.instances();
    let archive = match lease::current().may_end() {
        true => {
            // Who may not, or names no place, is told so before all of it has come.
            let place = instances.stat_path(&caller, &project, &name, &container, &path).await;
            if let Err(error) = place {
                swallow(body).await;
                return Err(error.into());
            }
            upload::whole(&api, body).await?
        }
        false => upload::bytes(body),
    };
    instances
        .write_archive(&caller, &project, &name, &container, &path, keep_type, archive)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn diff(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ContainerQuery { container }): Params<ContainerQuery>,
) -> Reply<Response> {
    json_value(&api.control.instances().diff(&caller, &project, &name, &container).await?)
}

async fn export(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ContainerQuery { container }): Params<ContainerQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let archive = api.control.instances().export(&caller, &project, &name, &container).await?;
    Ok(download::bytes(&api, &headers, TAR, archive))
}

async fn commit(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ContainerQuery { container }): Params<ContainerQuery>,
    Json(request): Json<CommitRequest>,
) -> Reply<Response> {
    authorise(&caller, Verb::Enter, Kind::Instance, &project)?;
    let ongoing = api.control.operations().begin(&caller, &format!("commit {name}")).await?;
    let operation_name = ongoing.operation().meta.name.clone();
    let instances = api.control.instances();
    let made = instances.commit(&caller, &project, &name, &container, request).await;
    operation::finish(ongoing, made.as_ref().map(drop)).await;
    Ok(operation::name_in(json_value(&made?)?, &operation_name))
}
