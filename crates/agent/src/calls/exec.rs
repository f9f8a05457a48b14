//! Further processes in a running container.

use std::sync::Arc;

use containers::{
    ContainerId, Engine, ExecConfig, ExecId, ExecStreams, Signal, WindowSize, Writer,
};
use link::instance::{ExecRequest, Target};
use link::{Input, Output, Session};
use model::error::Code;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::sessions::{Ends, open, pump};
use super::{Calls, Found, guest};

/// Exit codes of a shell (POSIX.1-2024, shell command language, 2.8.2) for a program that is not
/// there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

struct Process {
    engine: Arc<dyn Engine>,
    container: ContainerId,
    exec: ExecId,
    tty: bool,
}

/// Runs a further process.
pub async fn exec(calls: &Calls, target: &Target, request: ExecRequest) -> Result<Session> {
    if request.command.is_empty() {
        return Err(Error::invalid("no program is named").at("command"));
    }
    if let Some(agent) = guest::of(calls, target)? {
        return guest::exec(&calls.find(target)?, &agent, request).await;
    }
    let found = calls.find_live(target, false)?;
    let process = Process {
        engine: calls.context.engine.clone(),
        container: found.id.clone(),
        exec: ExecId::parse(&format!("exec-{:016x}", rand::random::<u64>()))?,
        tty: request.tty,
    };
    let (ends, session) = open();
    match process.engine.exec(&found.id, &config(&process.exec, &request)).await {
        Ok(streams) if request.detach => {
            tell_start(&found, &request);
            let nobody = mpsc::channel(1).0;
            let _ = ends.output.send(Ok(Output::Started(streams.pid))).await;
            tokio::spawn(process.finish(streams, nobody, ends.output, None));
        }
        Ok(streams) => {
            tell_start(&found, &request);
            tokio::spawn(process.converse(streams, ends));
        }
        Err(error) if is_the_programs(&error) => {
            tokio::spawn(not_begun(ends, error));
        }
        Err(error) => return Err(error),
    }
    Ok(session)
}

fn tell_start(found: &Found, request: &ExecRequest) {
    tracing::debug!(instance = %found.instance.meta.name, command = ?request.command, "exec");
}

fn config(id: &ExecId, request: &ExecRequest) -> ExecConfig {
    ExecConfig {
        id: id.clone(),
        command: request.command.clone(),
        env: request.env.clone(),
        user: request.user.clone(),
        workdir: request.workdir.clone(),
        tty: request.tty,
        stdin: request.stdin && !request.detach,
        privileged: request.privileged,
        size: request.size.map(|(width, height)| WindowSize { width, height }),
    }
}

/// Whether it is the program that cannot be run: a shell would say so and end with a code.
fn is_the_programs(error: &Error) -> bool {
    let user = matches!(error.code(), Some(Code::UserMissing | Code::GroupMissing));
    error.kind() == ErrorKind::Invalid && !user
}

/// Tells the user why the program did not begin, as a shell would.
async fn not_begun(ends: Ends, error: Error) {
    let text = error.message();
    let missing = error.code() == Some(Code::ProgramMissing);
    let code = if missing { NOT_FOUND } else { NOT_EXECUTABLE };
    let told = Output::Unable { code: error.code(), why: text.to_owned() };
    let _ = ends.output.send(Ok(told)).await;
    let _ = ends.output.send(Ok(Output::Exit(code))).await;
}

impl Process {
    async fn converse(self, mut streams: ExecStreams, ends: Ends) {
        let stdin = streams.stdin.take();
        if ends.output.send(Ok(Output::Started(streams.pid))).await.is_err() {
            self.hang_up().await;
        }
        let output = ends.output.clone();
        let feeding = Feed {
            engine: self.engine.clone(),
            container: self.container.clone(),
            exec: self.exec.clone(),
            tty: self.tty,
            user: ends.output,
        };
        let feeder = tokio::spawn(feeding.feed(ends.input, stdin));
        self.finish(streams, output.clone(), output, Some(feeder)).await;
    }

    /// Copies the output to its end, then tells how the process ended.
    async fn finish(
        self,
        streams: ExecStreams,
        output: mpsc::Sender<Result<Output>>,
        told: mpsc::Sender<Result<Output>>,
        feeder: Option<tokio::task::JoinHandle<()>>,
    ) {
        let stdout = pump(streams.stdout, output.clone(), Output::Stdout);
        let stderr = async {
            if let Some(stderr) = streams.stderr {
                pump(stderr, output.clone(), Output::Stderr).await;
            }
        };
        let (exit, (), ()) =
            tokio::join!(self.engine.exec_wait(&self.container, &self.exec), stdout, stderr);
        if let Some(feeder) = feeder {
            feeder.abort();
        }
        let _ = told.send(exit.map(|exit| Output::Exit(exit.code))).await;
    }

    async fn hang_up(&self) {
        if self.tty {
            hang_up(self.engine.as_ref(), &self.container, &self.exec).await;
        }
    }
}

/// What the user sends, to the process.
struct Feed {
    engine: Arc<dyn Engine>,
    container: ContainerId,
    exec: ExecId,
    tty: bool,
    user: mpsc::Sender<Result<Output>>,
}

impl Feed {
    async fn feed(self, mut input: mpsc::Receiver<Input>, mut stdin: Option<Writer>) {
        while let Some(input) = input.recv().await {
            match input {
                Input::Stdin(bytes) => {
                    if let Some(writer) = stdin.as_mut()
                        && writer.write_all(&bytes).await.is_err()
                    {
                        // The process closed its input; what more comes is dropped.
                        stdin = None;
                    }
                }
                Input::StdinEnd => stdin = None,
                Input::Resize { width, height } => {
                    let size = WindowSize { width, height };
                    let _ = self.engine.exec_resize(&self.container, &self.exec, size).await;
                }
                Input::Signal(name) => {
                    if let Ok(signal) = name.parse() {
                        let _ = self.engine.exec_kill(&self.container, &self.exec, signal).await;
                    }
                }
            }
        }
        drop(stdin);
        // A terminal whose user is gone hangs up, as a line would; one that only sends no more stays.
        self.user.closed().await;
        if self.tty {
            hang_up(self.engine.as_ref(), &self.container, &self.exec).await;
        }
    }
}

async fn hang_up(engine: &dyn Engine, container: &ContainerId, exec: &ExecId) {
    if let Ok(signal) = "HUP".parse::<Signal>() {
        let _ = engine.exec_kill(container, exec, signal).await;
    }
}
