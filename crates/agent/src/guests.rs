//! The guests of the node's machines: how they and their QEMU are reached, and when something of them
//! changed.

mod changes;
pub mod kept;
mod refit;
mod resize;

pub use changes::{Changes, follow_changes};
pub use refit::{Given, refit};
pub use resize::resize;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use machines::config::{CONFIG, GUEST_AGENT, MachineConfig, QMP};
use machines::guest_agent::GuestAgent;
use machines::monitor::Told;
use machines::qmp::{BlockTraffic, Qmp};
use model::error::Context as _;
use model::instance::Instance;
use model::{Error, ErrorKind, Result, Uid};
use tokio::sync::OwnedMutexGuard;

use crate::context::Context;

/// How long one who wants to speak to a machine waits for another who does.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one who only looks waits, for its turn and for QEMU's answer together.
const GLANCE: Duration = Duration::from_millis(500);

/// How often, and with what time between, a guest that is busy is asked to go on.
const THAWS: u32 = 300;
const BETWEEN: Duration = Duration::from_secs(2);

/// Whose turn it is at the sockets of machines.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<(Uid, &'static str), Weak<Turn>>>);

/// Locked by whose turn it is.
type Turn = tokio::sync::Mutex<()>;

impl Turns {
    /// Who wants to speak on a socket of a machine locks this.
    pub fn of(&self, uid: &Uid, socket: &'static str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (uid.clone(), socket);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

/// QEMU of a machine, spoken to by nobody else meanwhile: it takes one client at a time.
pub struct Control {
    /// What is spoken.
    pub qmp: Qmp,
    /// What the machine was started with.
    pub config: MachineConfig,
    _turn: OwnedMutexGuard<()>,
}

/// Speaks to the QEMU of a machine that runs.
///
/// # Errors
/// `Unavailable` when it does not answer.
pub async fn control(context: &Context, uid: &Uid) -> Result<Control> {
    let turn = turn(context, uid, QMP).await?;
    let directory = context.places.machine(uid);
    let qmp = Qmp::connect(&directory.join(QMP)).await?;
    Ok(Control { qmp, config: config(&directory)?, _turn: turn })
}

/// What went between a machine and its disks since it was started; none when QEMU is busy or does not
/// answer soon.
pub async fn disk_traffic(context: &Context, uid: &Uid) -> Option<BlockTraffic> {
    let ask = async {
        let _turn = turn(context, uid, QMP).await?;
        let qmp = Qmp::connect(&context.places.machine(uid).join(QMP)).await?;
        qmp.block_traffic().await
    };
    match tokio::time::timeout(GLANCE, ask).await {
        Ok(Ok(traffic)) => Some(traffic),
        Ok(Err(error)) => {
            tracing::debug!(machine = %uid, error = error.chain(), "QEMU does not tell its disks' traffic");
            None
        }
        Err(_) => None,
    }
}

/// The agents inside guests, one connection each.
#[derive(Default)]
pub struct Agents(Mutex<HashMap<Uid, Arc<GuestAgent>>>);

/// The agent inside a machine's guest. Nothing is said to it yet: whether it is there shows when it is
/// asked something.
pub fn agent(context: &Context, machine: &Instance) -> Arc<GuestAgent> {
    let uid = &machine.meta.id;
    let mut agents = context.agents.0.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = context.places.machine(uid).join(GUEST_AGENT);
    let new = || Arc::new(GuestAgent::new(machine.meta.name.clone(), socket));
    let agent = agents.entry(uid.clone()).or_insert_with(new).clone();
    // It may have been renamed since.
    agent.is_called(&machine.meta.name);
    agent
}

/// Forgets the connection to a machine's guest.
pub fn forget(context: &Context, uid: &Uid) {
    context.agents.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
}

/// Marks a guest whose file systems are frozen, in the instance's directory: a platform that was killed
/// thaws them when it comes back.
const FROZEN: &str = "frozen";

/// File systems of a guest that are frozen, until [`Frozen::thaw`]; dropped without, they are thawed
/// all the same.
pub struct Frozen {
    agent: Option<Arc<GuestAgent>>,
    mark: PathBuf,
}

/// Has a guest write everything to its disks and hold further writes back.
///
/// # Errors
/// `Unavailable` without an agent in the guest.
pub async fn freeze(context: &Context, machine: &Instance) -> Result<Frozen> {
    let agent = agent(context, machine);
    // Quick to find out that there is none, where freezing may take a while.
    agent.ping().await?;
    let mark = context.places.instance(&machine.meta.id).join(FROZEN);
    std::fs::write(&mark, b"")
        .context(ErrorKind::Unavailable, || format!("cannot write {}", mark.display()))?;
    // From here on it thaws, whoever goes away.
    let frozen = Frozen { agent: Some(agent.clone()), mark };
    agent.freeze().await?;
    Ok(frozen)
}

impl Frozen {
    /// Lets the guest write again.
    pub async fn thaw(mut self) -> Result<()> {
        if let Some(agent) = &self.agent {
            agent.thaw().await?;
            let _ = std::fs::remove_file(&self.mark);
        }
        self.agent = None;
        Ok(())
    }
}

/// Thaws a guest, trying for a while: it may be busy freezing yet.
async fn thaw(agent: &GuestAgent, mark: &Path) {
    for _ in 0..THAWS {
        if agent.thaw().await.is_ok() {
            let _ = std::fs::remove_file(mark);
            return;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    tracing::warn!(mark = %mark.display(), "a guest's file systems may be frozen");
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let mark = self.mark.clone();
            tokio::spawn(async move { thaw(&agent, &mark).await });
        }
    }
}

/// Has what the platform had stopped in a machine go on, trying for a while, as QEMU may be at work: its
/// processors, after a save was cut short, and its file systems. Of one that was `loaded` the clock is set.
pub fn go_on(context: Arc<Context>, machine: Arc<Instance>, loaded: bool) {
    tokio::spawn(async move {
        let uid = &machine.meta.id;
        let mark = context.places.instance(uid).join(FROZEN);
        for _ in 0..THAWS {
            match let_run(&context, uid).await {
                Ok(stood) if stood || loaded => {
                    // Its clock stood still with it; where its agent sets it, it is right again.
                    let _ = agent(&context, &machine).set_time().await;
                    break;
                }
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(machine = %machine.meta.name, error = error.chain(), "not yet");
                }
            }
            if context
                .roster
                .get(uid)
                .is_none_or(|handle| !handle.known.borrow().status.phase.is_live())
            {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
        // What people ran in it by way of a platform that was killed has nobody to hear it.
        if let Err(error) = agent(&context, &machine).sweep().await {
            tracing::debug!(machine = %machine.meta.name, error = error.chain(), "not swept");
        }
        if mark.exists() {
            thaw(&agent(&context, &machine), &mark).await;
        }
    });
}

/// Lets a machine run that stands still; whether it did.
async fn let_run(context: &Context, uid: &Uid) -> Result<bool> {
    let control = control(context, uid).await?;
    let status = control.qmp.query_status().await?;
    if status.status == "prelaunch" {
        return Err(Error::unavailable("its monitor is loading what it goes on from"));
    }
    // One that stands still for another reason, as for a full disk, has to be looked after first.
    if status.running || status.status != "paused" {
        return Ok(false);
    }
    control.qmp.cont().await?;
    Ok(true)
}

/// Refuses to keep the memory of a machine that was given more since its start, as what goes on from it has
/// what it starts with, and of one whose directories others serve.
pub async fn is_as_it_started(control: &Control) -> Result<()> {
    if control.config.changed {
        return Err(Error::conflict(
            "disks or network cards were plugged in or out since it started",
        )
        .next("stop it without its memory, or leave the memory out of the snapshot"));
    }
    if control.config.has_virtiofs() {
        return Err(Error::conflict(
            "directories are shared with it by virtiofs, and what their servers know cannot be kept",
        )
        .next("stop it without its memory, or leave the memory out of the snapshot"));
    }
    let memory = control.qmp.query_memory().await?;
    let (cpus, _) = machines::qmp::processors(&control.qmp.query_hotpluggable_cpus().await?);
    if memory.plugged_memory > 0 || cpus > control.config.cpus {
        return Err(Error::conflict("processors or memory were plugged in since it started")
            .next("stop it without its memory, or leave the memory out of the snapshot"));
    }
    Ok(())
}

/// What working on a machine's disks is called among turns.
const ON_DISKS: &str = "disks";

/// Whose turn it is to work on a machine's disks: it does not start meanwhile, and nobody else does.
///
/// # Errors
/// `Conflict` when somebody does already, or it is starting.
pub fn disks_now(context: &Context, machine: &Instance) -> Result<OwnedMutexGuard<()>> {
    let lock = context.turns.of(&machine.meta.id, ON_DISKS);
    lock.try_lock_owned().map_err(|_| {
        let name = &machine.meta.name;
        Error::conflict(format!("the disks of machine {name:?} are being worked on"))
            .next("wait for the snapshot, the commit or the start that is under way to end")
    })
}

/// Waits until nobody works on a machine's disks, as before it starts.
pub async fn disks(context: &Context, uid: &Uid) -> OwnedMutexGuard<()> {
    context.turns.of(uid, ON_DISKS).lock_owned().await
}

/// Waits until nobody else speaks on a socket of the machine.
async fn turn(context: &Context, uid: &Uid, socket: &'static str) -> Result<OwnedMutexGuard<()>> {
    let lock = context.turns.of(uid, socket);
    tokio::time::timeout(PATIENCE, lock.lock_owned()).await.map_err(|_| {
        Error::unavailable(format!("machine {} is busy", uid.short())).next("try again in a moment")
    })
}

/// What a machine was started with.
pub fn config(directory: &Path) -> Result<MachineConfig> {
    let path = directory.join(CONFIG);
    let text = std::fs::read(&path)
        .context(ErrorKind::NotFound, || format!("{} cannot be read", path.display()))?;
    serde_json::from_slice(&text)
        .context(ErrorKind::Internal, || format!("{} is damaged", path.display()))
}

/// What the monitor of a machine told.
pub fn told(context: &Context, uid: &Uid) -> Told {
    Told::read(&context.places.machine(uid))
}
