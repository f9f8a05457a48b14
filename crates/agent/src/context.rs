//! What every task of the agent holds: the drivers, the places, and who else is on the node.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use containers::Engine;
use host::firewall::Obstacle;
use link::Desired;
use model::instance::Instance;
use model::network::Network;
use model::volume::Volume;
use model::{Error, Result, Uid};
use tasks::Wake;
use tokio::sync::watch;

use crate::agent::BuildKit;
use crate::build_network::BuildNetwork;
use crate::fabric::Fabric;
use crate::guests::{Agents, Changes, Turns};
use crate::image_store::ImageStore;
use crate::metadata::Metadata;
use crate::outbox::Outbox;
use crate::places::Places;
use crate::reconcile::Names;
use crate::worker::Handle;

/// How long each guest of the probe may take.
const KVM_DEADLINE: Duration = Duration::from_secs(1);

/// What every task of the agent holds.
pub struct Context {
    /// The node's name.
    pub node: String,
    /// The node's tag in names of host objects.
    pub tag: String,
    /// This boot of the machine.
    pub boot_id: String,
    /// Where things are.
    pub places: Places,
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// The network.
    pub fabric: Fabric,
    /// Where steps of builds run.
    pub builds: BuildNetwork,
    /// Where BuildKit comes from.
    pub build_kit: BuildKit,
    /// Storage: the node's own, and that of plugins.
    pub volumes: volumes::Services,
    /// Wakes the pass over volumes.
    pub storage: Wake,
    /// How often volumes have grown.
    pub storage_grown: AtomicU64,
    /// Images.
    pub images: ImageStore,
    /// The name server.
    pub names: Names,
    /// Tells instances what they are.
    pub metadata: Metadata,
    /// Reports on their way.
    pub outbox: Outbox,
    /// What the node should have.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// Rules of the host's own that stop instances' packets, as seen last.
    pub obstacles: RwLock<Vec<Obstacle>>,
    /// The instances' tasks.
    pub roster: Roster,
    /// What machines tell.
    pub guests: Changes,
    /// Whose turn it is to speak to machines.
    pub turns: Turns,
    /// The agents inside guests.
    pub agents: Agents,
    /// The program itself, which is also process 1 of machines.
    pub program: PathBuf,
    /// What was proved about KVM, once somebody wanted to know.
    pub proof: tokio::sync::OnceCell<host::kvm::Proof>,
}

/// The instances' tasks, by identity.
#[derive(Default)]
pub struct Roster {
    handles: RwLock<HashMap<Uid, Arc<Handle>>>,
    /// Changes when a task is added.
    added: watch::Sender<()>,
}

impl Roster {
    /// The task of an instance.
    pub fn get(&self, uid: &Uid) -> Option<Arc<Handle>> {
        self.read().get(uid).cloned()
    }

    /// The task of an instance that control has just placed here, when the node has heard of it.
    pub async fn awaited(&self, uid: &Uid, patience: Duration) -> Option<Arc<Handle>> {
        let mut added = self.added.subscribe();
        let found = async {
            loop {
                added.borrow_and_update();
                if let Some(handle) = self.get(uid) {
                    return Some(handle);
                }
                if added.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    /// All tasks.
    pub fn all(&self) -> Vec<(Uid, Arc<Handle>)> {
        self.read().iter().map(|(uid, handle)| (uid.clone(), handle.clone())).collect()
    }

    /// The task of the instance of that name.
    pub fn named(&self, project: &str, name: &str) -> Option<Arc<Handle>> {
        let found = |handle: &&Arc<Handle>| {
            let wanted = handle.wanted.borrow();
            wanted.meta.project == project && wanted.meta.name == name
        };
        self.read().values().find(found).cloned()
    }

    /// Adds a task.
    pub fn insert(&self, uid: Uid, handle: Handle) {
        self.handles.write().expect("nobody panics with it").insert(uid, Arc::new(handle));
        self.added.send_replace(());
    }

    /// Drops tasks that ended and are not wanted.
    pub fn forget(&self, unwanted: impl Fn(&Uid) -> bool) {
        self.handles
            .write()
            .expect("nobody panics with it")
            .retain(|uid, handle| !(handle.task.is_finished() && unwanted(uid)));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Uid, Arc<Handle>>> {
        self.handles.read().expect("nobody panics with it")
    }
}

impl Context {
    /// Rules of the host's own that stop instances' packets.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        self.obstacles.read().expect("nobody panics with it").clone()
    }

    /// What is proved about KVM on this node; found out when the first machine starts.
    pub async fn kvm(&self) -> host::kvm::Proof {
        let probe = || async {
            let probed = tokio::task::spawn_blocking(|| host::kvm::probe(KVM_DEADLINE)).await;
            probed.unwrap_or_default()
        };
        self.proof.get_or_init(probe).await.clone()
    }

    /// The host's addresses on a network, on which its name server answers.
    pub fn gateways(&self, network: &Uid) -> Vec<IpAddr> {
        let Ok(network) = self.network(network) else { return Vec::new() };
        let ipv4 = network.spec.host4().map(|net| IpAddr::from(net.addr()));
        let ipv6 = network.spec.host6().filter(|_| network.spec.enable_ipv6);
        ipv4.into_iter().chain(ipv6.map(|net| IpAddr::from(net.addr()))).collect()
    }

    /// Whether the engine does not answer now.
    pub async fn engine_away(&self) -> bool {
        self.engine.list().await.is_err()
    }

    /// The instance's task, for calls.
    pub fn handle(&self, uid: &Uid) -> Result<Arc<Handle>> {
        self.roster.get(uid).ok_or_else(|| {
            Error::not_found(format!("instance {} is not on node {:?}", uid.short(), self.node))
        })
    }

    /// The network with this identity, as it is desired.
    pub fn network(&self, id: &Uid) -> Result<Arc<Network>> {
        let desired = self.desired.borrow();
        let found = desired.networks.iter().find(|network| network.meta.id == *id).cloned();
        found.ok_or_else(|| {
            Error::unavailable(format!("network {} has not been told to this node yet", id.short()))
        })
    }

    /// The volume of this name, as it is desired.
    pub fn volume(&self, project: &str, name: &str) -> Result<Arc<Volume>> {
        let desired = self.desired.borrow();
        let found = desired
            .volumes
            .iter()
            .find(|volume| volume.meta.project == project && volume.meta.name == name);
        found.cloned().ok_or_else(|| {
            Error::unavailable(format!("volume {name:?} has not been told to this node yet"))
        })
    }

    /// Process id of the main container of another instance on this node.
    pub fn main_pid(&self, project: &str, name: &str) -> Result<u32> {
        let handle = self.running(project, name)?;
        let known = handle.known.borrow();
        let main = handle.wanted.borrow().spec.main().map(|main| main.name.clone());
        let pid = main.and_then(|main| known.status.container(&main).and_then(|main| main.pid));
        pid.ok_or_else(|| not_running(name))
    }

    /// The task of another instance of this node, which runs.
    pub fn running(&self, project: &str, name: &str) -> Result<Arc<Handle>> {
        let handle = self.roster.named(project, name).ok_or_else(|| {
            Error::not_found(format!("instance {name:?} is not on node {:?}", self.node))
        })?;
        let live = handle.known.borrow().status.phase.is_live();
        if live { Ok(handle) } else { Err(not_running(name)) }
    }

    /// Path of a namespace of a process.
    pub fn namespace_of(pid: u32, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/ns/{kind}"))
    }

    /// Titles of all instances that use an image, by the digest or id it was made from or its name.
    pub fn users_of(&self, matches: impl Fn(&Instance, &str, &str) -> bool) -> Option<String> {
        self.roster.all().iter().find_map(|(_, handle)| {
            let wanted = handle.wanted.borrow();
            let known = handle.known.borrow();
            let uses = wanted.spec.all_containers().any(|container| {
                let pinned = container.made_from(known.status.container(&container.name));
                matches(&wanted, &container.image, pinned.unwrap_or_default())
            });
            uses.then(|| wanted.title())
        })
    }
}

fn not_running(name: &str) -> Error {
    Error::conflict(format!("instance {name:?} does not run"))
        .next(format!("start it first: hull start {name}"))
}
