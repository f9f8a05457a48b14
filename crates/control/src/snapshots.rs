//! Snapshots: copies of volumes at a point in time.

use model::volume::{LOCAL, Snapshot, SnapshotNoun, VolumeNoun, VolumePhase, VolumeSource};
use model::{Error, Result};

use crate::batch::Batch;
use crate::reconcile::AGENT;
use crate::service::{Context, Rules, Service, find, first_difference};
use crate::volumes::cannot_copy;

/// The verbs of snapshots.
pub type Snapshots = Service<SnapshotNoun>;

impl Rules for SnapshotNoun {
    fn admit(context: &Context<'_>, snapshot: &mut Snapshot, _: &mut Batch) -> Result<()> {
        let project = &snapshot.meta.project;
        let volume = find::<VolumeNoun>(context.state, project, &snapshot.spec.volume)
            .map_err(|error| error.at("spec.volume"))?;
        if volume.spec.storage != LOCAL {
            return Err(cannot_copy(volume).at("spec.volume"));
        }
        let refuse = |why: &str| {
            let error = Error::conflict(format!("{} {why}", volume.title())).at("spec.volume");
            Err(error.next("try again when the volume is ready"))
        };
        if volume.meta.deleted.is_some() {
            return refuse("is being removed");
        }
        if volume.spec.node.is_none() || volume.status.phase != VolumePhase::Ready {
            return refuse("does not exist on a node yet");
        }
        snapshot.spec.volume.clone_from(&volume.meta.name);
        snapshot.spec.volume_id = Some(volume.meta.id.clone());
        snapshot.spec.node.clone_from(&volume.spec.node);
        snapshot.meta.finalizers = vec![AGENT.to_owned()];
        Ok(())
    }

    fn change(
        context: &Context<'_>,
        old: &Snapshot,
        new: &mut Snapshot,
        _: &mut Batch,
    ) -> Result<()> {
        if let Some(field) = first_difference(&old.spec, &new.spec, &[]) {
            let field = format!("spec.{field}");
            return Err(Error::conflict(format!("{field} of {} cannot change", old.title()))
                .at(field)
                .next("take another snapshot"));
        }
        unused(context, old)
    }

    fn delete(context: &Context<'_>, snapshot: &mut Snapshot, _: &mut Batch) -> Result<()> {
        unused(context, snapshot)
    }
}

fn unused(context: &Context<'_>, snapshot: &Snapshot) -> Result<()> {
    let from = VolumeSource::Snapshot(snapshot.meta.name.clone());
    let mut volumes = context.state.volumes.in_project(&snapshot.meta.project);
    let reader = volumes.find(|volume| {
        volume.spec.source.as_ref() == Some(&from) && volume.status.phase == VolumePhase::Pending
    });
    match reader {
        None => Ok(()),
        Some(volume) => Err(Error::conflict(format!(
            "{} is being read by {}",
            snapshot.title(),
            volume.title()
        ))
        .next("try again when the volume is ready")),
    }
}
