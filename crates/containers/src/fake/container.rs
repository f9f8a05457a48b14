//! One container of the fake engine.

use std::collections::BTreeMap;

use model::{Error, Result, Time};
use tempfile::TempDir;

use super::program::Program;
use crate::engine::{
    Change, ChangeKind, ContainerConfig, ContainerId, ExecConfig, ExecId, Exit, Observed, Process,
    Started, State, Stats, Writer,
};
use crate::rootfs::Rootfs;
use model::Signal;

/// A container and its run.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) config: ContainerConfig,
    created: Time,
    root: TempDir,
    state: State,
    pid: u32,
    started: Option<Time>,
    exit: Option<Exit>,
    oom: bool,
    execs: BTreeMap<ExecId, Option<Exit>>,
}

/// The error for a container that is not there.
pub(super) fn missing(id: &ContainerId) -> Error {
    Error::not_found(format!("the engine has no container {id}"))
}

impl Fake {
    pub(super) fn new(config: &ContainerConfig) -> Result<Self> {
        crate::spec::command(&config.spec, &config.image_config)?;
        let root = tempfile::tempdir()
            .map_err(|error| Error::exhausted("no place for a root").caused_by(error))?;
        Ok(Self {
            config: config.clone(),
            created: Time::now(),
            root,
            state: State::Idle,
            pid: 0,
            started: None,
            exit: None,
            oom: false,
            execs: BTreeMap::new(),
        })
    }

    fn command(&self) -> Vec<String> {
        crate::spec::command(&self.config.spec, &self.config.image_config).unwrap_or_default()
    }

    /// Begins a run; with the code it ends with at once, if it does.
    pub(super) fn start(&mut self, pid: u32) -> Result<(Started, Option<i32>)> {
        match self.state {
            State::Running | State::Paused => {
                let at = self.started.unwrap_or(self.created);
                return Ok((Started { pid: self.pid, at }, None));
            }
            State::Exited => {
                return Err(Error::conflict(format!(
                    "the last run of container {} is not cleared",
                    self.config.id
                )));
            }
            State::Idle | State::Created => {}
        }
        let at = Time::now();
        self.state = State::Running;
        self.pid = pid;
        self.started = Some(at);
        self.exit = None;
        self.oom = false;
        let ends = match Program::of(&self.command()) {
            Program::Ends { prints: _, code } => Some(code),
            Program::Copies if !self.config.spec.stdin => Some(0),
            Program::Copies | Program::Stays => None,
        };
        Ok((Started { pid, at }, ends))
    }

    /// Ends the run, if there is one.
    pub(super) fn end(&mut self, code: i32, oom: bool) -> Option<Exit> {
        if !self.state.is_live() {
            return None;
        }
        let exit = Exit { code, at: Time::now() };
        self.state = State::Exited;
        self.exit = Some(exit);
        self.oom = oom;
        for ended in self.execs.values_mut() {
            ended.get_or_insert(Exit { code: 137, at: exit.at });
        }
        Some(exit)
    }

    /// The run is gone without a trace.
    pub(super) fn lose(&mut self) {
        if self.state.is_live() {
            self.state = State::Exited;
            self.exit = None;
        }
        self.execs.clear();
    }

    pub(super) fn clear(&mut self) -> Option<Exit> {
        self.state = State::Idle;
        self.started = None;
        self.oom = false;
        self.execs.clear();
        self.exit.take()
    }

    pub(super) fn waited(&self) -> Option<Result<Exit>> {
        match self.state {
            State::Running | State::Paused => None,
            State::Exited if self.exit.is_some() => self.exit.map(Ok),
            State::Exited | State::Idle | State::Created => Some(Err(self.not_running())),
        }
    }

    pub(super) fn killed_by(&self, signal: Signal) -> bool {
        self.state.is_live() && [Signal::KILL, Signal::TERM].contains(&signal)
    }

    /// Goes from one state to the other; false if it is there already.
    pub(super) fn freeze(&mut self, from: State, to: State) -> Result<bool> {
        if self.state == to {
            return Ok(false);
        }
        if self.state != from {
            return Err(self.not_running());
        }
        self.state = to;
        Ok(true)
    }

    pub(super) fn observed(&self) -> Observed {
        Observed {
            id: self.config.id.clone(),
            labels: self.config.labels.clone(),
            state: self.state,
            pid: self.state.is_live().then_some(self.pid),
            exit_code: self.exit.map(|exit| exit.code),
            finished: self.exit.map(|exit| exit.at),
            started: self.started,
            oom_killed: self.oom,
            created: Some(self.created),
        }
    }

    /// Refuses when it does not run.
    pub(super) fn live(&self) -> Result<&Self> {
        if self.state.is_live() { Ok(self) } else { Err(self.not_running()) }
    }

    fn not_running(&self) -> Error {
        Error::conflict(format!("container {} is not running", self.config.id))
    }

    pub(super) fn exec(&mut self, exec: &ExecConfig, _pid: u32) -> Result<Program> {
        self.live()?;
        if self.state == State::Paused {
            return Err(Error::conflict(format!("container {} is paused", self.config.id)));
        }
        if exec.command.is_empty() {
            return Err(Error::invalid("nothing to execute").at("command"));
        }
        if self.execs.contains_key(&exec.id) {
            return Err(Error::exists(format!("exec {} exists already", exec.id)));
        }
        self.execs.insert(exec.id.clone(), None);
        Ok(Program::of(&exec.command))
    }

    pub(super) fn end_exec(&mut self, exec: &ExecId, code: i32) -> Option<Exit> {
        let slot = self.execs.get_mut(exec).filter(|slot| slot.is_none())?;
        *slot = Some(Exit { code, at: Time::now() });
        *slot
    }

    pub(super) fn exec_waited(&self, exec: &ExecId) -> Option<Result<Exit>> {
        match self.execs.get(exec) {
            None => Some(Err(Error::not_found(format!("there is no exec {exec}")))),
            Some(ended) => ended.map(Ok),
        }
    }

    pub(super) fn exec_known(&self, exec: &ExecId) -> Result<()> {
        match self.execs.contains_key(exec) {
            true => Ok(()),
            false => Err(Error::not_found(format!("there is no exec {exec}"))),
        }
    }

    pub(super) fn stdin(&self) -> Result<Writer> {
        self.live()?;
        if !self.config.spec.stdin {
            return Err(Error::conflict(format!(
                "container {} was made without an input",
                self.config.id
            )));
        }
        Ok(Box::pin(tokio::io::sink()))
    }

    /// Whether the end of input ends it.
    pub(super) fn close_stdin(&mut self) -> bool {
        self.state.is_live() && Program::of(&self.command()) == Program::Copies
    }

    pub(super) fn stats(&self, at: Time) -> Result<Stats> {
        self.live()?;
        Ok(Stats {
            at,
            cpu: crate::engine::Cpu::default(),
            memory: crate::engine::Memory::default(),
            pids: crate::engine::Pids { current: 1, limit: None },
            block_io: Vec::new(),
            cgroup_version: 2,
        })
    }

    pub(super) fn processes(&self) -> Result<Vec<Process>> {
        self.live()?;
        Ok(vec![Process {
            pid: self.pid,
            parent: 1,
            uid: 0,
            state: 'S',
            cpu: std::time::Duration::ZERO,
            resident: model::Bytes(0),
            threads: 1,
            tty: String::new(),
            started: self.started,
            command: self.command(),
        }])
    }

    /// All that is in its directory was added: the image is empty.
    pub(super) fn changes(&self) -> Result<Vec<Change>> {
        let entries = std::fs::read_dir(self.root.path())
            .map_err(|error| Error::internal("the fake root cannot be read").caused_by(error))?;
        let mut changes: Vec<Change> = entries
            .flatten()
            .map(|entry| Change {
                path: format!("/{}", entry.file_name().to_string_lossy()),
                kind: ChangeKind::Added,
            })
            .collect();
        changes.sort();
        Ok(changes)
    }

    pub(super) fn rootfs(&self) -> Result<Rootfs> {
        Rootfs::at(self.root.path())
    }
}
