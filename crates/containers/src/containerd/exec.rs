//! Further processes in a running container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, KillRequest, ResizePtyRequest,
    StartRequest, WaitRequest,
};
use containerd_client::types::v1::Status as TaskStatus;
use model::{Error, Result, Time};
use tokio::sync::mpsc;
use tonic::Code;

use super::create::blocking;
use super::status::{self, Explain, gone};
use super::{Containerd, QUICK, SLOW, call, fifo, files, unbounded, wire};
use crate::engine::{ContainerId, ExecConfig, ExecId, ExecStreams, Exit, WindowSize, Writer};
use crate::rootfs::Rootfs;
use crate::spec::exec_process;
use model::Signal;

/// How long a shim may take to open the input of a container that it has started: it does that beside
/// everything else (OpenFifo of containerd's fifo).
const SHIM_OPENS: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The further processes begun by this daemon, until their container's run is cleared.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: Mutex<HashMap<ContainerId, HashMap<ExecId, Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Ends when all its output was read, or is no longer wanted.
    drained: Option<mpsc::Receiver<()>>,
    exit: Option<Exit>,
}

impl Table {
    fn with<T>(&self, id: &ContainerId, act: impl FnOnce(&mut HashMap<ExecId, Known>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        act(known.entry(id.clone()).or_default())
    }

    /// The run is cleared, and its further processes with it.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn add(&self, id: &ContainerId, exec: &ExecId, drained: mpsc::Receiver<()>) {
        let known = Known { drained: Some(drained), exit: None };
        self.with(id, |all| all.insert(exec.clone(), known));
    }

    fn exit(&self, id: &ContainerId, exec: &ExecId) -> Option<Exit> {
        self.with(id, |all| all.get(exec)?.exit)
    }

    /// Keeps how it ended, and hands over what tells when its output was read.
    fn ended(&self, id: &ContainerId, exec: &ExecId, exit: Exit) -> Option<mpsc::Receiver<()>> {
        self.with(id, |all| {
            let known = all.entry(exec.clone()).or_default();
            known.exit = Some(exit);
            known.drained.take()
        })
    }
}

/// The named pipes of one further process.
struct Pipes {
    directory: PathBuf,
}

impl Pipes {
    fn make(directory: PathBuf, exec: &ExecConfig) -> Result<Self> {
        files::make(&directory)?;
        let pipes = Self { directory };
        for name in ["stdout", "stderr", "stdin"] {
            if pipes.wanted(name, exec) {
                fifo::make(&pipes.path(name))?;
            }
        }
        Ok(pipes)
    }

    fn wanted(&self, name: &str, exec: &ExecConfig) -> bool {
        match name {
            "stdin" => exec.stdin,
            "stderr" => !exec.tty,
            _ => true,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// As containerd is told: empty for none.
    fn told(&self, name: &str, exec: &ExecConfig) -> String {
        match self.wanted(name, exec) {
            true => self.path(name).to_string_lossy().into_owned(),
            false => String::new(),
        }
    }
}

impl Containerd {
    pub(super) async fn start_exec(
        &self,
        id: &ContainerId,
        exec: &ExecConfig,
    ) -> Result<ExecStreams> {
        let _not_while_freezing = self.inner.gates.beginning(id).await;
        let (record, task) = tokio::join!(self.record(id), self.live_task(id));
        let (record, task) = (record?, task?);
        if task.status() != TaskStatus::Running {
            return Err(status::paused(id));
        }
        let own = record.spec.process.ok_or_else(|| {
            Error::internal(format!("the record of container {id} lacks its process"))
        })?;
        let (engine, wanted) = (self.clone(), exec.clone());
        let process = blocking(move || {
            let rootfs = Rootfs::at(Path::new(&format!("/proc/{}/root", task.pid)))?;
            exec_process(&own, &wanted, &rootfs, &engine.inner.host)
        })
        .await?;
        let pipes = Pipes::make(self.files(id).exec(&exec.id), exec)?;
        let stdout = fifo::reader(&pipes.path("stdout"))?;
        let stderr = match exec.tty {
            true => None,
            false => Some(fifo::reader(&pipes.path("stderr"))?),
        };
        let stdin = match exec.stdin {
            true => Some(fifo::early_writer(&pipes.path("stdin"))?),
            false => None,
        };
        let request = ExecProcessRequest {
            container_id: id.to_string(),
            stdin: pipes.told("stdin", exec),
            stdout: pipes.told("stdout", exec),
            stderr: pipes.told("stderr", exec),
            terminal: exec.tty,
            spec: Some(wire::json(wire::PROCESS, &process)?),
            exec_id: exec.id.to_string(),
        };
        let failed = || format!("a process cannot be added to container {id}");
        self.client().tasks().exec(call(request, SLOW)).await.explain(failed)?;
        let pid = self.begin_exec(id, exec).await?;
        let (open, drained) = mpsc::channel(1);
        self.inner.execs.add(id, &exec.id, drained);
        Ok(ExecStreams {
            pid,
            stdin: stdin.map(|stdin| self.input(id, &exec.id, stdin)),
            stdout: fifo::tracked(stdout, open.clone()),
            stderr: stderr.map(|stderr| fifo::tracked(stderr, open)),
        })
    }

    async fn begin_exec(&self, id: &ContainerId, exec: &ExecConfig) -> Result<u32> {
        let request = StartRequest { container_id: id.to_string(), exec_id: exec.id.to_string() };
        match self.client().tasks().start(call(request, SLOW)).await {
            Ok(answer) => {
                if let Some(size) = exec.size.filter(|_| exec.tty) {
                    // A terminal of the wrong size still works.
                    let _ = self.resize_process(id, Some(&exec.id), size).await;
                }
                Ok(answer.into_inner().pid)
            }
            Err(status) => {
                let program = exec.command.first().map_or("", String::as_str);
                let name = format!("a process in container {id}");
                let error = status::not_begun(status, &name, program);
                let _ = self.delete_exec(id, &exec.id).await;
                Err(error)
            }
        }
    }

    /// Ends the process's input when the writer is dropped: the shim holds it open besides.
    fn input(&self, id: &ContainerId, exec: &ExecId, pipe: fifo::Early) -> Writer {
        let (engine, id, exec) = (self.clone(), id.clone(), exec.clone());
        let close = move || {
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { engine.close_input(&id, Some(&exec)).await });
            }
        };
        Box::pin(fifo::Closing::new(pipe.settle(), close))
    }

    pub(super) async fn wait_exec(&self, id: &ContainerId, exec: &ExecId) -> Result<Exit> {
        if let Some(exit) = self.inner.execs.exit(id, exec) {
            return Ok(exit);
        }
        let request = WaitRequest { container_id: id.to_string(), exec_id: exec.to_string() };
        let answer = self.client().tasks().wait(unbounded(request)).await;
        let end = answer
            .explain(|| format!("process {exec} of container {id} cannot be waited for"))?
            .into_inner();
        let at = wire::time(end.exited_at).unwrap_or_else(Time::now);
        let exit = Exit { code: wire::code(end.exit_status), at };
        let drained = self.inner.execs.ended(id, exec, exit);
        self.delete_exec_when_read(id, exec, drained);
        Ok(exit)
    }

    /// Clearing it closes its pipes, so that waits until the output was read.
    fn delete_exec_when_read(
        &self,
        id: &ContainerId,
        exec: &ExecId,
        drained: Option<mpsc::Receiver<()>>,
    ) {
        let (engine, id, exec) = (self.clone(), id.clone(), exec.clone());
        tokio::spawn(async move {
            if let Some(mut drained) = drained {
                let _ = drained.recv().await;
            }
            // What cannot be cleared now goes with the container's run.
            let _ = engine.delete_exec(&id, &exec).await;
        });
    }

    pub(super) async fn delete_exec(&self, id: &ContainerId, exec: &ExecId) -> Result<()> {
        let request =
            DeleteProcessRequest { container_id: id.to_string(), exec_id: exec.to_string() };
        gone(self.client().tasks().delete_process(call(request, SLOW)).await)
            .explain(|| format!("process {exec} of container {id} cannot be cleared"))?;
        let directory = self.files(id).exec(exec);
        // One that is left is removed with the run.
        let _ = std::fs::remove_dir_all(directory);
        Ok(())
    }

    pub(super) async fn kill_exec(
        &self,
        id: &ContainerId,
        exec: &ExecId,
        signal: Signal,
    ) -> Result<()> {
        let request = KillRequest {
            container_id: id.to_string(),
            exec_id: exec.to_string(),
            signal: signal.number().into(),
            all: false,
        };
        match self.client().tasks().kill(call(request, SLOW)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(status::error(
                status,
                format!("signal {signal} cannot be sent to process {exec} of container {id}"),
            )),
        }
    }

    /// Sets the size of the terminal of a further process, or of the container.
    pub(super) async fn resize_process(
        &self,
        id: &ContainerId,
        exec: Option<&ExecId>,
        size: WindowSize,
    ) -> Result<()> {
        let request = ResizePtyRequest {
            container_id: id.to_string(),
            exec_id: exec.map(ToString::to_string).unwrap_or_default(),
            width: size.width.into(),
            height: size.height.into(),
        };
        let answer = self.client().tasks().resize_pty(call(request, QUICK)).await;
        answer.explain(|| format!("the terminal of container {id} cannot be resized")).map(drop)
    }

    /// Ends the input of a further process, or of the container.
    pub(super) async fn close_input(&self, id: &ContainerId, exec: Option<&ExecId>) -> Result<()> {
        let request = CloseIoRequest {
            container_id: id.to_string(),
            exec_id: exec.map(ToString::to_string).unwrap_or_default(),
            stdin: true,
        };
        gone(self.client().tasks().close_io(call(request, QUICK)).await)
            .explain(|| format!("the input of container {id} cannot be closed"))
            .map(drop)
    }

    pub(super) async fn open_input(&self, id: &ContainerId) -> Result<Writer> {
        let path = self.files(id).stdin();
        let end = tokio::time::Instant::now() + SHIM_OPENS;
        loop {
            let cause = match fifo::writer(&path) {
                Ok(pipe) => return Ok(Box::pin(pipe)),
                Err(cause) => cause,
            };
            if !self.record(id).await?.config.spec.stdin {
                return Err(Error::conflict(format!("container {id} was made without an input"))
                    .next("make it with an input (-i)"));
            }
            // Also the error for one that does not run.
            self.live_task(id).await?;
            if tokio::time::Instant::now() > end {
                return Err(Error::conflict(format!("the input of container {id} is closed"))
                    .next("start it anew")
                    .caused_by(cause));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
