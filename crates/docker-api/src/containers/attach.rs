//! Attaching to a container's main process.

use axum::Extension;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::Caller;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use link::instance::{AttachRequest, LogsRequest};
use link::{Input, Output, Session};
use model::instance::{Instance, Phase};

use super::{find, id_of};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::streams::{self, Wanted};
use crate::version::ApiVersion;
use crate::{Engine, Shared};

pub(super) async fn attach(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Reply {
    let detach = streams::detach_keys(query.text("detachKeys"))?;
    let (instance, session) = begin(&engine, &caller, &name, &query).await?;
    engine.tell(&caller, &instance, "attach", &[]);
    let wanted = Wanted {
        tty: super::has_terminal(&instance),
        stdin: query.flag("stdin") && takes_input(&instance),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        detach,
        ended: None,
    };
    Ok(streams::hijack(request, version, session, wanted, engine.stop.clone()))
}

/// A machine's console takes what is typed.
fn takes_input(instance: &Instance) -> bool {
    instance.spec.main().is_some_and(|main| main.stdin) || instance.status.machine.is_some()
}

/// The session a client attaches to: what runs now, or the run that begins next.
async fn begin(
    engine: &Engine,
    caller: &Caller,
    name: &str,
    query: &Query,
) -> Reply<(std::sync::Arc<Instance>, Session)> {
    let instance = find(engine, caller, name)?;
    if instance.status.phase == Phase::Paused {
        return Err(Failure::conflict(format!(
            "container {name} is paused, unpause the container before attach"
        )));
    }
    if instance.status.phase == Phase::Restarting {
        return Err(Failure::conflict(format!(
            "container {name} is restarting, wait until the container is running"
        )));
    }
    let live = instance.status.phase.is_live();
    let request = AttachRequest {
        stdin: query.flag("stdin") && takes_input(&instance),
        replay: query.flag("logs"),
        tail: None,
        run: if live { 0 } else { instance.spec.runs + 1 },
    };
    let session = match query.flag("stream") {
        true => next_session(engine, caller, &instance, request).await?,
        false => log_so_far(engine, caller, &instance, query).await?,
    };
    Ok((instance, session))
}

/// The log so far, and no stream after it.
async fn log_so_far(
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    query: &Query,
) -> Reply<Session> {
    let input = tokio::sync::mpsc::channel(1).0;
    if !query.flag("logs") || instance.spec.placement.is_none() {
        return Ok(Session { input, output: futures::stream::empty().boxed() });
    }
    let request = LogsRequest {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        ..LogsRequest::default()
    };
    let instances = engine.control.instances();
    let records = instances.logs(caller, &engine.project, id_of(instance), "", request).await?;
    let output = records.map(|record| {
        record.map(|record| match record.stderr {
            true => Output::Stderr(record.bytes),
            false => Output::Stdout(record.bytes),
        })
    });
    Ok(Session { input, output: output.boxed() })
}

/// Attaches now, or, as a run that is to begin has no node yet, answers at once and attaches when it
/// has.
async fn next_session(
    engine: &Engine,
    caller: &Caller,
    instance: &Instance,
    request: AttachRequest,
) -> Reply<Session> {
    let (instances, id) = (engine.control.instances(), id_of(instance));
    if request.run == 0 {
        return Ok(instances.attach(caller, &engine.project, id, "", request).await?);
    }
    let (input, mut inputs) = tokio::sync::mpsc::channel(8);
    let (caller, project, id) = (caller.clone(), engine.project.clone(), id.to_owned());
    let output = async_stream::stream! {
        let session = match instances.attach(&caller, &project, &id, "", request).await {
            Ok(session) => session,
            // One that was removed before it ran has nothing to show.
            Err(_) => return,
        };
        let Session { input, mut output } = session;
        let forward = tokio::spawn(async move {
            while let Some(item) = inputs.recv().await {
                if input.send(item).await.is_err() {
                    break;
                }
            }
        });
        let _forward = tokio_util::task::AbortOnDropHandle::new(forward);
        while let Some(item) = output.next().await {
            // Why a run could not begin is told by whoever began it.
            if item.is_err() {
                return;
            }
            yield item;
        }
    };
    Ok(Session { input, output: output.boxed() })
}

/// The same over a WebSocket, whose messages are raw bytes.
pub(super) async fn attach_ws(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Reply {
    let upgrade = upgrade.map_err(|error| Failure::bad(error.to_string()))?;
    let keys = streams::detach_keys(query.text("detachKeys"))?;
    drop(keys);
    let (_, session) = begin(&engine, &caller, &name, &query).await?;
    let stop = engine.stop.clone();
    Ok(upgrade.on_upgrade(move |socket| async move {
        tokio::select! {
            () = converse(socket, session) => {}
            () = stop.cancelled() => {}
        }
    }))
}

async fn converse(socket: WebSocket, session: Session) {
    let (mut sink, mut source) = socket.split();
    let Session { input, mut output } = session;
    let reading = async {
        while let Some(Ok(message)) = source.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => Bytes::from(text),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => break,
            };
            if input.send(Input::Stdin(bytes)).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let writing = async {
        while let Some(Ok(item)) = output.next().await {
            let bytes = match item {
                Output::Stdout(bytes) | Output::Stderr(bytes) => bytes,
                Output::Started(_) | Output::Unable { .. } => continue,
                Output::Exit(_) => break,
            };
            if sink.send(Message::Binary(bytes)).await.is_err() {
                break;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// `h` and `w`: lines, and characters in each.
pub(crate) fn size(query: &Query) -> Reply<(u16, u16)> {
    let number = |name: &str| -> Reply<u16> {
        let text = query.text(name);
        text.parse::<u32>().map(|number| u16::try_from(number).unwrap_or(u16::MAX)).map_err(|_| {
            Failure::bad(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
        })
    };
    Ok((number("w")?, number("h")?))
}

pub(super) async fn resize(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply<Response> {
    let size = size(&query)?;
    let instance = find(&engine, &caller, &name)?;
    super::check_running(&instance)?;
    let instances = engine.control.instances();
    instances.resize(&caller, &engine.project, id_of(&instance), "", size).await?;
    Ok(StatusCode::OK.into_response())
}
