//! Processes inside running containers: asked for, then started, then looked at.
//!
//! They are kept in memory, as an engine keeps them: what was asked for and not started is forgotten
//! when the engine ends, or after an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, Path, Request, State};
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
use model::error::Code;
use model::instance::Instance;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::body::{Json, MaybeJson};
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
    /// The running process; 0 when that is not known.
    pid: u32,
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
        let exec = Exec {
            container,
            asked,
            since: Instant::now(),
            state: Progress::Asked,
            input: None,
            pid: 0,
        };
        all.insert(id.clone(), exec);
        id
    }

    /// In which container it is to run.
    fn container(&self, id: &str) -> Reply<String> {
        self.lock().get(id).map(|exec| exec.container.clone()).ok_or_else(|| no_such(id))
    }

    /// What was asked for, which is running from now on.
    fn begin(&self, id: &str) -> Reply<ExecConfig> {
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
        Ok(exec.asked.clone())
    }

    fn set_input(&self, id: &str, input: mpsc::Sender<Input>) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.input = Some(input);
        }
    }

    fn set_pid(&self, id: &str, pid: u32) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.pid = pid;
        }
    }

    fn end(&self, id: &str, code: i32) {
        if let Some(exec) = self.lock().get_mut(id) {
            exec.state = Progress::Ended(code);
            exec.input = None;
            exec.pid = 0;
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
    let action = format!("exec_create: {} ", told_words(&asked));
    let id = engine.execs.add(containers::id_of(&instance), asked);
    engine.tell(&caller, &instance, &action, &[("execID", &id)]);
    Ok((StatusCode::CREATED, axum::Json(json!({ "Id": id }))).into_response())
}

async fn start(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    mut request: Request,
) -> Reply {
    let config = start_config(&mut request).await?;
    let instance = containers::find(&engine, &caller, &engine.execs.container(&id)?)?;
    containers::check_running(&instance)?;
    let asked = engine.execs.begin(&id)?;
    let ended = watched(&engine, &caller, &instance, &id);
    let stop = engine.stop.clone();
    let detach = config.detach.unwrap_or_default();
    let flag = |flag: Option<bool>| flag.unwrap_or_default();
    let mut wanted = Wanted {
        tty: flag(asked.tty),
        stdin: flag(asked.attach_stdin),
        stdout: flag(asked.attach_stdout),
        stderr: flag(asked.attach_stderr),
        detach: streams::detach_keys(asked.detach_keys.as_deref().unwrap_or_default())?,
        ended: None,
    };
    let process =
        Process { engine: engine.clone(), caller, instance, id: id.clone(), asked, config };
    if detach {
        return match process.begin().await {
            Ok(Session { input, output }) => {
                drop(input);
                tokio::spawn(streams::drain(output, Some(ended)));
                Ok(StatusCode::OK.into_response())
            }
            Err((failure, code)) => {
                ended.tell(code);
                Err(failure)
            }
        };
    }
    // Begun when the connection was taken over: who reads ahead of the answer's head has lost what
    // came with it, as docker-py has.
    let session = streams::later(async move {
        process.begin().await.unwrap_or_else(|(failure, code)| not_begun(&failure.message, code))
    });
    engine.execs.set_input(&id, session.input.clone());
    wanted.ended = Some(ended);
    Ok(streams::hijack(request, version, session, wanted, stop))
}

/// A process that is to begin.
struct Process {
    engine: Arc<Engine>,
    caller: Caller,
    instance: Arc<Instance>,
    id: String,
    asked: ExecConfig,
    config: ExecStartConfig,
}

impl Process {
    /// Its session once it runs; else why it does not, in Engine's words, with an exit code.
    async fn begin(&self) -> Result<Session, (Failure, i32)> {
        let mut session = match self.run().await {
            Ok(session) => session,
            Err(mut failure) => {
                failure.message = words::of_exec(failure.code, &failure.message);
                let missing = failure.code == Some(Code::WorkdirMissing);
                return Err(match missing {
                    true => (Failure::bad(failure.message), NOT_FOUND),
                    false => (failure, NOT_EXECUTABLE),
                });
            }
        };
        match session.output.next().await {
            Some(Ok(Output::Started(pid))) => self.engine.execs.set_pid(&self.id, pid),
            None => {}
            Some(Ok(Output::Unable { code, why })) => {
                let why = words::of_exec(code, &why);
                let code = match session.output.next().await {
                    Some(Ok(Output::Exit(code))) => code,
                    _ => NOT_FOUND,
                };
                return Err((Failure::bad(why), code));
            }
            Some(other) => {
                session.output = futures::stream::iter([other]).chain(session.output).boxed();
            }
        }
        let action = format!("exec_start: {} ", told_words(&self.asked));
        self.engine.tell(&self.caller, &self.instance, &action, &[("execID", &self.id)]);
        Ok(session)
    }

    async fn run(&self) -> Reply<Session> {
        let Self { asked, config, .. } = self;
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
        let (instances, project) = (self.engine.control.instances(), &self.engine.project);
        let id = containers::id_of(&self.instance);
        Ok(instances.exec(&self.caller, project, id, "", request).await?)
    }
}

/// A program that is there and cannot be run, as a shell's exit code tells.
const NOT_EXECUTABLE: i32 = 126;
/// One that is not there.
const NOT_FOUND: i32 = 127;

/// The request's body. The connection stays with the request, to be taken over.
async fn start_config(request: &mut Request) -> Reply<ExecStartConfig> {
    let body = std::mem::replace(request.body_mut(), axum::body::Body::empty());
    let mut copy = Request::new(body);
    copy.headers_mut().clone_from(request.headers());
    let MaybeJson(config) = MaybeJson::from_request(copy, &()).await?;
    Ok(config.unwrap_or_default())
}

/// Writes down how the process ended, whoever listens, and tells of it.
fn watched(
    engine: &Arc<Engine>,
    caller: &Caller,
    instance: &Arc<Instance>,
    id: &str,
) -> streams::Ended {
    let (engine, caller) = (engine.clone(), caller.clone());
    let (instance, id) = (instance.clone(), id.to_owned());
    streams::Ended::new(move |code| {
        engine.execs.end(&id, code);
        let more = [("execID", id.as_str()), ("exitCode", &code.to_string())];
        engine.tell(&caller, &instance, "exec_die", &more);
    })
}

/// The command in one line, for events: a kilobyte of it at most.
fn told_words(asked: &ExecConfig) -> String {
    let words = asked.cmd.clone().unwrap_or_default().join(" ");
    words.chars().take(1024).collect()
}

/// The session of a process that was not begun: it tells why where its output would stand.
fn not_begun(why: &str, code: i32) -> Session {
    let told = [Ok(Output::Stdout(format!("{why}\r\n").into())), Ok(Output::Exit(code))];
    Session { input: mpsc::channel(1).0, output: futures::stream::iter(told).boxed() }
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
        "Pid": exec.pid,
    });
    Ok(axum::Json(answer).into_response())
}
