//! A control over a real store, and an agent that plays a node.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use control::{Caller, Config, Control, Keyring, Mode, New};
use link::image::{
    ImageDetail, ImportRequest, Listing, Login, Progress, PruneRequest, PullRequest, Removed,
    SearchHit, SearchRequest, SizedImage,
};
use link::instance::{
    AttachRequest, Change, CommitRequest, DiskSize, ExecRequest, LogRecord, LogsRequest, PathStat,
    ProcessTable, Stats, Target,
};
use link::machine::{DiskUsage, Finding};
use link::storage::{Plugin, PluginVolume, PluginVolumes};
use link::{
    ByteStream, ConsoleCalls, ControlPort, Desired, Display, ImageCalls, InstanceCalls,
    MachineCalls, Report, ResultStream, Session, StorageCalls,
};
use model::image::Image;
use model::instance::{
    ContainerSpec, ContainerState, ContainerStatus, GuestFacts, Instance, InstanceNoun,
    InstanceSpec, InstanceStatus, Mount, MountKind, Phase, Port, Reason, RunState,
};
use model::node::NodeStatus;
use model::volume::{SnapshotStatus, VolumePhase, VolumeStatus};
use model::{Error, Kind, Result, Time, Uid};
use store::sqlite::{Config as StoreConfig, SqliteStore};
use tokio::sync::mpsc;

pub const NODE: &str = "n1";
pub const PROJECT: &str = "default";
/// The keys of a control that is opened again.
pub const KEYS: &str = "k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
/// No test waits longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn caller() -> &'static Caller {
    static CALLER: std::sync::LazyLock<Caller> =
        std::sync::LazyLock::new(|| Caller::socket("tester"));
    &CALLER
}

/// An instance of one container.
pub fn spec(image: &str) -> InstanceSpec {
    let container =
        ContainerSpec { name: "main".into(), image: image.into(), ..ContainerSpec::default() };
    InstanceSpec { containers: vec![container], ..InstanceSpec::default() }
}

pub fn stopped(image: &str) -> InstanceSpec {
    InstanceSpec { run: RunState::Stopped, ..spec(image) }
}

pub fn with_port(mut spec: InstanceSpec, host: Option<u16>, target: u16) -> InstanceSpec {
    spec.ports.push(Port {
        target,
        host,
        address: None,
        protocol: model::instance::Protocol::Tcp,
        count: 1,
    });
    spec
}

pub fn with_volume(mut spec: InstanceSpec, name: &str, target: &str) -> InstanceSpec {
    let kind = MountKind::Volume { name: name.into(), subpath: String::new(), no_copy: false };
    spec.containers[0].mounts.push(Mount {
        kind,
        target: target.into(),
        read_only: false,
        disk: None,
    });
    spec
}

pub fn named(name: &str, spec: InstanceSpec) -> New<InstanceNoun> {
    New::named(name, spec)
}

/// A control, its store's directory, and the node's agent if it has one.
pub struct Rig {
    pub control: Arc<Control>,
    pub dir: tempfile::TempDir,
    pub agent: Option<Agent>,
}

impl Rig {
    /// With an agent that does what it is told.
    pub async fn new() -> Self {
        let mut rig = Self::silent().await;
        rig.agent = Some(Agent::start(rig.control.clone(), Arc::default()).await);
        rig
    }

    /// With a node that is ready but does nothing.
    pub async fn silent() -> Self {
        let rig = Self::alone().await;
        rig.report(vec![Report::Node(Box::new(node_status()))]).await;
        rig
    }

    /// With a node that has not said anything yet.
    pub async fn alone() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = open(dir.path()).await;
        Self { control, dir, agent: None }
    }

    pub async fn report(&self, reports: Vec<Report>) {
        self.control.report(NODE, reports).await.unwrap();
    }

    pub async fn create(&self, name: &str, spec: InstanceSpec) -> Result<Arc<Instance>> {
        let new = named(name, spec);
        self.control.instances().create(caller(), PROJECT, new, Mode::Apply).await
    }

    pub fn get(&self, name: &str) -> Result<Arc<Instance>> {
        self.control.instances().get(caller(), PROJECT, name)
    }

    /// Waits until the instance is as `good` wants it.
    pub async fn until(&self, name: &str, good: impl Fn(&Instance) -> bool) -> Arc<Instance> {
        let mut changes = self
            .control
            .instances()
            .watch(caller(), Some(PROJECT), Default::default(), Default::default(), None)
            .unwrap();
        let waiting = async {
            loop {
                match self.get(name) {
                    Ok(instance) if good(&instance) => return instance,
                    _ => drop(futures::StreamExt::next(&mut changes).await),
                }
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| {
            panic!("{name} is not as expected: {:#?}", self.get(name).map(|it| it.status.clone()))
        })
    }

    pub async fn until_running(&self, name: &str) -> Arc<Instance> {
        self.until(name, |it| it.status.phase == Phase::Running).await
    }

    /// Waits until a question is answered with yes.
    pub async fn eventually(&self, what: &str, good: impl Fn() -> bool) {
        let waiting = async {
            while !good() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub fn desired(&self) -> Arc<Desired> {
        self.control.desired(NODE).borrow().clone()
    }

    /// Ends control and the agent's loop, and opens the store anew.
    pub async fn reopened(self) -> Self {
        let Self { control, dir, agent } = self;
        if let Some(agent) = agent {
            agent.stop().await;
        }
        control.shutdown().await;
        drop(control);
        let control = open(dir.path()).await;
        Self { control, dir, agent: None }
    }
}

/// Opens a control over the store in a directory. The store may still be in use for a moment.
pub async fn open(dir: &Path) -> Arc<Control> {
    let opening = async {
        loop {
            match SqliteStore::open(StoreConfig::new(dir.join("state.db"))).await {
                Ok(store) => return store,
                Err(store::sqlite::FileError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let store = tokio::time::timeout(DEADLINE, opening).await.expect("the store is not let go");
    let mut config = Config::new(Arc::new(store), NODE);
    config.keyring = Arc::new(Keyring::parse(KEYS).unwrap());
    Control::open(config).await.unwrap()
}

pub fn node_status() -> NodeStatus {
    NodeStatus {
        ready: true,
        cpus: model::Cpus::from_milli(4000),
        memory: model::Bytes::gib(8),
        boot_id: "boot-1".into(),
        host_subnets: vec!["192.168.0.0/24".into()],
        ..NodeStatus::default()
    }
}

/// What the agent knows of its instances.
type Memory = Arc<Mutex<HashMap<Uid, InstanceStatus>>>;

/// An agent that plays a node: it does what the desired set says, at once.
pub struct Agent {
    pub calls: Arc<Calls>,
    orders: mpsc::UnboundedSender<(Uid, i32)>,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    pub async fn start(control: Arc<Control>, memory: Memory) -> Self {
        let (orders, mut ends) = mpsc::unbounded_channel::<(Uid, i32)>();
        let calls = Arc::new(Calls::default());
        control.connect_node(NODE, calls.clone());
        control.report(NODE, vec![Report::Node(Box::new(node_status()))]).await.unwrap();
        let mut desired = control.desired(NODE);
        let task = tokio::spawn(async move {
            loop {
                let now = desired.borrow_and_update().clone();
                let reports = act(&now, &memory);
                if !reports.is_empty() {
                    control.report(NODE, reports).await.unwrap();
                }
                tokio::select! {
                    changed = desired.changed() => if changed.is_err() { return },
                    end = ends.recv() => {
                        let Some((id, code)) = end else { return };
                        let report = exit(&id, code, &memory);
                        control.report(NODE, vec![report]).await.unwrap();
                    }
                }
            }
        });
        Self { calls, orders, task }
    }

    /// Has the main container end by itself.
    pub fn exit(&self, id: &Uid, code: i32) {
        self.orders.send((id.clone(), code)).unwrap();
    }

    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn exit(id: &Uid, code: i32, memory: &Memory) -> Report {
    let mut memory = memory.lock().unwrap();
    let status = memory.get_mut(id).expect("the instance runs");
    ended(status, code);
    Report::Instance(id.clone(), Box::new(status.clone()))
}

fn ended(status: &mut InstanceStatus, code: i32) {
    status.phase = Phase::Exited;
    for container in &mut status.containers {
        container.state = ContainerState::Exited;
        container.exit_code = Some(code);
        container.finished = Some(Time::now());
    }
}

fn act(desired: &Desired, memory: &Memory) -> Vec<Report> {
    let mut memory = memory.lock().unwrap();
    let mut reports = Vec::new();
    for instance in &desired.instances {
        let id = &instance.meta.id;
        if instance.meta.deleted.is_some() {
            memory.remove(id);
            reports.push(Report::Removed(Kind::Instance, id.clone()));
            continue;
        }
        let status = memory.entry(id.clone()).or_default();
        let before = status.clone();
        step(instance, status);
        if *status != before {
            reports.push(Report::Instance(id.clone(), Box::new(status.clone())));
        }
    }
    for network in desired.networks.iter().filter(|it| it.meta.deleted.is_some()) {
        reports.push(Report::Removed(Kind::Network, network.meta.id.clone()));
    }
    for volume in &desired.volumes {
        reports.push(match volume.meta.deleted {
            Some(_) if volume.spec.options.contains_key("stays") => {
                let reason = Reason::from_error("CannotRemove", &Error::conflict("it stays"));
                Report::Kept(volume.meta.id.clone(), reason)
            }
            Some(_) => Report::Removed(Kind::Volume, volume.meta.id.clone()),
            None => Report::Volume(
                volume.meta.id.clone(),
                VolumeStatus {
                    phase: VolumePhase::Ready,
                    observed_generation: volume.meta.generation,
                    ..VolumeStatus::default()
                },
            ),
        });
    }
    for snapshot in &desired.snapshots {
        reports.push(match snapshot.meta.deleted {
            Some(_) => Report::Removed(Kind::Snapshot, snapshot.meta.id.clone()),
            None => Report::Snapshot(
                snapshot.meta.id.clone(),
                SnapshotStatus { phase: VolumePhase::Ready, ..SnapshotStatus::default() },
            ),
        });
    }
    reports
}

fn step(instance: &Instance, status: &mut InstanceStatus) {
    status.observed_generation = instance.meta.generation;
    let begin = instance.spec.runs > status.runs;
    match instance.spec.run {
        RunState::Running if begin => {
            status.runs = instance.spec.runs;
            status.phase = Phase::Running;
            let running = |container: &ContainerSpec| ContainerStatus {
                name: container.name.clone(),
                state: ContainerState::Running,
                started: Some(Time::now()),
                ..ContainerStatus::default()
            };
            status.containers = instance.spec.all_containers().map(running).collect();
        }
        RunState::Running if status.phase == Phase::Paused => status.phase = Phase::Running,
        RunState::Paused if status.phase == Phase::Running => status.phase = Phase::Paused,
        RunState::Stopped if status.phase.is_live() => {
            let at_once = instance.spec.stop.as_ref().is_some_and(|stop| stop.timeout.is_none());
            ended(status, if at_once { 137 } else { 0 });
        }
        RunState::Running | RunState::Paused | RunState::Stopped => {}
    }
}

/// The node's plugin.
pub const PLUGIN: &str = "plug";

/// What was asked of the node.
#[derive(Default)]
pub struct Calls {
    pub signals: Mutex<Vec<(Uid, String)>>,
    pub pulls: Mutex<BTreeMap<String, u32>>,
    /// Ids of the images that are there, by name.
    pub images: Mutex<BTreeMap<String, String>>,
}

fn image(id: &str) -> Image {
    Image {
        id: id.to_owned(),
        digest: id.to_owned(),
        names: Vec::new(),
        digests: Vec::new(),
        created: None,
        size: model::Bytes::default(),
        architecture: "amd64".into(),
        os: "linux".into(),
        config: Default::default(),
        layers: Vec::new(),
        machine: None,
        history: Vec::new(),
    }
}

fn no<T>() -> Result<T> {
    Err(Error::unsupported("the agent of this test cannot"))
}

#[async_trait]
impl InstanceCalls for Calls {
    async fn logs(&self, target: Target, _: LogsRequest) -> Result<ResultStream<LogRecord>> {
        let bytes = Bytes::from(format!("log of {}\n", target.instance.short()));
        let record = LogRecord { time: Time::now(), stderr: false, bytes, complete: true };
        Ok(Box::pin(futures::stream::iter([Ok(record)])))
    }

    async fn attach(&self, _: Target, _: AttachRequest) -> Result<Session> {
        no()
    }

    async fn exec(&self, _: Target, _: ExecRequest) -> Result<Session> {
        no()
    }

    async fn kill(&self, target: Target, signal: String) -> Result<()> {
        self.signals.lock().unwrap().push((target.instance, signal));
        Ok(())
    }

    async fn resize(&self, _: Target, _: u16, _: u16) -> Result<()> {
        no()
    }

    async fn stats(&self, _: Target, _: bool) -> Result<ResultStream<Stats>> {
        no()
    }

    async fn top(&self, _: Target, _: String) -> Result<ProcessTable> {
        no()
    }

    async fn stat_path(&self, _: Target, _: String) -> Result<PathStat> {
        no()
    }

    async fn read_archive(&self, _: Target, _: String) -> Result<(PathStat, ByteStream)> {
        no()
    }

    async fn write_archive(&self, _: Target, _: String, _: bool, _: ByteStream) -> Result<()> {
        no()
    }

    async fn diff(&self, _: Target) -> Result<Vec<Change>> {
        no()
    }

    async fn disk_size(&self, _: Target) -> Result<DiskSize> {
        no()
    }

    async fn guest(&self, _: Target) -> Result<GuestFacts> {
        no()
    }

    async fn commit(&self, _: Target, _: CommitRequest) -> Result<String> {
        no()
    }

    async fn export(&self, _: Target) -> Result<ByteStream> {
        no()
    }
}

#[async_trait]
impl link::BuildCalls for Calls {
    async fn build(
        &self,
        _: link::build::BuildRequest,
        _: ByteStream,
    ) -> Result<ResultStream<link::build::BuildStep>> {
        no()
    }

    async fn build_cache(&self) -> Result<Vec<link::build::BuildCache>> {
        no()
    }

    async fn build_prune(&self, _: bool) -> Result<link::build::BuildPruned> {
        no()
    }

    async fn build_kit(&self) -> Result<bool> {
        no()
    }

    async fn build_wire(&self, _: link::build::BuildWireKind) -> Result<link::build::BuildWire> {
        no()
    }
}

#[async_trait]
impl ImageCalls for Calls {
    async fn image_list(&self) -> Result<Vec<Image>> {
        Ok(Vec::new())
    }

    async fn image_show(&self, name: String) -> Result<Image> {
        match self.images.lock().unwrap().get(&name) {
            Some(id) => Ok(image(id)),
            None => Err(Error::not_found(format!("no image {name}"))),
        }
    }

    async fn image_pull(&self, request: PullRequest) -> Result<ResultStream<Progress>> {
        *self.pulls.lock().unwrap().entry(request.name).or_default() += 1;
        let done = Progress::Done { images: Vec::new(), unchanged: false };
        Ok(Box::pin(futures::stream::iter([Ok(done)])))
    }

    async fn image_push(&self, _: String, _: Option<Login>) -> Result<ResultStream<Progress>> {
        no()
    }

    async fn image_import(
        &self,
        _: ImportRequest,
        _: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        no()
    }

    async fn image_save(&self, _: Vec<String>) -> Result<ByteStream> {
        no()
    }

    async fn image_export(&self, _: String, _: String) -> Result<ByteStream> {
        no()
    }

    async fn image_tag(&self, _: String, _: String, _: bool) -> Result<()> {
        no()
    }

    async fn image_remove(&self, _: String, _: bool, _: bool) -> Result<Removed> {
        no()
    }

    async fn image_untag(&self, _: String) -> Result<()> {
        no()
    }

    async fn image_prune(&self, _: PruneRequest) -> Result<Removed> {
        no()
    }

    async fn image_detail(&self, _: String) -> Result<ImageDetail> {
        no()
    }

    async fn image_sizes(&self) -> Result<Vec<SizedImage>> {
        no()
    }

    async fn registry_look_up(&self, _: String, _: Option<Login>) -> Result<Listing> {
        no()
    }

    async fn registry_tags(&self, _: String, _: Option<Login>) -> Result<Vec<String>> {
        no()
    }

    async fn registry_search(&self, _: SearchRequest) -> Result<Vec<SearchHit>> {
        no()
    }

    async fn registry_check(&self, _: Login) -> Result<Login> {
        no()
    }

    async fn registry_login(&self, _: Login) -> Result<()> {
        no()
    }

    async fn registry_logout(&self, _: String) -> Result<()> {
        no()
    }
}

#[async_trait]
impl ConsoleCalls for Calls {
    async fn display(&self, _: Target) -> Result<Display> {
        no()
    }

    async fn screenshot(&self, _: Target) -> Result<Bytes> {
        no()
    }
}

#[async_trait]
impl MachineCalls for Calls {
    async fn check(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    async fn disk_usage(&self) -> Result<DiskUsage> {
        Ok(DiskUsage::default())
    }
}

/// The IPv4 address an instance was given first.
pub fn address(instance: &Instance) -> Ipv4Addr {
    let placed = instance.spec.placement.as_ref().expect("it is placed");
    placed.interfaces[0].ipv4.expect("it has an address").addr()
}

#[async_trait]
impl link::SnapshotCalls for Calls {
    async fn snapshots(&self, _: Target) -> Result<Vec<link::snapshot::MachineSnapshot>> {
        Ok(Vec::new())
    }

    async fn take_snapshot(
        &self,
        _: Target,
        request: link::snapshot::SnapshotRequest,
    ) -> Result<link::snapshot::MachineSnapshot> {
        if request.name == "taken" {
            return Err(Error::exists("there is a snapshot \"taken\""));
        }
        Ok(link::snapshot::MachineSnapshot {
            name: request.name,
            created: model::Time::from_unix(1, 0),
            memory: request.memory,
            consistent: false,
            disks: vec!["root".into()],
        })
    }

    async fn restore_snapshot(&self, _: Target, _: String) -> Result<()> {
        no()
    }

    async fn remove_snapshot(&self, _: Target, _: String) -> Result<()> {
        Ok(())
    }
}

/// It has one plugin.
#[async_trait]
impl StorageCalls for Calls {
    async fn plugin_names(&self) -> Result<Vec<String>> {
        Ok(vec![PLUGIN.to_owned()])
    }

    async fn plugins(&self) -> Result<Vec<Plugin>> {
        Ok(Vec::new())
    }

    async fn plugin_volumes(&self) -> Result<PluginVolumes> {
        Ok(PluginVolumes::default())
    }

    async fn plugin_volume(&self, storage: &str, _: &str) -> Result<Option<PluginVolume>> {
        Err(Error::not_found(format!("there is no storage plugin {storage:?}")))
    }

    async fn forget_volume(&self, _: &Uid) -> Result<()> {
        Ok(())
    }
}
