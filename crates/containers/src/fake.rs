//! An engine in memory, for tests of whatever uses one.
//!
//! It keeps the promises of [`Engine`] and is run through the same conformance suite as the real
//! one. It knows a handful of programs (see [`program`]) so that tests read alike for both; what
//! happens beyond those a test says itself: [`FakeEngine::exit`], [`FakeEngine::fail_next`],
//! [`FakeEngine::lose_engine`].

mod container;
mod program;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use model::instance::Resources;
use model::{Bytes, Error, ErrorKind, Result, Time};
use tokio::sync::{Notify, broadcast};
use tokio_stream::wrappers::BroadcastStream;

use crate::engine::{
    Change, CommitConfig, Committed, ContainerConfig, ContainerId, Created, Engine, EngineEvent,
    Events, ExecConfig, ExecId, ExecStreams, Exit, NoneBegins, Observed, Process, Started, State,
    Stats, WindowSize, Writer,
};
use crate::rootfs::Rootfs;
use container::{Fake, missing};
use model::Signal;

/// Events kept for a reader that is slow; one that falls further behind is told to resync.
const BACKLOG: usize = 1024;

/// A verb, for scripts and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the verbs of `Engine`")]
pub enum Verb {
    Create,
    Start,
    Wait,
    Kill,
    Pause,
    Resume,
    DeleteTask,
    Remove,
    List,
    Observe,
    Events,
    Exec,
    ExecWait,
    ExecKill,
    ExecResize,
    OpenStdin,
    CloseStdin,
    Resize,
    Stats,
    Processes,
    Update,
    Changes,
    Written,
    Rootfs,
    Commit,
}

/// An engine in memory. Clones are the same engine, as after a restart of its user.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    inner: Arc<Mutex<Inner>>,
    events: broadcast::Sender<EngineEvent>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<ContainerId, Fake>,
    next_pid: u32,
    failures: BTreeMap<Verb, VecDeque<ErrorKind>>,
    calls: Vec<(Verb, Option<ContainerId>)>,
    down: bool,
    warnings: Vec<String>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    /// An engine with nothing in it.
    pub fn new() -> Self {
        let inner = Inner { next_pid: 1000, ..Inner::default() };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            events: broadcast::channel(BACKLOG).0,
            changed: Arc::new(Notify::new()),
        }
    }

    /// The next call of `verb` fails with an error of this kind, having done nothing. Calls add up.
    pub fn fail_next(&self, verb: Verb, kind: ErrorKind) {
        self.lock().failures.entry(verb).or_default().push_back(kind);
    }

    /// Warnings that every further create gives.
    pub fn warn_on_create(&self, warnings: Vec<String>) {
        self.lock().warnings = warnings;
    }

    /// Ends process 1 of a running container with this code.
    pub fn exit(&self, id: &ContainerId, code: i32) {
        self.finish(id, code, false);
    }

    /// Ends process 1 of a running container for want of memory.
    pub fn run_out_of_memory(&self, id: &ContainerId) {
        let _ = self.events.send(EngineEvent::OutOfMemory { id: id.clone() });
        self.finish(id, 137, true);
    }

    /// Every run ends without its exit code being known, as when the machine restarts.
    pub fn reboot(&self) {
        let mut inner = self.lock();
        for fake in inner.containers.values_mut() {
            fake.lose();
        }
        drop(inner);
        self.tell(EngineEvent::Resync);
    }

    /// The engine stops answering; containers run on.
    pub fn lose_engine(&self) {
        self.lock().down = true;
    }

    /// The engine answers again.
    pub fn regain_engine(&self) {
        self.lock().down = false;
        self.tell(EngineEvent::Resync);
    }

    /// What was called, in order, with the container it was about.
    pub fn calls(&self) -> Vec<(Verb, Option<ContainerId>)> {
        self.lock().calls.clone()
    }

    /// What a container was created from.
    pub fn config(&self, id: &ContainerId) -> Option<ContainerConfig> {
        self.lock().containers.get(id).map(|fake| fake.config.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every verb begins here: it is recorded, and refused if a script says so.
    fn enter(&self, verb: Verb, id: Option<&ContainerId>) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        inner.calls.push((verb, id.cloned()));
        if inner.down {
            return Err(Error::unavailable("the container engine does not answer"));
        }
        if let Some(kind) = inner.failures.get_mut(&verb).and_then(VecDeque::pop_front) {
            return Err(Error::new(kind, format!("{verb:?} fails because a test says so")));
        }
        Ok(inner)
    }

    fn tell(&self, event: EngineEvent) {
        // Nobody listening is no failure.
        let _ = self.events.send(event);
        self.changed.notify_waiters();
    }

    fn finish(&self, id: &ContainerId, code: i32, oom: bool) {
        let mut inner = self.lock();
        let Some(exit) = inner.containers.get_mut(id).and_then(|fake| fake.end(code, oom)) else {
            return;
        };
        drop(inner);
        self.tell(EngineEvent::Exited { id: id.clone(), exit });
    }

    fn finish_exec(&self, id: &ContainerId, exec: &ExecId, code: i32) {
        let mut inner = self.lock();
        let ended = inner.containers.get_mut(id).and_then(|fake| fake.end_exec(exec, code));
        drop(inner);
        if let Some(exit) = ended {
            self.tell(EngineEvent::ExecExited { id: id.clone(), exec: exec.clone(), exit });
        }
    }

    /// Waits until `look` finds something.
    async fn until<T>(&self, look: impl Fn(&mut Inner) -> Option<Result<T>>) -> Result<T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn create(&self, config: &ContainerConfig) -> Result<Created> {
        let mut inner = self.enter(Verb::Create, Some(&config.id))?;
        let warnings = inner.warnings.clone();
        match inner.containers.get_mut(&config.id) {
            Some(fake) => fake.config = config.clone(),
            None => drop(inner.containers.insert(config.id.clone(), Fake::new(config)?)),
        }
        Ok(Created { warnings })
    }

    async fn start(&self, id: &ContainerId) -> Result<Started> {
        let mut inner = self.enter(Verb::Start, Some(id))?;
        inner.next_pid += 1;
        let pid = inner.next_pid;
        let fake = inner.containers.get_mut(id).ok_or_else(|| missing(id))?;
        let (started, ends) = fake.start(pid)?;
        drop(inner);
        if let Some(code) = ends {
            self.finish(id, code, false);
        }
        Ok(started)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        drop(self.enter(Verb::Wait, Some(id))?);
        self.until(|inner| match inner.containers.get(id) {
            None => Some(Err(missing(id))),
            Some(fake) => fake.waited(),
        })
        .await
    }

    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<()> {
        let inner = self.enter(Verb::Kill, Some(id))?;
        let fake = inner.containers.get(id).ok_or_else(|| missing(id))?;
        let ends = fake.killed_by(signal);
        drop(inner);
        if ends {
            self.finish(id, 128 + i32::from(signal.number()), false);
        }
        Ok(())
    }

    async fn none_begins(&self, _: &ContainerId) -> NoneBegins {
        NoneBegins::new(None)
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        let mut inner = self.enter(Verb::Pause, Some(id))?;
        let fake = inner.containers.get_mut(id).ok_or_else(|| missing(id))?;
        if fake.freeze(State::Running, State::Paused)? {
            drop(inner);
            self.tell(EngineEvent::Paused { id: id.clone() });
        }
        Ok(())
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        let mut inner = self.enter(Verb::Resume, Some(id))?;
        let fake = inner.containers.get_mut(id).ok_or_else(|| missing(id))?;
        if fake.freeze(State::Paused, State::Running)? {
            drop(inner);
            self.tell(EngineEvent::Resumed { id: id.clone() });
        }
        Ok(())
    }

    async fn delete_task(&self, id: &ContainerId) -> Result<Option<Exit>> {
        drop(self.enter(Verb::DeleteTask, Some(id))?);
        self.finish(id, 137, false);
        Ok(self.lock().containers.get_mut(id).and_then(Fake::clear))
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        drop(self.enter(Verb::Remove, Some(id))?);
        self.finish(id, 137, false);
        self.lock().containers.remove(id);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let inner = self.enter(Verb::List, None)?;
        Ok(inner.containers.values().map(Fake::observed).collect())
    }

    async fn observe(&self, id: &ContainerId) -> Result<Option<Observed>> {
        let inner = self.enter(Verb::Observe, Some(id))?;
        Ok(inner.containers.get(id).map(Fake::observed))
    }

    async fn events(&self) -> Result<Events> {
        drop(self.enter(Verb::Events, None)?);
        let live = BroadcastStream::new(self.events.subscribe())
            .map(|event| event.unwrap_or(EngineEvent::Resync));
        Ok(futures::stream::once(async { EngineEvent::Resync }).chain(live).boxed())
    }

    async fn exec(&self, id: &ContainerId, exec: &ExecConfig) -> Result<ExecStreams> {
        let mut inner = self.enter(Verb::Exec, Some(id))?;
        inner.next_pid += 1;
        let pid = inner.next_pid;
        let fake = inner.containers.get_mut(id).ok_or_else(|| missing(id))?;
        let program = fake.exec(exec, pid)?;
        drop(inner);
        let (engine, id, exec_id) = (self.clone(), id.clone(), exec.id.clone());
        Ok(program.streams(pid, exec, move |code| engine.finish_exec(&id, &exec_id, code)))
    }

    async fn exec_wait(&self, id: &ContainerId, exec: &ExecId) -> Result<Exit> {
        drop(self.enter(Verb::ExecWait, Some(id))?);
        self.until(|inner| match inner.containers.get(id) {
            None => Some(Err(missing(id))),
            Some(fake) => fake.exec_waited(exec),
        })
        .await
    }

    async fn exec_kill(&self, id: &ContainerId, exec: &ExecId, signal: Signal) -> Result<()> {
        let inner = self.enter(Verb::ExecKill, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?;
        drop(inner);
        self.finish_exec(id, exec, 128 + i32::from(signal.number()));
        Ok(())
    }

    async fn exec_resize(&self, id: &ContainerId, exec: &ExecId, _: WindowSize) -> Result<()> {
        let inner = self.enter(Verb::ExecResize, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.exec_known(exec)
    }

    async fn open_stdin(&self, id: &ContainerId) -> Result<Writer> {
        let inner = self.enter(Verb::OpenStdin, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.stdin()
    }

    async fn close_stdin(&self, id: &ContainerId) -> Result<()> {
        let mut inner = self.enter(Verb::CloseStdin, Some(id))?;
        let ends = inner.containers.get_mut(id).ok_or_else(|| missing(id))?.close_stdin();
        drop(inner);
        if ends {
            self.finish(id, 0, false);
        }
        Ok(())
    }

    async fn resize(&self, id: &ContainerId, _: WindowSize) -> Result<()> {
        let inner = self.enter(Verb::Resize, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.live().map(drop)
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats> {
        let inner = self.enter(Verb::Stats, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.stats(Time::now())
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<Process>> {
        let inner = self.enter(Verb::Processes, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.processes()
    }

    async fn update(&self, id: &ContainerId, resources: &Resources) -> Result<Vec<String>> {
        let mut inner = self.enter(Verb::Update, Some(id))?;
        let fake = inner.containers.get_mut(id).ok_or_else(|| missing(id))?;
        fake.config.spec.resources = resources.clone();
        Ok(Vec::new())
    }

    async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        let inner = self.enter(Verb::Changes, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.changes()
    }

    async fn written(&self, id: &ContainerId) -> Result<Bytes> {
        let inner = self.enter(Verb::Written, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id)).map(|_| Bytes(0))
    }

    async fn rootfs(&self, id: &ContainerId) -> Result<Rootfs> {
        let inner = self.enter(Verb::Rootfs, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?.rootfs()
    }

    async fn commit(&self, id: &ContainerId, _: &CommitConfig) -> Result<Committed> {
        let inner = self.enter(Verb::Commit, Some(id))?;
        inner.containers.get(id).ok_or_else(|| missing(id))?;
        let digest = |seed: &str| format!("sha256:{}", hex::encode(sha2_of(seed)));
        Ok(Committed { digest: digest(id.as_str()), id: digest("config") })
    }
}

fn sha2_of(text: &str) -> impl AsRef<[u8]> {
    use sha2::Digest;
    sha2::Sha256::digest(text)
}
