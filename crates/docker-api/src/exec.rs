//! Processes inside running containers: asked for, then started, then looked at.
//!
//! They are kept in memory, as an engine keeps them: what was asked for and not started is forgotten
//! when the engine ends, or after an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bollard_stubs::models::{ExecConfig, ExecStartConfig};
use control::Caller;
use futures::StreamExt;
use http::StatusCode;
use link::instance::ExecRequest;
use link::{Input, Output, Session};
use model::Uid;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::body::Json;
use crate::containers;
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::streams::{self, Wanted};
use crate::version::ApiVersion;
use crate::{Engine, Shared, words};

/// What has ended, or was never started, is kept so long.
const KEPT: Duration = Duration::from_secs(3600);
/// Most that are kept; the oldest that has ended goes first.
const MOST: usize = 10_000;

/// The processes that were asked for.
#[derive(Default)]
pub(crate) struct Execs(Mutex<BTreeMap<String, Exec>>);

/// One of them.
struct Exec {
    container: String,
    asked: ExecConfig,
    since: Instant,
    state: Progress,
    /// To the running process.
    input: Option<mpsc::Sender<Input>>,
}

/// Where it is in its life.
///
/// ```text
/// Asked ──start──> Running ──> Ended
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Asked,
    Running,
    Ended(i32),
}

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/{name}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

impl Execs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exec>> {
        // Each change is one step: a panic breaks nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of those of a container that have not ended.
    pub(crate) fn of_container(&self, id: &str) -> Vec<String> {
        let all = self.lock();
        let open = all
            .iter()
            .filter(|(_, exec)| exec.container == id && !matches!(exec.state, Progress::Ended(_)));
        open.map(|(id, _)| id.clone()).collect()
    }

    fn add(&self, container: &str, asked: ExecConfig) -> String {
        let id = Uid::random().to_string();
        let mut all = self.lock();
        all.retain(|_, exec| exec.state == Progress::Running || exec.since.elapsed() < KEPT);
        if all.len() >= MOST {
            let idle = all.iter().filter(|(_, exec)| exec.state != Progress::Running);
            let oldest = idle.min_by_key(|(_, exec)| exec.since).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                all.remove(&oldest);
            }
        }
        let container = container.to_owned();
        let exec =
            Exec { container, asked, since: Instant::now(), state: Progress::Asked, input: None };
        all.insert(id.clone(), exec);
        id
    }

    /// What was asked for, which is running from now on.
    fn begin(&self, id: &str) -> Reply<(String, ExecConfig)> {
        let mut all = self.lock();
        let exec = all.get_mut(id).ok_or_else(|| no_such(id))?;
        if exec.state != Progress::Asked {
            return Err(Failure::conflict(match exec.state {
                Progress::Ended(_) => format!("exec command {id} has already run"),
                Progress::Asked | Progress::Running => {
                    format!("exec command {id} is already running")
                }
            }));
        }
        exec.state = Progress::Running;
        Ok((exec.container.clone(), exec.asked.clone()))
    }

    fn set_input(&self, id: &str, input: mpsc::Sender<Input>) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.input = Some(input);
        }
    }

    fn end(&self, id: &str, code: i32) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.state = Progress::Ended(code);
            exec.input = None;
            exec.since = Instant::now();
        }
    }
}

fn no_such(id: &str) -> Failure {
    Failure::not_found(format!("No such exec instance: {id}"))
}

async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    Json(asked): Json<ExecConfig>,
) -> Reply {
    if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
        return Err(Failure::bad("No exec command specified"));
    }
    streams::detach_keys(asked.detach_keys.as_deref().unwrap_or_default())?;
    let instance = containers::find(&engine, &caller, &name)?;
    if instance.status.phase == model::instance::Phase::Paused {
        return Err(Failure::conflict(format!(
            "Container {name} is paused, unpause the container before exec"
        )));
    }
    containers::check_running(&instance)?;
    let words = asked.cmd.clone().unwrap_or_default().join(" ");
    let id = engine.execs.add(containers::id_of(&instance), asked);
    engine.tell(&caller, &instance, &format!("exec_create: {words} "), &[("execID", &id)]);
    Ok((StatusCode::CREATED, axum::Json(json!({ "Id": id }))).into_response())
}

async fn start(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts.clone(), body);
    // The body is read from a copy of the head: the connection stays with the request.
    let taken = std::mem::replace(request.body_mut(), axum::body::Body::empty());
    let config: ExecStartConfig = match <crate::body::MaybeJson<ExecStartConfig> as axum::extract::FromRequest<()>>::from_request(
        with_body(&parts, taken),
        &(),
    )
    .await?
    {
        crate::body::MaybeJson(config) => config.unwrap_or_default(),
    };
    let (container, asked) = engine.execs.begin(&id)?;
    let detach = config.detach.unwrap_or_default();
    let tty = asked.tty.unwrap_or_default();
    let session = run(&engine, &caller, &container, &asked, &config).await;
    let session = match session {
        Ok(session) => session,
        Err(failure) if words::no_directory(&failure.message) && !detach => {
            not_begun(&failure.message)
        }
        Err(mut failure) => {
            engine.execs.end(&id, 126);
            failure.message = words::of_exec(&failure.message);
            return Err(failure);
        }
    };
    let mut session = session;
    // What is not begun tells why, then its exit code.
    if let Some(first) = session.output.next().await {
        match first {
            Ok(Output::Started) => {}
            Ok(Output::Stderr(why)) if detach => {
                engine.execs.end(&id, 127);
                let why = String::from_utf8_lossy(&why);
                return Err(Failure::bad(words::of_exec(why.trim_end())));
            }
            Ok(Output::Stderr(why)) if words::user(&String::from_utf8_lossy(&why)).is_some() => {
                engine.execs.end(&id, 126);
                return Err(Failure::bad(words::of_exec(&String::from_utf8_lossy(&why))));
            }
            Ok(Output::Stderr(why)) => {
                let why = String::from_utf8_lossy(&why);
                let line = format!("{}\r\n", words::of_exec(why.trim_end()));
                let line = Ok(Output::Stdout(line.into()));
                session.output = futures::stream::iter([line]).chain(session.output).boxed();
            }
            other => session.output = futures::stream::iter([other]).chain(session.output).boxed(),
        }
    }
    engine.execs.set_input(&id, session.input.clone());
    let instance = containers::find(&engine, &caller, &container).ok();
    if let Some(instance) = &instance {
        let words = asked.cmd.clone().unwrap_or_default().join(" ");
        engine.tell(&caller, instance, &format!("exec_start: {words} "), &[("execID", &id)]);
    }
    let ended: streams::Ended = {
        let (engine, id, caller) = (engine.clone(), id.clone(), caller.clone());
        Box::new(move |code| {
            engine.execs.end(&id, code);
            if let Some(instance) = &instance {
                let more = [("execID", id.as_str()), ("exitCode", &code.to_string())];
                engine.tell(&caller, instance, "exec_die", &more);
            }
        })
    };
    if detach {
        let Session { input, output } = session;
        drop(input);
        tokio::spawn(streams::drain(output, Some(ended)));
        return Ok(StatusCode::OK.into_response());
    }
    let flag = |flag: Option<bool>| flag.unwrap_or_default();
    let wanted = Wanted {
        tty,
        stdin: flag(asked.attach_stdin),
        stdout: flag(asked.attach_stdout),
        stderr: flag(asked.attach_stderr),
        detach: streams::detach_keys(asked.detach_keys.as_deref().unwrap_or_default())?,
        ended: Some(ended),
    };
    Ok(streams::hijack(request, version, session, wanted, engine.stop.clone()))
}

/// The session of a process that was not begun: it tells why.
fn not_begun(why: &str) -> Session {
    let told = [Ok(Output::Stderr(why.to_owned().into())), Ok(Output::Exit(127))];
    Session { input: mpsc::channel(1).0, output: futures::stream::iter(told).boxed() }
}

fn with_body(parts: &http::request::Parts, body: axum::body::Body) -> Request {
    let mut request = Request::new(body);
    *request.headers_mut() = parts.headers.clone();
    request
}

async fn run(
    engine: &Engine,
    caller: &Caller,
    container: &str,
    asked: &ExecConfig,
    config: &ExecStartConfig,
) -> Reply<Session> {
    let size = config.console_size.as_ref().or(asked.console_size.as_ref());
    let side = |side: Option<&usize>| side.and_then(|side| u16::try_from(*side).ok());
    let request = ExecRequest {
        command: asked.cmd.clone().unwrap_or_default(),
        env: asked.env.clone().unwrap_or_default(),
        workdir: asked.working_dir.clone().unwrap_or_default(),
        user: asked.user.clone().unwrap_or_default(),
        tty: asked.tty.unwrap_or_default(),
        stdin: asked.attach_stdin.unwrap_or_default(),
        privileged: asked.privileged.unwrap_or_default(),
        detach: config.detach.unwrap_or_default(),
        // Docker says lines first.
        size: size.and_then(|size| Some((side(size.get(1))?, side(size.first())?))),
    };
    let instances = engine.control.instances();
    Ok(instances.exec(caller, &engine.project, container, "", request).await?)
}

async fn resize(State(engine): Shared, Path(id): Path<String>, query: Query) -> Reply {
    let (width, height) = containers::size(&query)?;
    let input = {
        let all = engine.execs.lock();
        let exec = all.get(&id).ok_or_else(|| no_such(&id))?;
        exec.input.clone()
    };
    let Some(input) = input else {
        return Err(Failure::bad(format!("exec {id} is not running")));
    };
    // One that ends meanwhile has no terminal to resize.
    let _ = input.send(Input::Resize { width, height }).await;
    Ok(StatusCode::OK.into_response())
}

async fn inspect(State(engine): Shared, Path(id): Path<String>) -> Reply {
    let all = engine.execs.lock();
    let exec = all.get(&id).ok_or_else(|| no_such(&id))?;
    let asked = &exec.asked;
    let flag = |flag: Option<bool>| flag.unwrap_or_default();
    let words = asked.cmd.clone().unwrap_or_default();
    let (entrypoint, arguments) = match words.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("", &[][..]),
    };
    let answer = json!({
        "ID": id,
        "Running": exec.state == Progress::Running,
        "ExitCode": match exec.state {
            Progress::Ended(code) => json!(code),
            Progress::Asked | Progress::Running => Value::Null,
        },
        "ProcessConfig": {
            "tty": flag(asked.tty),
            "entrypoint": entrypoint,
            "arguments": arguments,
            "privileged": flag(asked.privileged),
            "user": asked.user.clone().unwrap_or_default(),
        },
        "OpenStdin": flag(asked.attach_stdin),
        "OpenStderr": flag(asked.attach_stderr),
        "OpenStdout": flag(asked.attach_stdout),
        "CanRemove": false,
        "ContainerID": exec.container,
        "DetachKeys": asked.detach_keys.clone().unwrap_or_default(),
        "Pid": 0,
    });
    Ok(axum::Json(answer).into_response())
}
