//! Volumes and snapshots that the node should have exist, those it should not don't.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use faults::may_die;
use link::Report;
use model::instance::{Mount, Reason};
use model::volume::{Snapshot, SnapshotStatus, Volume, VolumePhase, VolumeStatus};
use model::{Bytes, Kind, Result};
use tasks::Pass;
use volumes::{CreateSnapshot, VolumeId, VolumeInfo};

use crate::context::Context;
use crate::steps::request_of;

/// The pass.
pub struct Storage {
    context: Arc<Context>,
}

impl Storage {
    /// The pass of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn volume(&self, volume: &Volume) {
        if volume.meta.deleted.is_some() {
            return self.delete(volume).await;
        }
        let settled = volume.status.phase == VolumePhase::Ready
            && volume.status.reason.is_none()
            && volume.status.observed_generation == volume.meta.generation;
        if settled {
            return;
        }
        let mut status = match self.make(volume).await {
            Ok(info) => self.grow(volume, info).await,
            Err(error) => VolumeStatus {
                phase: VolumePhase::Failed,
                reason: Some(Reason::from_error("CannotMake", &error)),
                ..volume.status.clone()
            },
        };
        if status.size.is_some() {
            // Before it is told: cut short, it is done again.
            self.tell_machines(volume);
        }
        status.observed_generation = volume.meta.generation;
        self.context.outbox.put(Report::Volume(volume.meta.id.clone(), status));
    }

    async fn make(&self, volume: &Volume) -> Result<VolumeInfo> {
        let driver = self.context.volumes.as_ref();
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
        let driver = self.context.volumes.as_ref();
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
            Err(error) => {
                let status = VolumeStatus {
                    phase: VolumePhase::Removing,
                    reason: Some(Reason::from_error("CannotRemove", &error)),
                    ..volume.status.clone()
                };
                self.context.outbox.put(Report::Volume(volume.meta.id.clone(), status));
            }
        }
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
        let Some(volume) = &snapshot.spec.volume_id else { return };
        let request =
            CreateSnapshot { id, name: snapshot.meta.name.clone(), volume: VolumeId::from(volume) };
        let taken = self.context.volumes.create_snapshot(request).await;
        may_die("storage.taken");
        let status = match taken {
            Ok(info) => SnapshotStatus {
                phase: VolumePhase::Ready,
                reason: (!info.consistent).then(|| {
                    Reason::new("NotConsistent", "files were copied while they were in use")
                }),
                method: info.method.to_string(),
                taken: Some(info.taken),
                size: info.size,
            },
            Err(error) => SnapshotStatus {
                phase: VolumePhase::Failed,
                reason: Some(Reason::from_error("CannotTake", &error)),
                ..snapshot.status.clone()
            },
        };
        self.context.outbox.put(Report::Snapshot(snapshot.meta.id.clone(), status));
    }
}

fn ready(info: &VolumeInfo) -> VolumeStatus {
    VolumeStatus {
        phase: VolumePhase::Ready,
        format: info.format.to_string(),
        path: info.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        size: info.size,
        method: info.method.map(|method| method.to_string()).unwrap_or_default(),
        ..VolumeStatus::default()
    }
}

impl Pass for Storage {
    const NAME: &'static str = "storage";

    async fn pass(&mut self) -> Result<String> {
        let desired = self.context.desired.borrow().clone();
        for snapshot in &desired.snapshots {
            self.snapshot(snapshot).await;
        }
        for volume in &desired.volumes {
            self.volume(volume).await;
        }
        Ok(format!("{} volumes, {} snapshots", desired.volumes.len(), desired.snapshots.len()))
    }
}
