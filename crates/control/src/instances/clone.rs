//! A new machine made of a snapshot of another: what that one was asked to be, under an identity of its
//! own. Control writes down what its disks are to begin as; its node copies them before it starts first.

use std::collections::BTreeMap;
use std::sync::Arc;

use link::snapshot::MachineSnapshot;
use model::instance::{
    Attachment, DiskOptions, Instance, InstanceNoun, InstanceSpec, MachineSource, MachineSpec,
    MountKind, NetworkMode, Port, RunState,
};
use model::meta::Labels;
use model::name::check_name;
use model::volume::VolumeSpec;
use model::{Error, Kind, Result, Uid};

use super::Instances;
use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::core::Mode;
use crate::mirror::State;
use crate::service::{Context, New, find};

/// What a clone has of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CloneOptions {
    /// Its name.
    pub name: String,
    /// For selecting; those of the other machine are not taken over.
    pub labels: Labels,
    /// Ports of the host that lead to it; those of the other machine stay the other's.
    pub ports: Vec<Port>,
    /// Whether it starts at once.
    pub run: RunState,
}

impl Instances {
    /// Makes a machine of a snapshot of another. Its disks are copied when it starts first; what memory
    /// the snapshot has is left out, as it holds the other machine's addresses. Made already is fine.
    ///
    /// # Errors
    /// See [`snapshots`](Self::snapshots); `NotFound` for a snapshot that is not there, `Exists` for a name
    /// that something else has, `Conflict` when a disk of the snapshot was taken out of the machine.
    pub async fn clone_snapshot(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        snapshot: &str,
        asked: CloneOptions,
        mode: Mode,
    ) -> Result<Arc<Instance>> {
        authorise(caller, Verb::Create, Kind::Instance, project)?;
        check_name(&asked.name).map_err(|error| error.at("name"))?;
        let (node, target) = self.on_node(caller, Verb::Enter, project, name, "").await?;
        let kept = node.snapshots(target).await?;
        let kept = kept.iter().find(|it| it.name == snapshot).ok_or_else(|| {
            Error::not_found(format!("machine {name:?} has no snapshot {snapshot:?}"))
                .next(format!("hull snapshot ls {name}"))
        })?;
        let old = self.core.read(|state| find::<InstanceNoun>(state, project, name).cloned())?;
        let spec = spec_of(&old, kept, &asked)?;
        if let Ok(there) = self.get(caller, project, &asked.name)
            && there.meta.name == asked.name
            && source(&there) == spec.machine.as_ref().and_then(|machine| machine.source.as_ref())
        {
            return Ok(there);
        }
        let labels = asked.labels;
        let new = New { labels, ..New::<InstanceNoun>::named(&asked.name, spec) };
        self.create(caller, project, new, mode).await
    }
}

fn spec_of(
    old: &Instance,
    snapshot: &MachineSnapshot,
    asked: &CloneOptions,
) -> Result<InstanceSpec> {
    let image = old.status.containers.first().map(|seen| seen.image_digest.clone());
    let mut spec = InstanceSpec {
        run: asked.run,
        runs: 0,
        stop: None,
        placement: None,
        hostname: String::new(),
        ports: asked.ports.clone(),
        auto_remove: false,
        attended: false,
        ..old.spec.clone()
    };
    let disks = rename_disks(&mut spec, snapshot, &asked.name);
    let has = |name: &String| name == "root" || disks.values().any(|from| from == name);
    if let Some(gone) = snapshot.disks.iter().find(|name| !has(name)) {
        return Err(Error::conflict(format!(
            "snapshot {:?} has disk {gone:?}, which is no disk of machine {:?} any more",
            snapshot.name, old.meta.name
        ))
        .next(format!("put it in again: hull update --disk {gone} {}", old.meta.name)));
    }
    if let NetworkMode::Networks { attachments } = &mut spec.network {
        for attachment in attachments {
            let network = std::mem::take(&mut attachment.network);
            *attachment = Attachment { network, ..Attachment::default() };
        }
    }
    let source = MachineSource {
        machine: old.meta.name.clone(),
        id: Some(old.meta.id.clone()),
        snapshot: snapshot.name.clone(),
        taken: Some(snapshot.created),
        image: image.unwrap_or_default(),
        disks,
    };
    let machine = spec.machine.take().unwrap_or_default();
    spec.machine = Some(MachineSpec { source: Some(source), ..machine });
    Ok(spec)
}

/// Gives each disk that is in the snapshot a volume of its own, by the serial number that the guest knows;
/// leaves out the others. Returns what the new volumes begin as.
fn rename_disks(
    spec: &mut InstanceSpec,
    snapshot: &MachineSnapshot,
    name: &str,
) -> BTreeMap<String, String> {
    let mut disks = BTreeMap::new();
    let Some(main) = spec.containers.first_mut() else { return disks };
    main.mounts.retain(|mount| {
        let kept =
            mount.volume().is_some_and(|volume| snapshot.disks.iter().any(|it| it == volume));
        mount.disk.is_none() || kept
    });
    for mount in &mut main.mounts {
        let (Some(options), MountKind::Volume { name: volume, subpath, .. }) =
            (&mut mount.disk, &mut mount.kind)
        else {
            continue;
        };
        if options.serial.is_empty() {
            options.serial = DiskOptions::short_name(volume).into_owned();
        }
        subpath.clear();
        let new = disk_name(name, volume, &disks);
        disks.insert(new.clone(), std::mem::replace(volume, new));
    }
    disks
}

/// A name for a disk of the clone: its name and the disk's, or what of both there is room for.
fn disk_name(name: &str, disk: &str, taken: &BTreeMap<String, String>) -> String {
    const MOST: usize = DiskOptions::SERIAL;
    let whole = format!("{name}-{disk}");
    if whole.len() <= MOST && !taken.contains_key(&whole) {
        return whole;
    }
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let name = cut(name, 13);
    let names = (0..).map(|count| format!("{name}-{}{count}", cut(disk, 3)));
    names.into_iter().find(|name| !taken.contains_key(name)).unwrap_or(whole)
}

fn source(instance: &Instance) -> Option<&MachineSource> {
    instance.spec.machine.as_ref()?.source.as_ref()
}

/// Settles which machine a new one is made of.
pub(super) fn admit(context: &Context<'_>, instance: &mut Instance) -> Result<()> {
    let project = instance.meta.project.clone();
    let source = instance.spec.machine.as_mut().and_then(|machine| machine.source.as_mut());
    let Some(source) = source else { return Ok(()) };
    // Whoever has its disks can read what is in it.
    authorise(context.caller, Verb::Enter, Kind::Instance, &project)?;
    let at = |error: Error| error.at("spec.machine.source.machine");
    let from = find::<InstanceNoun>(context.state, &project, &source.machine).map_err(at)?;
    stay_inside(context.caller, from.spec.reach()).map_err(at)?;
    if from.meta.deleted.is_some() {
        return Err(at(Error::conflict(format!("{} is being removed", from.title()))));
    }
    if from.status.machine.is_none() {
        return Err(at(Error::unsupported(format!("{} is no machine", from.title()))));
    }
    source.machine.clone_from(&from.meta.name);
    source.id = Some(from.meta.id.clone());
    for name in source.disks.keys() {
        if context.state.volumes.by_name(&project, name).is_some() {
            return Err(Error::exists(format!(
                "there is a volume {name:?}, and a disk of the clone is to be called so"
            ))
            .at("spec.machine.source.disks")
            .next("choose another name for the clone, or remove that volume"));
        }
    }
    Ok(())
}

/// What a new volume of an instance is asked to be: as the one it begins as, if it is a disk of a clone.
pub(super) fn volume_spec(state: &State, instance: &Instance, name: &str) -> VolumeSpec {
    let from = source(instance).and_then(|source| source.disks.get(name));
    let from = from.and_then(|from| state.volumes.by_name(&instance.meta.project, from));
    match from {
        None => VolumeSpec::default(),
        Some(from) => VolumeSpec {
            storage: from.spec.storage.clone(),
            size: from.spec.size,
            options: from.spec.options.clone(),
            ..VolumeSpec::default()
        },
    }
}

/// A machine that is still to be made of a snapshot of this one: of any, or of that of this name.
pub(super) fn awaiting<'a>(
    state: &'a State,
    project: &'a str,
    id: &Uid,
    snapshot: Option<&str>,
) -> Option<&'a Arc<Instance>> {
    state.instances.in_project(project).find(|clone| {
        let copied = clone.status.machine.as_ref().is_some_and(|machine| machine.copied);
        let of_it = source(clone).is_some_and(|source| {
            source.id.as_ref() == Some(id) && snapshot.is_none_or(|name| source.snapshot == name)
        });
        of_it && !copied && clone.meta.deleted.is_none()
    })
}

/// Refuses to take away what a clone is still to be made of.
pub(super) fn refuse_needed(
    state: &State,
    instance: &Instance,
    snapshot: Option<&str>,
) -> Result<()> {
    let meta = &instance.meta;
    match awaiting(state, &meta.project, &meta.id, snapshot) {
        None => Ok(()),
        Some(clone) => {
            let what = match snapshot {
                Some(snapshot) => format!("snapshot {snapshot:?} of {}", instance.title()),
                None => instance.title(),
            };
            let name = &clone.meta.name;
            Err(Error::conflict(format!("{what} is still to be copied for machine {name:?}"))
                .next(format!("wait until it runs, or start it: hull start {name}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_of_a_clone_have_names_that_fit() {
        let mut taken = BTreeMap::new();
        for (name, disk, expected) in [
            ("copy", "data", "copy-data"),
            ("copy", "data", "copy-dat0"),
            ("a-rather-long-name", "data", "a-rather-long-dat0"),
            ("a-rather-long-name", "database", "a-rather-long-dat1"),
        ] {
            let found = disk_name(name, disk, &taken);
            assert_eq!(found, expected);
            assert!(found.len() <= DiskOptions::SERIAL);
            taken.insert(found, disk.to_owned());
        }
    }
}
