//! The guests of the node's machines: how they and their QEMU are reached, and when something of them
//! changed.

mod changes;
mod resize;

pub use changes::{Changes, follow_changes};
pub use resize::resize;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use machines::config::{CONFIG, GUEST_AGENT, MachineConfig, QMP};
use machines::guest_agent::GuestAgent;
use machines::monitor::Told;
use machines::qmp::Qmp;
use model::error::Context as _;
use model::instance::Instance;
use model::{Error, ErrorKind, Result, Uid};
use tokio::sync::OwnedMutexGuard;

use crate::context::Context;

/// How long one who wants to speak to a machine waits for another who does.
const PATIENCE: Duration = Duration::from_secs(60);

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
    agents.entry(uid.clone()).or_insert_with(new).clone()
}

/// Forgets the connection to a machine's guest.
pub fn forget(context: &Context, uid: &Uid) {
    context.agents.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
}

/// File systems of a guest that are frozen, until [`Frozen::thaw`]; dropped without, they are thawed
/// all the same.
pub struct Frozen(Option<Arc<GuestAgent>>);

/// Has a guest write everything to its disks and hold further writes back.
///
/// # Errors
/// `Unavailable` without an agent in the guest.
pub async fn freeze(context: &Context, machine: &Instance) -> Result<Frozen> {
    let agent = agent(context, machine);
    // Quick to find out that there is none, where freezing may take a while.
    agent.ping().await?;
    agent.freeze().await?;
    Ok(Frozen(Some(agent)))
}

impl Frozen {
    /// Lets the guest write again.
    pub async fn thaw(mut self) -> Result<()> {
        match self.0.take() {
            Some(agent) => agent.thaw().await.map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(agent) = self.0.take() {
            tokio::spawn(async move { agent.thaw().await });
        }
    }
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
