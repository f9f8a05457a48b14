//! What has become of volumes of plugins, each of which is worked on beside the others: a plugin may take
//! its time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::Uid;
use model::volume::{Volume, VolumeStatus};

/// What a plugin would not make is asked for again after so long.
const AGAIN: Duration = Duration::from_secs(30);

/// How far each volume has come.
#[derive(Debug, Clone, Default)]
pub struct Errands(Arc<Mutex<HashMap<Uid, Errand>>>);

/// Work on a volume.
#[derive(Debug)]
struct Errand {
    /// The record it began with.
    revision: u64,
    stage: Stage,
}

/// How far a volume has come. What the node is told of a status may be old, so this is remembered.
#[derive(Debug)]
pub enum Stage {
    /// Its plugin is at work.
    AtWork,
    /// It is there, and this was told of it.
    There(VolumeStatus),
    /// It could not be made, then.
    Failed(Instant),
    /// Its removal was tried.
    Tried,
}

impl Errands {
    /// Whether something is to be done for a volume, which is at work from now on.
    pub fn begin(&self, volume: &Volume) -> bool {
        let (revision, deleted) = (volume.meta.revision, volume.meta.deleted.is_some());
        let mut errands = self.lock();
        let due = match errands.get(&volume.meta.id) {
            None => true,
            Some(Errand { stage: Stage::AtWork, .. }) => false,
            Some(Errand { stage: Stage::Tried, revision: tried }) => *tried != revision,
            Some(_) if deleted => true,
            Some(Errand { stage: Stage::There(status), .. }) => {
                status.observed_generation != volume.meta.generation
            }
            Some(Errand { stage: Stage::Failed(then), .. }) => then.elapsed() >= AGAIN,
        };
        if due {
            errands.insert(volume.meta.id.clone(), Errand { revision, stage: Stage::AtWork });
        }
        due
    }

    /// Notes how far a volume has come.
    pub fn note(&self, id: &Uid, stage: Stage) {
        if let Some(errand) = self.lock().get_mut(id) {
            errand.stage = stage;
        }
    }

    /// What was told of a volume that is there.
    pub fn told(&self, id: &Uid) -> Option<VolumeStatus> {
        match &self.lock().get(id)?.stage {
            Stage::There(status) => Some(status.clone()),
            Stage::AtWork | Stage::Failed(_) | Stage::Tried => None,
        }
    }

    /// Forgets all but these, and those at work.
    pub fn keep(&self, volumes: &[Arc<Volume>]) {
        self.lock().retain(|id, errand| {
            matches!(errand.stage, Stage::AtWork) || volumes.iter().any(|it| it.meta.id == *id)
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Errand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use model::volume::VolumeSpec;
    use model::{Meta, Time};

    use super::*;

    #[test]
    fn each_thing_is_done_once() {
        let errands = Errands::default();
        let id = Uid::from_bytes([1; 32]);
        let meta = Meta::new("default", "v", id.clone(), Time::now());
        let mut volume = Volume::new(meta, VolumeSpec::default());
        let there = |generation| {
            Stage::There(VolumeStatus {
                observed_generation: generation,
                ..VolumeStatus::default()
            })
        };
        assert!(errands.begin(&volume), "it is to be made");
        assert!(!errands.begin(&volume), "it is being made");
        errands.note(&id, Stage::Failed(Instant::now()));
        assert!(!errands.begin(&volume), "not yet again");
        if let Some(then) = Instant::now().checked_sub(AGAIN) {
            errands.note(&id, Stage::Failed(then));
            assert!(errands.begin(&volume));
        }
        errands.note(&id, there(volume.meta.generation));
        assert!(errands.told(&id).is_some());
        assert!(!errands.begin(&volume), "it is there");
        volume.meta.revision += 1;
        volume.meta.deleted = Some(Time::now());
        assert!(errands.begin(&volume), "it is to be removed");
        errands.keep(&[]);
        assert!(!errands.begin(&volume), "it is being removed");
        errands.note(&id, Stage::Tried);
        assert!(!errands.begin(&volume), "its plugin keeps it");
        volume.meta.revision += 1;
        assert!(errands.begin(&volume), "somebody tries again");
        errands.note(&id, Stage::Tried);
        errands.keep(&[]);
        assert!(errands.told(&id).is_none() && errands.begin(&volume), "it was forgotten");
    }
}
