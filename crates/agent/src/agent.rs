//! The agent's frame: build, run, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use containers::Engine;
use images::{ContentStore, Settings};
use link::{ControlPort, Desired, NodePort};
use model::instance::Protocol;
use model::{Result, Uid};
use tasks::{Clock, Tasks, Timing, Wake};
use tokio::sync::watch;

use crate::calls::Calls;
use crate::context::{Context, Roster};
use crate::fabric::Fabric;
use crate::guests::Changes;
use crate::image_store::ImageStore;
use crate::memory::Memory;
use crate::metadata::Metadata;
use crate::outbox::Outbox;
use crate::places::Places;
use crate::reconcile::{
    HostFirewall, Instances, Leftovers, Names, NamesPass, Networks, NodeFacts, Storage,
    keep_firewall, keep_names,
};

/// Slow timers of the passes: what is missed by events is seen by these.
const SLOW: Duration = Duration::from_secs(60);

/// How long a start waits for the instances of before to have their tasks.
const SETTLED: Duration = Duration::from_secs(1);

/// The host's own rules are listed seldom, as some hosts have tens of thousands and change them often.
const RULES: Timing = Timing::every(Duration::from_secs(300)).linger(Duration::from_secs(5));

/// Who the agent is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The node's identity; names of host objects carry its beginning.
    pub node_id: Uid,
    /// Where the agent keeps things.
    pub places: Places,
    /// Where the API listens, which nobody may publish.
    pub api: SocketAddr,
    /// Port of each gateway where instances are told what they are; none where they are not.
    pub metadata: Option<u16>,
    /// Version of the platform.
    pub version: String,
    /// The program itself.
    pub program: std::path::PathBuf,
    /// Where BuildKit comes from.
    pub build_kit: BuildKit,
}

/// Where BuildKit comes from: the host's, or an image.
#[derive(Debug, Clone, Default)]
pub struct BuildKit {
    /// Its daemon; `buildkitd` among the programs when empty.
    pub daemon: std::path::PathBuf,
    /// An image that has it, for a host that has not; none when empty.
    pub image: String,
    /// How long it stays when nobody speaks to it.
    pub idle: std::time::Duration,
}

/// What the agent acts through.
pub struct Drivers {
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// Its name and version, for people.
    pub engine_title: String,
    /// Where images are kept.
    pub content: Arc<dyn ContentStore>,
    /// How images are fetched.
    pub images: Settings,
    /// The network.
    pub network: Arc<dyn network::Driver>,
    /// The node's own storage.
    pub volumes: volumes::Services,
    /// The name server.
    pub dns: Arc<dyn dns::NameServer>,
}

/// A running agent.
pub struct Agent {
    context: Arc<Context>,
    tasks: Arc<Tasks>,
}

impl Agent {
    /// Starts the agent of a node. It takes over what runs before it changes anything.
    pub async fn start(
        config: Config,
        drivers: Drivers,
        control: Arc<dyn ControlPort>,
    ) -> Result<Self> {
        let facts = host::facts::facts(config.places.state())?;
        let memory = Memory::open(config.places.memory())?;
        let tag = config.node_id.as_str()[..5].to_owned();
        crate::calls::clear(&config.places, &tag);
        let (outbox, _) = Outbox::start(config.node.clone(), control.clone());
        let (desired_tx, desired) = watch::channel(memory.desired());
        let own = [Some(config.api.port()), config.metadata];
        let reserved = own.into_iter().flatten().map(|port| (Protocol::Tcp, port)).collect();
        let wakes = Wakes::default();
        let context = Arc::new(Context {
            node: config.node.clone(),
            tag,
            boot_id: facts.boot_id.clone(),
            places: config.places.clone(),
            engine: drivers.engine,
            fabric: Fabric::new(drivers.network, reserved, config.metadata),
            builds: Default::default(),
            build_kit: config.build_kit.clone(),
            volumes: drivers.volumes,
            storage: wakes.storage.clone(),
            storage_grown: AtomicU64::new(0),
            images: ImageStore::new(drivers.content, drivers.images)?,
            names: Names::new(drivers.dns),
            metadata: Metadata::new(config.metadata),
            outbox,
            desired,
            obstacles: Default::default(),
            roster: Roster::default(),
            guests: Changes::open()?,
            turns: Default::default(),
            agents: Default::default(),
            program: config.program.clone(),
            proof: Default::default(),
        });
        let tasks = Arc::new(Tasks::new(Clock::default()));
        let source = control.desired(&config.node);
        tasks.spawn_plain(follow(source, memory, desired_tx, wakes.clone()));
        tasks
            .spawn_plain(crate::reconcile::follow_engine(context.clone(), wakes.leftovers.clone()));
        let slow = Timing::every(SLOW);
        let node = NodeFacts::new(context.clone(), config.version, drivers.engine_title);
        tasks.spawn(node, Timing::every(Duration::from_secs(30)), wakes.node.clone());
        tasks.spawn_plain(crate::guests::follow_changes(context.clone()));
        tasks.spawn_plain(keep_names(context.clone()));
        tasks.spawn_plain(crate::reconcile::settle_mounts(context.clone()));
        tasks.spawn_plain(keep_firewall(context.clone(), wakes.firewall.clone()));
        let firewall = HostFirewall::new(context.clone(), wakes.node.clone());
        tasks.spawn(firewall, RULES, wakes.firewall);
        tasks.spawn(Instances::new(context.clone(), wakes.node), slow, wakes.instances);
        tasks.spawn(Storage::new(context.clone()), slow, wakes.storage);
        tasks.spawn(NamesPass::new(context.clone()), slow, wakes.names);
        tasks.spawn(Networks::new(context.clone()), slow, wakes.networks);
        tasks.spawn(Leftovers::new(context.clone()), slow, wakes.leftovers);
        Ok(Self { context, tasks })
    }

    /// Waits until the instances that the node remembers can be asked for: before, calls would be told that they
    /// are not here. What takes longer than a moment is not waited for.
    pub async fn settled(&self) {
        let known: Vec<_> = {
            let desired = self.context.desired.borrow();
            desired.instances.iter().map(|instance| instance.meta.id.clone()).collect()
        };
        let all = async {
            for id in &known {
                let _ = self.context.roster.awaited(id, SETTLED).await;
            }
        };
        if tokio::time::timeout(SETTLED, all).await.is_err() {
            tracing::warn!("instances of before are still being looked after");
        }
    }

    /// What control may ask of this node.
    pub fn port(&self) -> Arc<dyn NodePort> {
        Arc::new(Calls::new(self.context.clone()))
    }

    /// What each pass did last.
    pub fn reports(&self) -> Vec<tasks::Report> {
        self.tasks.reports()
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Stops acting. What runs, runs on.
    pub async fn shutdown(&self) {
        self.tasks.stop().await;
        for (_, handle) in self.context.roster.all() {
            handle.task.abort();
        }
    }
}

/// What is woken when the desired set changes.
#[derive(Clone, Default)]
struct Wakes {
    node: Wake,
    instances: Wake,
    storage: Wake,
    names: Wake,
    networks: Wake,
    firewall: Wake,
    leftovers: Wake,
}

/// Takes each newer desired set: to whoever acts on it first, then to the disk.
async fn follow(
    mut source: watch::Receiver<Arc<Desired>>,
    mut memory: Memory,
    wanted: watch::Sender<Arc<Desired>>,
    wakes: Wakes,
) {
    loop {
        let newer = source.borrow_and_update().clone();
        if newer.generation > 0 && newer.generation >= wanted.borrow().generation {
            wanted.send_replace(newer.clone());
            for wake in [&wakes.instances, &wakes.storage, &wakes.names, &wakes.networks] {
                wake.wake();
            }
            if let Err(error) = memory.keep(&newer) {
                tracing::warn!(error = error.chain(), "cannot keep the desired set");
            }
        }
        if source.changed().await.is_err() {
            // Control is gone for good; what is wanted stays wanted.
            std::future::pending::<()>().await;
        }
    }
}
