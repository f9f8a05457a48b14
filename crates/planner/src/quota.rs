//! What the things of a project take of its quota, and whether more may be had.

use std::collections::HashMap;

use model::instance::{DiskOptions, Instance, RunState};
use model::project::{Project, Quota, Resource, Used};
use model::volume::{LOCAL, Volume};
use model::{Bytes, Cpus};

use crate::hold::holds;
use crate::refusal::Refusal;

/// What the things of one project have.
#[derive(Debug, Clone, Default)]
pub struct Tally {
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
        self.enter_disks(instance);
    }

    /// Enters the root disk of a machine, and the disks in volumes.
    fn enter_disks(&mut self, instance: &Instance) {
        self.sum.storage.0 = self.sum.storage.0.saturating_add(root(instance));
        for (name, options) in instance.spec.disks() {
            let size = disk(options, self.volumes.get(name).copied());
            self.hold(name, size);
        }
    }

    /// Enters a volume that has a node. One that goes with its instance is as the instance's own layer:
    /// nobody chose it, or how large it is.
    pub fn enter_volume(&mut self, volume: &Volume) {
        if !volume.spec.anonymous {
            self.hold(&volume.meta.name, size(volume).unwrap_or_default());
        }
    }

    fn hold(&mut self, name: &str, size: u64) {
        let had = self.volumes.get(name).copied();
        self.sum.volumes += u64::from(had.is_none());
        let more = size.saturating_sub(had.unwrap_or_default());
        self.sum.storage.0 = self.sum.storage.0.saturating_add(more);
        if had.is_none_or(|had| had < size) {
            self.volumes.insert(name.to_owned(), size);
        }
    }

    /// The same names, with what is known of them: what is asked beside the rest.
    fn beside<'b>(&self, names: impl Iterator<Item = &'b str>) -> Self {
        let known = names.filter_map(|name| Some((name.to_owned(), *self.volumes.get(name)?)));
        Self { sum: self.sum.clone(), volumes: known.collect() }
    }

    /// The whole.
    #[must_use]
    pub fn used(&self) -> &Used {
        &self.sum
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
    /// Whether an instance may have what it asks for, with the volumes that it would bring.
    pub(crate) fn admits(&self, instance: &Instance, volumes: &[&Volume]) -> Result<(), Refusal> {
        let named = volumes.iter().map(|volume| volume.meta.name.as_str());
        let disks = || instance.spec.disks().map(|(name, _)| name);
        let mut after = self.tally.beside(named.chain(disks()));
        if instance.spec.run != RunState::Stopped {
            if let Some(missing) = missing_limits(self.quota, instance).next() {
                return Err(missing.refusal(instance));
            }
            add(&mut after.sum, &running(instance));
        }
        for volume in volumes {
            if disks().all(|name| name != volume.meta.name) {
                has_size(self.quota, volume)?;
            }
            after.enter_volume(volume);
        }
        after.enter_disks(instance);
        let meta = &instance.meta;
        let what = format!("instance {:?}", meta.name);
        within(self.quota, &meta.project, &what, self.tally.used(), after.used())
    }

    /// Whether there may be one more volume.
    pub(crate) fn admits_volume(&self, volume: &Volume) -> Result<(), Refusal> {
        has_size(self.quota, volume)?;
        let name = volume.meta.name.as_str();
        let mut after = self.tally.beside([name].into_iter());
        after.enter_volume(volume);
        let what = format!("volume {name:?}");
        within(self.quota, &volume.meta.project, &what, self.tally.used(), after.used())
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
            "project {project:?} has a quota of {} for {word}, and too little of it is left for {what}, which wants {}",
            resource.show(bound),
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

/// A limit that an instance has to have, as its project has a quota of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of processors.
    Cpus,
    /// Of memory.
    Memory,
}

/// The limits that an instance lacks: what it would take is not known.
pub fn missing_limits(quota: &Quota, instance: &Instance) -> impl Iterator<Item = Limit> {
    let spec = &instance.spec;
    let cpus = quota.cpus.is_some() && spec.cpu_limit().is_none();
    let memory = quota.memory.is_some() && spec.memory_limit().is_none();
    let missing = [cpus.then_some(Limit::Cpus), memory.then_some(Limit::Memory)];
    missing.into_iter().flatten()
}

impl Limit {
    /// Refuses an instance that lacks it.
    #[must_use]
    pub fn refusal(self, instance: &Instance) -> Refusal {
        let (word, option) = match self {
            Limit::Cpus => ("cpus", "--cpus 0.5"),
            Limit::Memory => ("memory", "--memory 256m"),
        };
        let meta = &instance.meta;
        let message = format!(
            "project {:?} has a quota for {word}, and instance {:?} has no limit of it",
            meta.project, meta.name
        );
        Refusal::anywhere("LimitMissing", message, &format!("give it one: {option}"))
    }
}

/// Refuses a volume of the nodes' own disks that has no size. What others' storage has is bounded there.
fn has_size(quota: &Quota, volume: &Volume) -> Result<(), Refusal> {
    let own = volume.spec.storage == LOCAL && !volume.spec.anonymous;
    if quota.storage.is_none() || size(volume).is_some() || !own {
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
        cpus = Cpus::from_milli(cpus.milli().div_ceil(1000).saturating_mul(1000));
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
    let size = volume.spec.size.max(volume.status.size).max(volume.status.disk)?;
    Some(size.0)
}

/// What the disk in a volume takes: as much as the volume, unless it is told otherwise.
fn disk(options: &DiskOptions, volume: Option<u64>) -> u64 {
    match (options.size, volume) {
        (Some(size), _) => size.0,
        (None, Some(known)) if known > 0 => known,
        (None, _) => DiskOptions::SIZE.0,
    }
}
