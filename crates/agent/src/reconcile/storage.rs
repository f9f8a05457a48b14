//! Volumes and snapshots that the node should have exist, those it should not don't.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use containers::hold::{self, Hold};
use containers::{ContainerId, NoneBegins};
use faults::may_die;
use link::Report;
use model::instance::{Instance, Mount, Phase, Reason};
use model::volume::{LOCAL, Snapshot, SnapshotStatus, Volume, VolumePhase, VolumeStatus};
use model::{Bytes, Kind, Result, Uid};
use tasks::Pass;
use volumes::{CreateSnapshot, Driver as _, SnapshotInfo, VolumeId, VolumeInfo};

use super::errands::{Errands, Stage};
use crate::context::Context;
use crate::local::Local;
use crate::observe::engine_id;
use crate::steps::request_of;

/// Longest time that those who write are held still for the copies of a group. Copies that take longer are
/// finished while they go on.
const LONGEST_HOLD: Duration = Duration::from_secs(5);
/// Longest wait for those who write to be known.
const SETTLING: Duration = Duration::from_secs(10);

/// The pass.
#[derive(Clone)]
pub struct Storage {
    context: Arc<Context>,
    errands: Errands,
    /// What was told of snapshots of groups.
    groups: Arc<Mutex<BTreeMap<Uid, SnapshotStatus>>>,
}

impl Storage {
    /// The pass of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, errands: Errands::default(), groups: Arc::default() }
    }

    /// Works on a plugin's volume beside the others.
    async fn send(&self, volume: &Arc<Volume>) {
        if !self.errands.begin(volume) {
            return self.tell_place(volume).await;
        }
        let (storage, volume) = (self.clone(), volume.clone());
        tokio::spawn(async move {
            let stage = storage.volume(&volume).await;
            storage.errands.note(&volume.meta.id, stage);
            storage.look_again(&volume);
        });
    }

    /// Tells where a plugin's volume is, which is known only while it is mounted.
    async fn tell_place(&self, volume: &Volume) {
        let id = &volume.meta.id;
        let Some(told) = self.errands.told(id) else { return };
        let Ok(info) = self.context.volumes.show(&VolumeId::from(id)).await else { return };
        let status = VolumeStatus { path: place(&info), ..told.clone() };
        if status != told {
            self.errands.note(id, Stage::There(status.clone()));
            self.context.outbox.put(Report::Volume(id.clone(), status));
        }
    }

    /// Wakes the pass if more was asked of a volume while a plugin was at work on it.
    fn look_again(&self, begun: &Volume) {
        let desired = self.context.desired.borrow().clone();
        let now = desired.volumes.iter().find(|volume| volume.meta.id == begun.meta.id);
        if now.is_some_and(|now| now.meta.revision != begun.meta.revision) {
            self.context.storage.wake();
        }
    }

    async fn volume(&self, volume: &Volume) -> Stage {
        if volume.meta.deleted.is_some() {
            self.delete(volume).await;
            return Stage::Tried;
        }
        if is_settled(volume) {
            return Stage::There(volume.status.clone());
        }
        let (mut status, stage): (_, fn(VolumeStatus) -> Stage) = match self.make(volume).await {
            Ok(info) => (self.grow(volume, info).await, Stage::There),
            Err(error) => {
                let reason = Some(Reason::from_error("CannotMake", &error));
                let phase = VolumePhase::Failed;
                let status = VolumeStatus { phase, reason, ..volume.status.clone() };
                (status, |_| Stage::Failed(Instant::now()))
            }
        };
        if status.size.is_some() {
            // Before it is told: cut short, it is done again.
            self.tell_machines(volume);
        }
        status.observed_generation = volume.meta.generation;
        self.context.outbox.put(Report::Volume(volume.meta.id.clone(), status.clone()));
        stage(status)
    }

    async fn make(&self, volume: &Volume) -> Result<VolumeInfo> {
        let driver = &self.context.volumes;
        match driver.show(&VolumeId::from(&volume.meta.id)).await {
            Ok(info) => Ok(info),
            Err(_) => {
                let made = driver.create(request_of(&self.context, volume)?).await?;
                may_die("storage.made");
                Ok(made)
            }
        }
    }

    /// Gives a volume the size it should have. One that cannot have it now is as good as it was.
    async fn grow(&self, volume: &Volume, info: VolumeInfo) -> VolumeStatus {
        let wanted = volume.spec.size.filter(|size| info.size.is_none_or(|has| has < *size));
        let Some(size) = wanted else { return ready(&info) };
        match self.expand(&info, size).await {
            Ok(larger) => ready(&larger),
            Err(error) => VolumeStatus {
                reason: Some(Reason::from_error("CannotGrow", &error)),
                ..ready(&info)
            },
        }
    }

    async fn expand(&self, info: &VolumeInfo, size: Bytes) -> Result<VolumeInfo> {
        let driver = &self.context.volumes;
        let expanded = driver.expand(&info.id, size).await?;
        may_die("storage.grown");
        if expanded.node_expansion_required && info.staged() {
            driver.node_expand(&info.id).await?;
        }
        driver.show(&info.id).await
    }

    /// Wakes the machines that have a disk in a volume: it may fill the volume.
    fn tell_machines(&self, volume: &Volume) {
        self.context.storage_grown.fetch_add(1, Ordering::Release);
        for (_, handle) in self.context.roster.all() {
            let wanted = handle.wanted.borrow();
            let mut mounts = wanted.spec.all_containers().flat_map(|container| &container.mounts);
            let is = |mount: &Mount| {
                mount.disk.is_some() && mount.volume() == Some(volume.meta.name.as_str())
            };
            if wanted.meta.project == volume.meta.project && mounts.any(is) {
                handle.poke.notify_one();
            }
        }
    }

    async fn delete(&self, volume: &Volume) {
        match self.context.volumes.delete(&VolumeId::from(&volume.meta.id)).await {
            Ok(()) => {
                may_die("storage.removed");
                let removed = Report::Removed(Kind::Volume, volume.meta.id.clone());
                self.context.outbox.put(removed);
            }
            Err(error) if volume.spec.storage != LOCAL => {
                let mut reason = Reason::from_error(CANNOT_REMOVE, &error);
                let next = reason.next.map(|next| format!("{next}, or ")).unwrap_or_default();
                let name = &volume.meta.name;
                reason.next = Some(format!("{next}give it up: `hull volume rm --forget {name}`"));
                self.context.outbox.put(Report::Kept(volume.meta.id.clone(), reason));
            }
            Err(error) => {
                let status = VolumeStatus {
                    phase: VolumePhase::Removing,
                    reason: Some(Reason::from_error(CANNOT_REMOVE, &error)),
                    ..volume.status.clone()
                };
                self.context.outbox.put(Report::Volume(volume.meta.id.clone(), status));
            }
        }
    }

    /// Takes the snapshots of a group while nobody writes to their volumes (decision 152). Those of a group of
    /// which some were told are finished one by one.
    async fn group(&self, group: &[&Snapshot], instances: &[Arc<Instance>]) {
        let is_new = |it: &&Snapshot| it.status.phase == VolumePhase::Pending;
        if !group.iter().all(is_new) {
            for snapshot in group {
                self.snapshot(snapshot).await;
            }
            return;
        }
        // What this node is told may be older than what it has told: they are taken once.
        let told: Vec<Report> = {
            let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            let told = group.iter().filter_map(|it| Some((it, groups.get(&it.meta.id)?)));
            told.map(|(it, status)| Report::Snapshot(it.meta.id.clone(), status.clone())).collect()
        };
        if !told.is_empty() {
            return told.into_iter().for_each(|report| self.context.outbox.put(report));
        }
        // What an earlier try left, which was told to nobody, may be of another moment.
        for snapshot in group {
            let id = VolumeId::from(&snapshot.meta.id);
            if let Err(error) = self.context.volumes.delete_snapshot(&id).await {
                tracing::warn!(snapshot = %snapshot.meta.name, error = error.chain(), "cannot clear");
                return;
            }
        }
        let hold = self.hold(group, instances).await;
        let mut taken = Vec::new();
        for snapshot in group {
            taken.push(self.take(snapshot).await);
        }
        let together = match hold {
            Writers::Held(hold, _gates) => hold.end().await,
            Writers::None => true,
            Writers::GoOn => false,
        };
        let together = together && taken.iter().all(|it| it.as_ref().is_some_and(Result::is_ok));
        for (snapshot, taken) in group.iter().zip(taken) {
            let Some(taken) = taken else { continue };
            let status = self.tell_taken(snapshot, taken, together);
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.insert(snapshot.meta.id.clone(), status);
        }
    }

    /// Holds still whoever has the volumes of a group.
    async fn hold(&self, group: &[&Snapshot], instances: &[Arc<Instance>]) -> Writers {
        let volumes: BTreeSet<(&str, &str)> =
            group.iter().map(|it| (it.meta.project.as_str(), it.spec.volume.as_str())).collect();
        let writes = |instance: &&Arc<Instance>| {
            let mut mounts = instance.spec.all_containers().flat_map(|it| &it.mounts);
            let project = instance.meta.project.as_str();
            mounts.any(|it| it.volume().is_some_and(|name| volumes.contains(&(project, name))))
        };
        let mut containers: Vec<(Option<Phase>, Vec<ContainerId>)> = Vec::new();
        for instance in instances.iter().filter(writes) {
            let phase = self.settled(instance).await;
            let ids = instance.spec.all_containers().filter_map(|container| {
                engine_id(&instance.meta.id, &instance.spec, &container.name)
            });
            containers.push((phase, ids.collect()));
        }
        let Some(gates) = self.none_begins(containers.iter().flat_map(|(_, ids)| ids)).await else {
            return Writers::GoOn;
        };
        let parent = format!("/hull-{}", self.context.tag);
        let mut cgroups = Vec::new();
        for (phase, ids) in containers {
            let before = cgroups.len();
            cgroups.extend(ids.iter().filter_map(|id| hold::cgroup(&parent, id)));
            let held = match phase {
                Some(Phase::Running) => cgroups.len() > before,
                // It runs for all that is known, or may go on at any moment.
                None | Some(Phase::Creating | Phase::Restarting | Phase::Paused) => false,
                Some(Phase::Pending | Phase::Exited | Phase::Failed | Phase::Removing) => true,
            };
            if !held {
                return Writers::GoOn;
            }
        }
        if cgroups.is_empty() {
            return Writers::None;
        }
        match Hold::begin(&self.context.program, cgroups, LONGEST_HOLD).await {
            Ok(hold) => hold.map_or(Writers::GoOn, |hold| Writers::Held(Box::new(hold), gates)),
            Err(error) => {
                tracing::warn!(%error, "those that write to volumes are not held still");
                Writers::GoOn
            }
        }
    }

    /// Waits until nothing is beginning in these, a shorter time than who copies would mind; what comes
    /// meanwhile waits for the copy. Always in one order, so that two who wait do not wait for each other.
    async fn none_begins(
        &self,
        containers: impl Iterator<Item = &ContainerId>,
    ) -> Option<Vec<NoneBegins>> {
        let containers: BTreeSet<&ContainerId> = containers.collect();
        let all = async {
            let mut gates = Vec::new();
            for id in containers {
                gates.push(self.context.engine.none_begins(id).await);
            }
            gates
        };
        let gates = tokio::time::timeout(SETTLING, all).await;
        if gates.is_err() {
            tracing::warn!("processes that begin take long: those that write are not held still");
        }
        gates.ok()
    }

    /// How an instance is, once it neither begins nor is still to be taken over after a start of ours.
    async fn settled(&self, instance: &Instance) -> Option<Phase> {
        let handle = self.context.roster.awaited(&instance.meta.id, SETTLING).await?;
        let is_settled = |local: &Arc<Local>| match local.status.phase {
            Phase::Pending => instance.spec.runs == 0,
            Phase::Creating | Phase::Restarting => false,
            Phase::Running | Phase::Paused | Phase::Exited | Phase::Failed | Phase::Removing => {
                true
            }
        };
        let mut known = handle.known.clone();
        let settled = tokio::time::timeout(SETTLING, known.wait_for(is_settled)).await;
        settled.ok()?.ok().map(|local| local.status.phase)
    }

    async fn snapshot(&self, snapshot: &Snapshot) {
        let id = VolumeId::from(&snapshot.meta.id);
        if snapshot.meta.deleted.is_some() {
            if let Err(error) = self.context.volumes.delete_snapshot(&id).await {
                tracing::warn!(snapshot = %snapshot.meta.name, error = error.chain(), "cannot remove");
                return;
            }
            may_die("storage.dropped");
            let removed = Report::Removed(Kind::Snapshot, snapshot.meta.id.clone());
            return self.context.outbox.put(removed);
        }
        if snapshot.status.phase == VolumePhase::Ready {
            return;
        }
        if let Some(taken) = self.take(snapshot).await {
            drop(self.tell_taken(snapshot, taken, false));
        }
    }

    async fn take(&self, snapshot: &Snapshot) -> Option<Result<SnapshotInfo>> {
        let id = VolumeId::from(&snapshot.meta.id);
        let volume = VolumeId::from(snapshot.spec.volume_id.as_ref()?);
        let request = CreateSnapshot { id, name: snapshot.meta.name.clone(), volume };
        let taken = self.context.volumes.create_snapshot(request).await;
        may_die("storage.taken");
        Some(taken)
    }

    /// Tells what became of a snapshot.
    fn tell_taken(
        &self,
        snapshot: &Snapshot,
        taken: Result<SnapshotInfo>,
        together: bool,
    ) -> SnapshotStatus {
        let status = match taken {
            Ok(info) => SnapshotStatus {
                phase: VolumePhase::Ready,
                reason: (!info.consistent && !together).then(|| {
                    Reason::new("NotConsistent", "files were copied while they were in use")
                }),
                method: info.method.to_string(),
                taken: Some(info.taken),
                size: info.size,
                together,
            },
            Err(error) => SnapshotStatus {
                phase: VolumePhase::Failed,
                reason: Some(Reason::from_error("CannotTake", &error)),
                ..snapshot.status.clone()
            },
        };
        self.context.outbox.put(Report::Snapshot(snapshot.meta.id.clone(), status.clone()));
        status
    }
}

/// Those that write to the volumes of a group.
enum Writers {
    /// They are held still, and nothing begins in them.
    Held(Box<Hold>, Vec<NoneBegins>),
    /// There are none.
    None,
    /// They cannot be held.
    GoOn,
}

/// Why a volume is still there.
const CANNOT_REMOVE: &str = "CannotRemove";

/// Whether a volume is as it should be. That it would not be removed is no fault of it.
fn is_settled(volume: &Volume) -> bool {
    let reason = volume.status.reason.as_ref();
    volume.status.phase == VolumePhase::Ready
        && reason.is_none_or(|reason| reason.code == CANNOT_REMOVE)
        && volume.status.observed_generation == volume.meta.generation
}

fn place(info: &VolumeInfo) -> String {
    info.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

fn ready(info: &VolumeInfo) -> VolumeStatus {
    VolumeStatus {
        phase: VolumePhase::Ready,
        format: info.format.to_string(),
        path: place(info),
        size: info.size,
        method: info.method.map(|method| method.to_string()).unwrap_or_default(),
        ..VolumeStatus::default()
    }
}

impl Pass for Storage {
    const NAME: &'static str = "storage";

    async fn pass(&mut self) -> Result<String> {
        let desired = self.context.desired.borrow().clone();
        let mut groups: BTreeMap<&str, Vec<&Snapshot>> = BTreeMap::new();
        for snapshot in &desired.snapshots {
            match snapshot.spec.group.as_deref().filter(|_| snapshot.meta.deleted.is_none()) {
                Some(group) => groups.entry(group).or_default().push(snapshot),
                None => self.snapshot(snapshot).await,
            }
        }
        for group in groups.values() {
            self.group(group, &desired.instances).await;
        }
        let is_there = |id: &Uid| desired.snapshots.iter().any(|it| it.meta.id == *id);
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| is_there(id));
        for volume in &desired.volumes {
            match volume.spec.storage == LOCAL {
                true => drop(self.volume(volume).await),
                false => self.send(volume).await,
            }
        }
        self.errands.keep(&desired.volumes);
        Ok(format!("{} volumes, {} snapshots", desired.volumes.len(), desired.snapshots.len()))
    }
}
