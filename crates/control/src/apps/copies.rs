//! Copies of an app's volumes: taken before a revision is brought about, and put in the place of the
//! volumes when somebody goes back with them.
//!
//! A copy becomes a volume of its own beside the present one, and the app has that from then on. What
//! somebody wrote since is still there, in the volume that it had before.

use std::collections::BTreeMap;

use model::app::{App, AppObjects, Restored, VolumeCopy};
use model::instance::{MountKind, Reason};
use model::volume::{LOCAL, Snapshot, VolumePhase, VolumeSource};
use model::{Error, Result};

use crate::mirror::State;
use crate::volumes::cannot_copy;

/// Most revisions whose copies are kept: they may be as large as the volumes.
const MOST_KEPT: usize = 3;

/// What is to be done about copies before a revision is brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// None are wanted, or all are there and known.
    Nothing,
    /// These are there.
    Taken(Vec<VolumeCopy>),
    /// These are to be taken, together.
    Take(Vec<VolumeCopy>),
    /// One is on its way.
    Wait(Reason),
    /// One could not be taken.
    Failed(Reason),
}

/// Says what is next.
pub(crate) fn next(state: &State, app: &App) -> Next {
    if !app.spec.copy_volumes || app.status.copied == Some(app.spec.revision) {
        return Next::Nothing;
    }
    let mut copies = wanted(state, app);
    let there = |copy: &VolumeCopy| state.snapshots.by_name(&app.meta.project, &copy.snapshot);
    let missing: Vec<_> = copies.iter().filter(|copy| there(copy).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Next::Take(missing);
    }
    for copy in &mut copies {
        let Some(there) = there(copy) else { continue };
        copy.together = there.status.together;
        match there.status.phase {
            VolumePhase::Ready if model::app::is_of(&there.meta, &app.meta.id) => {}
            VolumePhase::Ready => {
                return Next::Failed(Reason::new(
                    "VolumesNotCopied",
                    format!("{} is not this app's", there.title()),
                ));
            }
            VolumePhase::Pending => {
                let message = format!("volume {:?} is copied before it is changed", copy.volume);
                return Next::Wait(Reason::new("VolumesAreCopied", message));
            }
            VolumePhase::Failed | VolumePhase::Removing => return Next::Failed(failure(there)),
        }
    }
    Next::Taken(copies)
}

fn failure(snapshot: &Snapshot) -> Reason {
    let why = snapshot.status.reason.as_ref().map(|reason| format!(": {}", reason.message));
    Reason {
        code: "VolumesNotCopied".to_owned(),
        message: format!("{} could not be taken{}", snapshot.title(), why.unwrap_or_default()),
        next: Some("go on without: --no-snapshot".to_owned()),
    }
}

/// The volumes that are there and can be copied, and what their copies are called.
fn wanted(state: &State, app: &App) -> Vec<VolumeCopy> {
    let own = app.spec.objects.volumes.iter().filter(|it| !it.object.external);
    let copy = |volume: &model::app::AppVolume| {
        let name = &volume.object.name;
        let there = state.volumes.by_name(&app.meta.project, name)?;
        let ready = there.spec.storage == LOCAL && there.status.phase == VolumePhase::Ready;
        let snapshot = format!("{name}-before-{}", app.spec.revision);
        let good = ready && there.spec.node.is_some() && model::name::check_name(&snapshot).is_ok();
        good.then(|| VolumeCopy {
            key: volume.object.key.clone(),
            volume: name.clone(),
            snapshot,
            together: false,
        })
    };
    own.filter_map(copy).collect()
}

/// A copy that is kept for a revision that is not, or for too old a one, in the order of names.
pub(crate) fn surplus<'a>(state: &'a State, app: &'a App) -> Option<&'a Snapshot> {
    // Those of the present revision are not known before all of them are there.
    if app.spec.copy_volumes && app.status.copied != Some(app.spec.revision) {
        return None;
    }
    let known = |name: &str| {
        let mut copies = app.status.revisions.iter().flat_map(|revision| &revision.copies);
        copies.any(|copy| copy.snapshot == name)
    };
    let mut snapshots = state.snapshots.in_project(&app.meta.project).map(|it| &**it);
    snapshots.find(|it| {
        model::app::is_of(&it.meta, &app.meta.id)
            && it.meta.deleted.is_none()
            && !known(&it.meta.name)
            && !is_read(state, it)
    })
}

/// Whether a volume is still to be filled from it.
fn is_read(state: &State, snapshot: &Snapshot) -> bool {
    let from = VolumeSource::Snapshot(snapshot.meta.name.clone());
    state.volumes.in_project(&snapshot.meta.project).any(|volume| {
        volume.spec.source.as_ref() == Some(&from) && volume.status.phase == VolumePhase::Pending
    })
}

/// Writes which copies a revision has, and forgets those of revisions too old.
pub(crate) fn note(app: &mut App, copies: Vec<VolumeCopy>) {
    let number = app.spec.revision;
    app.status.copied = Some(number);
    let revisions = &mut app.status.revisions;
    if let Some(entry) = revisions.iter_mut().find(|it| it.number == number) {
        entry.copies = copies;
    }
    let with = revisions.iter_mut().rev().filter(|it| !it.copies.is_empty());
    with.skip(MOST_KEPT).for_each(|it| it.copies.clear());
}

/// Names of volumes that are other ones than the files say, and what new ones of them begin with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PutBack {
    restored: BTreeMap<String, Restored>,
    from: BTreeMap<String, String>,
}

/// What going back to a revision with its volumes takes: the copies that were taken when it was left.
///
/// # Errors
/// `Conflict` when there are none, or not of all volumes; `Unsupported` for volumes in storage that
/// makes none.
pub(crate) fn put_back(state: &State, app: &App, to: u64, target: &AppObjects) -> Result<PutBack> {
    let without = || format!("without its volumes: hull app rollback --to {to} {}", app.meta.name);
    let left = app.status.revisions.iter().filter(|it| it.number > to);
    let left = left.filter(|it| !it.copies.is_empty()).min_by_key(|it| it.number);
    let own = || target.volumes.iter().filter(|it| !it.object.external);
    for volume in own() {
        let there = state.volumes.by_name(&app.meta.project, &volume.object.name);
        if let Some(there) = there.filter(|it| it.spec.storage != LOCAL) {
            return Err(cannot_copy(there).next(without()));
        }
    }
    let Some(left) = left else {
        return Err(Error::conflict(format!(
            "no copies of the volumes of {} from revision {to} are kept",
            app.title()
        ))
        .next(without()));
    };
    let number = app.status.revisions.iter().map(|it| it.number).max().unwrap_or(0) + 1;
    let mut put_back = PutBack::default();
    for volume in own() {
        let key = &volume.object.key;
        let copy = left.copies.iter().find(|it| it.key == *key);
        let there = copy.and_then(|it| state.snapshots.by_name(&app.meta.project, &it.snapshot));
        let there = there.filter(|it| it.status.phase == VolumePhase::Ready);
        let Some(there) = there.filter(|it| it.meta.deleted.is_none()) else {
            return Err(Error::conflict(format!(
                "no copy of volume {key:?} of {} from revision {to} is kept",
                app.title()
            ))
            .next(without()));
        };
        let known = app.spec.restored.get(key).map(|it| it.from.clone());
        let from = known.unwrap_or_else(|| volume.object.name.clone());
        let name = format!("{from}-r{number}");
        put_back.from.insert(key.clone(), there.meta.name.clone());
        put_back.restored.insert(key.clone(), Restored { from, name });
    }
    Ok(put_back)
}

/// Has objects mount the volumes that the app has since it went back with some.
pub(super) fn apply(
    old: &BTreeMap<String, Restored>,
    put_back: Option<&PutBack>,
    objects: &mut AppObjects,
) -> BTreeMap<String, Restored> {
    let mut restored = old.clone();
    if let Some(put_back) = put_back {
        restored.extend(put_back.restored.clone());
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for volume in objects.volumes.iter_mut().filter(|it| !it.object.external) {
        let Some(Restored { from, name }) = restored.get(&volume.object.key) else { continue };
        let now = &mut volume.object.name;
        // Where the author has given it another name, that is another volume.
        let is_it = now == from || now.strip_prefix(from.as_str()).is_some_and(is_restored);
        if !is_it {
            continue;
        }
        names.insert(std::mem::replace(now, name.clone()), name.clone());
        if let Some(snapshot) = put_back.and_then(|it| it.from.get(&volume.object.key)) {
            volume.spec.source = Some(VolumeSource::Snapshot(snapshot.clone()));
        }
    }
    for service in &mut objects.services {
        let spec = &mut service.spec.template.spec;
        let mounts = spec.init.iter_mut().chain(&mut spec.containers).flat_map(|it| &mut it.mounts);
        for mount in mounts {
            match &mut mount.kind {
                MountKind::Volume { name, .. } => {
                    if let Some(other) = names.get(name) {
                        name.clone_from(other);
                    }
                }
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => {}
            }
        }
    }
    restored
}

/// Whether the end of a name is that of a volume that was put back.
fn is_restored(end: &str) -> bool {
    let digits = end.strip_prefix("-r").unwrap_or_default();
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}
