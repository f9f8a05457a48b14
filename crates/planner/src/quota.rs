//! What the things of a project take of its quota, and whether more may be had.

use std::collections::HashMap;

use model::instance::{DiskOptions, Instance, Mount, MountKind, RunState};
use model::project::{Project, Quota, Resource, Used};
use model::volume::Volume;
use model::{Bytes, Cpus};

use crate::hold::holds;
use crate::refusal::Refusal;

/// What the things of one project have.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of instances, and of root disks.
    sum: Used,
    /// Volumes by name, with what they may hold as far as that is known.
    volumes: HashMap<String, u64>,
}

impl Tally {
    /// Enters an instance that has a node.
    pub fn enter(&mut self, instance: &Instance) {
        if holds(instance) {
            add(&mut self.sum, &running(instance));
        }
        let root = root(instance);
        self.sum.storage.0 = self.sum.storage.0.saturating_add(root);
        for (name, options) in disks(instance) {
            self.enter_disk(name, options);
        }
    }

    /// Enters a volume that has a node.
    pub fn enter_volume(&mut self, volume: &Volume) {
        let known = self.volumes.entry(volume.meta.name.clone()).or_default();
        *known = (*known).max(size(volume).unwrap_or_default());
    }

    /// Enters the disk in a volume, which is as large as the volume unless it is told otherwise.
    fn enter_disk(&mut self, name: &str, options: &DiskOptions) {
        let known = self.volumes.entry(name.to_owned()).or_default();
        *known = match options.size {
            Some(size) => (*known).max(size.0),
            None if *known == 0 => DiskOptions::SIZE.0,
            None => *known,
        };
    }

    /// The whole.
    #[must_use]
    pub fn used(&self) -> Used {
        let disks =
            self.volumes.values().fold(self.sum.storage.0, |sum, it| sum.saturating_add(*it));
        Used { volumes: self.volumes.len() as u64, storage: Bytes(disks), ..self.sum.clone() }
    }
}

/// A project's quota, and what is used of it.
#[derive(Debug, Clone)]
pub(crate) struct Book<'a> {
    pub(crate) quota: &'a Quota,
    pub(crate) tally: Tally,
}

/// An empty book for each project that has a quota.
pub(crate) fn books<'a>(projects: &[&'a Project]) -> HashMap<&'a str, Book<'a>> {
    let bounded = projects.iter().filter(|project| !project.spec.quota.is_unbounded());
    let book = |project: &&'a Project| {
        let book = Book { quota: &project.spec.quota, tally: Tally::default() };
        (project.meta.name.as_str(), book)
    };
    bounded.map(book).collect()
}

impl Book<'_> {
    /// Whether an instance may have what it asks for, with its volumes.
    pub(crate) fn admits(&self, instance: &Instance, volumes: &[&Volume]) -> Result<(), Refusal> {
        let mut after = self.tally.clone();
        if instance.spec.run != RunState::Stopped {
            has_limits(self.quota, instance)?;
            add(&mut after.sum, &running(instance));
        }
        after.sum.storage.0 = after.sum.storage.0.saturating_add(root(instance));
        for volume in volumes {
            if disks(instance).all(|(name, _)| name != volume.meta.name) {
                has_size(self.quota, volume)?;
            }
            after.enter_volume(volume);
        }
        disks(instance).for_each(|(name, options)| after.enter_disk(name, options));
        let meta = &instance.meta;
        let what = format!("instance {:?}", meta.name);
        within(self.quota, &meta.project, &what, &self.tally.used(), &after.used())
    }

    /// Whether there may be one more volume.
    pub(crate) fn admits_volume(&self, volume: &Volume) -> Result<(), Refusal> {
        has_size(self.quota, volume)?;
        let mut after = self.tally.clone();
        after.enter_volume(volume);
        let what = format!("volume {:?}", volume.meta.name);
        within(self.quota, &volume.meta.project, &what, &self.tally.used(), &after.used())
    }
}

/// Whether what a project has afterwards is within its quota, of everything of which it is more than before:
/// what was had before a quota was made smaller can be kept, and given up.
///
/// # Errors
/// The first thing of which it would be too much.
pub fn within(
    quota: &Quota,
    project: &str,
    what: &str,
    before: &Used,
    after: &Used,
) -> Result<(), Refusal> {
    for resource in Resource::ALL {
        let Some(bound) = resource.bound(quota) else { continue };
        let (had, wants) = (resource.amount(before), resource.amount(after));
        if wants <= bound || wants <= had {
            continue;
        }
        let word = resource.as_str();
        let message = format!(
            "project {project:?} has a quota of {} for {word}: {} used, and {what} wants {} more",
            resource.show(bound),
            resource.show(had),
            resource.show(wants - had),
        );
        let next = format!(
            "stop or remove something in the project, or have an admin raise it: `hull project \
             update {project} --quota {word}=…`"
        );
        return Err(Refusal::anywhere("QuotaExceeded", message, &next));
    }
    Ok(())
}

/// Refuses an instance that has no limit of what its project has a quota of: what it would take is not known.
///
/// # Errors
/// The limit that is missing.
pub fn has_limits(quota: &Quota, instance: &Instance) -> Result<(), Refusal> {
    let spec = &instance.spec;
    let wants = [
        (quota.cpus.is_some() && spec.cpu_limit().is_none(), "cpus", "--cpus 0.5"),
        (quota.memory.is_some() && spec.memory_limit().is_none(), "memory", "--memory 256m"),
    ];
    let Some((_, word, option)) = wants.iter().find(|(missing, ..)| *missing) else {
        return Ok(());
    };
    let meta = &instance.meta;
    let message = format!(
        "project {:?} has a quota for {word}, and instance {:?} has no limit of it",
        meta.project, meta.name
    );
    Err(Refusal::anywhere("LimitMissing", message, &format!("give it one: {option}")))
}

fn has_size(quota: &Quota, volume: &Volume) -> Result<(), Refusal> {
    if quota.storage.is_none() || size(volume).is_some() {
        return Ok(());
    }
    let meta = &volume.meta;
    let message = format!(
        "project {:?} has a quota for storage, and volume {:?} has no size",
        meta.project, meta.name
    );
    let next = format!("give it one: `hull volume grow {} 1g`", meta.name);
    Err(Refusal::anywhere("LimitMissing", message, &next))
}

/// What an instance takes while it runs.
fn running(instance: &Instance) -> Used {
    let spec = &instance.spec;
    let mut cpus = spec.cpu_limit().unwrap_or_default();
    if spec.machine.is_some() || instance.status.machine.is_some() {
        // A guest has whole ones.
        cpus = Cpus::from_milli(cpus.milli().next_multiple_of(1000));
    }
    Used { instances: 1, cpus, memory: spec.memory_limit().unwrap_or_default(), ..Used::default() }
}

fn add(sum: &mut Used, more: &Used) {
    sum.instances = sum.instances.saturating_add(more.instances);
    sum.cpus = Cpus::from_milli(sum.cpus.milli().saturating_add(more.cpus.milli()));
    sum.memory = Bytes(sum.memory.0.saturating_add(more.memory.0));
}

fn root(instance: &Instance) -> u64 {
    let size = instance.spec.machine.as_ref().and_then(|machine| machine.root_size);
    size.unwrap_or_default().0
}

fn size(volume: &Volume) -> Option<u64> {
    let size = volume.spec.size.max(volume.status.size)?;
    Some(size.0)
}

/// The volumes that are disks of a machine.
fn disks(instance: &Instance) -> impl Iterator<Item = (&str, &DiskOptions)> {
    let mounts = instance.spec.all_containers().flat_map(|container| &container.mounts);
    mounts.filter_map(|mount| match mount {
        Mount { disk: Some(options), kind: MountKind::Volume { name, .. }, .. } => {
            Some((name.as_str(), options))
        }
        Mount { .. } => None,
    })
}
