//! Runs of a container: begun, signalled, frozen, cleared.

use std::process::Stdio;

use containerd_client::services::v1::{
    CreateTaskRequest, DeleteTaskRequest, GetRequest, KillRequest, PauseTaskRequest,
    ResumeTaskRequest, StartRequest, WaitRequest,
};
use containerd_client::types::v1::{Process, Status as TaskStatus};
use faults::may_die;
use model::error::Context;
use model::instance::LogOptions;
use model::{Bytes, Error, ErrorKind, Result, Time};
use tokio::process::Command;
use tonic::Code;

use super::record::Record;
use super::status::{self, Explain, gone};
use super::{Containerd, FREEZE, SLOW, call, fifo, unbounded, wire};
use crate::engine::{ContainerId, Exit, Started};
use crate::logs::driver::{self, Job};
use model::Signal;

/// What is kept of output that nobody asked to keep, for those who are attached.
const UNKEPT: LogOptions = LogOptions { max_size: Bytes(64 << 10), max_files: 1, off: true };

/// How a container's streams are joined, as containerd is told.
#[derive(Debug, Default)]
struct Streams {
    stdin: String,
    stdout: String,
    stderr: String,
    /// A driver to be started by us because the shim cannot do it for containers with an input.
    driver: Option<Job>,
}

impl Containerd {
    pub(super) async fn start_task(&self, id: &ContainerId) -> Result<Started> {
        if let Some(started) = self.try_start(id).await? {
            return Ok(started);
        }
        self.clear_task(id).await?;
        let started = self.try_start(id).await?;
        started.ok_or_else(|| {
            Error::unavailable(format!("container {id} cannot be started: a shim is in the way"))
                .next("try again; if that does not help, end its containerd-shim-runc-v2")
        })
    }

    /// `None` when the shim of an earlier try is in the way: there, but without a process, because
    /// containerd was killed between the two.
    async fn try_start(&self, id: &ContainerId) -> Result<Option<Started>> {
        let (record, mounts) = tokio::join!(self.record(id), self.mounts(id.as_str()));
        let (record, mounts) = (record?, mounts?);
        let files = self.files(id);
        files.prepare()?;
        let streams = self.streams(&record)?;
        if let Some(job) = &streams.driver {
            // The shim waits for a reader of its pipes, but a run going on has one.
            if let Some(task) = self.task(id).await? {
                return self.start_existing(&record, &task).await.map(Some);
            }
            self.start_driver(job)?;
        }
        let request = CreateTaskRequest {
            container_id: id.to_string(),
            rootfs: mounts,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            terminal: record.config.spec.tty,
            options: Some(self.runtime_options()),
            ..CreateTaskRequest::default()
        };
        match self.client().tasks().create(call(request, SLOW)).await {
            Ok(answer) => {
                may_die("run.shim");
                self.begin(&record, answer.into_inner().pid).await.map(Some)
            }
            Err(status) if status.code() == Code::AlreadyExists => match self.task(id).await? {
                Some(task) => self.start_existing(&record, &task).await.map(Some),
                None => Ok(None),
            },
            Err(status) if self.clear_bundle(id, &status)? => Ok(None),
            Err(status) => {
                self.abandon(id).await;
                Err(status::not_begun(status, &format!("container {id}"), record.program()))
            }
        }
    }

    /// Starts what was only prepared; says so if it runs; refuses if it ended.
    async fn start_existing(&self, record: &Record, task: &Process) -> Result<Started> {
        let id = &record.config.id;
        match task.status() {
            TaskStatus::Created => self.begin(record, task.pid).await,
            TaskStatus::Running | TaskStatus::Paused | TaskStatus::Pausing => {
                self.keep_end(id).await?;
                let at = self.files(id).begun().unwrap_or_else(Time::now);
                Ok(Started { pid: task.pid, at })
            }
            TaskStatus::Stopped | TaskStatus::Unknown => {
                Err(Error::conflict(format!("the last run of container {id} is not cleared"))
                    .next("clear it first, so that its exit code is not lost"))
            }
        }
    }

    /// The last step: the program itself.
    async fn begin(&self, record: &Record, pid: u32) -> Result<Started> {
        let id = &record.config.id;
        // Marked before, so that a run whose end nobody saw is known to have been.
        let at = self.files(id).begin()?;
        may_die("run.marked");
        let request = StartRequest { container_id: id.to_string(), exec_id: String::new() };
        let mut tasks = self.client().tasks();
        let (kept, begun) = tokio::join!(self.keep_end(id), tasks.start(call(request, SLOW)));
        match begun {
            Ok(_) => {
                may_die("run.begun");
                kept.map(|()| Started { pid, at })
            }
            Err(status) => {
                let error = status::not_begun(status, &format!("container {id}"), record.program());
                if error.kind() != ErrorKind::Unavailable {
                    self.abandon(id).await;
                }
                Err(error)
            }
        }
    }

    /// Takes back what a failed start left. What cannot be taken back now is on the next try.
    async fn abandon(&self, id: &ContainerId) {
        let _ = self.clear_task(id).await;
    }

    fn streams(&self, record: &Record) -> Result<Streams> {
        let (config, spec) = (&record.config, &record.config.spec);
        let files = self.files(&config.id);
        let mut streams = Streams::default();
        if spec.stdin {
            fifo::make(&files.stdin())?;
            streams.stdin = files.stdin().to_string_lossy().into_owned();
        }
        let (directory, options) = match &config.log {
            Some(directory) if spec.log.off => (directory.clone(), UNKEPT),
            Some(directory) => (directory.clone(), spec.log),
            // A terminal, or an input, must have someone at the other end.
            None if spec.tty || spec.stdin => (files.unkept(), UNKEPT),
            None => return Ok(streams),
        };
        let job = Job { directory, options, terminal: spec.tty, pipes: None };
        if spec.stdin && !spec.tty {
            let job = Job { pipes: Some(files.directory.clone()), ..job };
            for (name, path) in [("stdout", &mut streams.stdout), ("stderr", &mut streams.stderr)] {
                let pipe = files.directory.join(name);
                fifo::make(&pipe)?;
                *path = pipe.to_string_lossy().into_owned();
            }
            streams.driver = Some(job);
        } else {
            streams.stdout = job.address(&self.inner.program);
            streams.stderr.clone_from(&streams.stdout);
        }
        Ok(streams)
    }

    /// Starts a driver that outlives us. It ends with the other side of its pipes.
    fn start_driver(&self, job: &Job) -> Result<()> {
        let program = &self.inner.program;
        let failed = || format!("{} cannot be started to keep a log", program.display());
        // Dropped, it goes on; tokio waits for its end if we live to see it.
        Command::new(program)
            .args([driver::MODE, &job.argument()])
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(ErrorKind::Exhausted, failed)
            .map(drop)
    }

    /// The run of a container, if it has one.
    ///
    /// # Errors
    /// `Unavailable` also when its shim does not say in time how it is: it may well run.
    pub(super) async fn task(&self, id: &ContainerId) -> Result<Option<Process>> {
        let request = GetRequest { container_id: id.to_string(), exec_id: String::new() };
        let answer = self.client().tasks().get(call(request, SLOW)).await;
        let found = gone(answer).explain(|| format!("container {id} cannot be looked up"))?;
        let found = found.and_then(|answer| answer.into_inner().process);
        if found.as_ref().is_some_and(|task| task.status() == TaskStatus::Unknown) {
            return Err(Error::unavailable(format!("nobody says how container {id} is"))
                .next("try again when the machine has less to do"));
        }
        Ok(found)
    }

    /// The run of a container whose process exists.
    pub(super) async fn live_task(&self, id: &ContainerId) -> Result<Process> {
        let live = |task: &Process| {
            let status = task.status();
            matches!(status, TaskStatus::Running | TaskStatus::Paused | TaskStatus::Pausing)
        };
        match self.task(id).await?.filter(live) {
            Some(task) => Ok(task),
            None => Err(self.not_running(id).await?),
        }
    }

    /// Why there is nothing to act on: the container is unknown, or only not running.
    async fn not_running(&self, id: &ContainerId) -> Result<Error> {
        self.record(id).await?;
        Ok(Error::conflict(format!("container {id} is not running")).next("start it first"))
    }

    pub(super) async fn wait_task(&self, id: &ContainerId) -> Result<Exit> {
        let request = WaitRequest { container_id: id.to_string(), exec_id: String::new() };
        let answer = gone(self.client().tasks().wait(unbounded(request)).await)
            .explain(|| format!("container {id} cannot be waited for"))?;
        match answer.map(tonic::Response::into_inner) {
            Some(end) => Ok(Exit {
                code: wire::code(end.exit_status),
                at: wire::time(end.exited_at).unwrap_or_else(Time::now),
            }),
            None => Err(self.not_running(id).await?),
        }
    }

    pub(super) async fn kill_task(&self, id: &ContainerId, signal: Signal) -> Result<()> {
        let request = KillRequest {
            container_id: id.to_string(),
            exec_id: String::new(),
            signal: signal.number().into(),
            all: false,
        };
        match self.client().tasks().kill(call(request, SLOW)).await {
            Ok(_) => Ok(()),
            // Nothing to signal, if there is such a container at all.
            Err(status) if status.code() == Code::NotFound => self.record(id).await.map(drop),
            Err(status) => Err(status::error(
                status,
                format!("signal {signal} cannot be sent to container {id}"),
            )),
        }
    }

    pub(super) async fn pause_task(&self, id: &ContainerId) -> Result<()> {
        let _none_begins = self.inner.gates.freezing(id).await;
        if self.live_task(id).await?.status() == TaskStatus::Paused {
            return Ok(());
        }
        let request = call(PauseTaskRequest { container_id: id.to_string() }, FREEZE);
        let answer = self.client().tasks().pause(request).await;
        answer.explain(|| format!("container {id} cannot be paused")).map(drop)
    }

    pub(super) async fn resume_task(&self, id: &ContainerId) -> Result<()> {
        if self.live_task(id).await?.status() == TaskStatus::Running {
            return Ok(());
        }
        let request = call(ResumeTaskRequest { container_id: id.to_string() }, SLOW);
        let answer = self.client().tasks().resume(request).await;
        answer.explain(|| format!("container {id} cannot be resumed")).map(drop)
    }

    /// Clears a run, killing it first if it goes on.
    pub(super) async fn clear_task(&self, id: &ContainerId) -> Result<Option<Exit>> {
        let failed = || format!("the run of container {id} cannot be cleared");
        let mut cleared = self.delete_task_once(id).await;
        if matches!(&cleared, Err(status) if goes_on(status)) {
            self.kill_task(id, Signal::KILL).await?;
            // Frozen processes die only when they thaw; others refuse to be thawed. Whether it is frozen is
            // not asked: one that is being frozen at this moment would not be told so.
            let thaw = call(ResumeTaskRequest { container_id: id.to_string() }, SLOW);
            let _ = self.client().tasks().resume(thaw).await;
            let end = tokio::time::timeout(SLOW, self.wait_task(id)).await;
            end.context(ErrorKind::Unavailable, || format!("container {id} does not end"))??;
            cleared = self.delete_task_once(id).await;
        }
        let exit = gone(cleared).explain(failed)?;
        may_die("clear.task");
        self.inner.execs.forget(id);
        self.inner.gates.forget(id);
        self.files(id).clear()?;
        Ok(exit.flatten())
    }

    async fn delete_task_once(&self, id: &ContainerId) -> Result<Option<Exit>, tonic::Status> {
        let request = call(DeleteTaskRequest { container_id: id.to_string() }, SLOW);
        let end = self.client().tasks().delete(request).await?.into_inner();
        let code = wire::code(end.exit_status);
        Ok(wire::time(end.exited_at).map(|at| Exit { code, at }))
    }
}

/// Whether a run was not cleared because it goes on. The shim's answer reaches us without its code
/// through containerd 1.6.
fn goes_on(status: &tonic::Status) -> bool {
    let words = ["running process", "paused process", "pausing process"];
    status.code() == Code::FailedPrecondition
        || words.iter().any(|words| status.message().contains(words))
}
