//! `hull update`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::Instances;
use model::instance::{ContainerSpec, Instance, InstanceSpec, Mount, Resources};
use model::{Bytes, Cpus, Error, ErrorKind, Result, Span};
use serde_json::{Value, json};

use crate::commands::each;
use crate::context::Context;
use crate::flags::swap;
use crate::parse::{limit, machine};
use crate::{complete, objects, out, plan};

/// Tries when somebody else changes the instance meanwhile.
const TRIES: u32 = 8;

/// The reason of an instance whose node could not apply all of a change.
const PARTLY: &str = "PartlyApplied";

/// Changes limits, disks and the restart policy of instances, while they run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull update --memory 512m --cpus 1.5 web\n  hull update --restart always web db\n  hull update --disk data,size=20g --disk-rm old vm"
)]
pub struct Update {
    #[command(flatten)]
    change: Changes,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The instances
    #[arg(required = true, add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

/// What is changed.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Processors it may use: 1.5; 0 for no limit
    #[arg(long, value_name = "N")]
    cpus: Option<Cpus>,
    /// Weight when processors are short
    #[arg(short = 'c', long, value_name = "N")]
    cpu_shares: Option<u64>,
    /// Microseconds of processor time in a period
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Length of a period in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Processors it may use: 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most memory: 256m; 0 for no limit
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Memory it is left with when the host is short; 0 for none
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<Bytes>,
    /// Memory and swap together; -1 for no bound on swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Most processes and threads; -1 for no bound
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Put a volume into a machine as a disk, or change one that is there
    #[arg(
        long,
        value_name = "NAME[,size=10g][,bus=virtio|scsi][,iops=N][,bps=SIZE][,cache=none|writeback][,ro]"
    )]
    disk: Vec<String>,
    /// Take a disk out of a machine; its volume stays
    #[arg(long, value_name = "NAME")]
    disk_rm: Vec<String>,
    /// A larger root disk of a machine
    #[arg(long, value_name = "SIZE")]
    root_size: Option<Bytes>,
    /// Most operations of a machine's root disk in a second; 0 for no bound
    #[arg(long, value_name = "N")]
    root_iops: Option<u64>,
    /// Most bytes of a machine's root disk in a second; 0 for no bound
    #[arg(long, value_name = "SIZE")]
    root_bps: Option<Bytes>,
    /// Put an image's disk into a machine's CD drive, in the place of what is in it; the second one given is for its
    /// second drive
    #[arg(long, value_name = "IMAGE")]
    cdrom: Vec<String>,
    /// Take the discs out of a machine's CD drives
    #[arg(long)]
    eject: bool,
    /// When it starts again: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Seconds it may take to stop before it is killed
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<Span>,
}

impl Update {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            patched(context, name, self.plan, |old| self.change.patch(old, &self.container)).await
        })
        .await
    }
}

/// Changes an instance by a patch, waits until its node has acted on it, and says what of it is not in
/// force yet.
pub async fn patched(
    context: &Context,
    name: &str,
    plan: bool,
    patch: impl Fn(&InstanceSpec) -> Result<Value>,
) -> Result<()> {
    let instances = context.instances();
    if plan {
        return plan::change(&instances, name, change(&instances, name, true, &patch)).await;
    }
    applied(&instances, name, patch).await?;
    out::line(name);
    Ok(())
}

/// Gives a machine's disk another size.
pub async fn grow_disk(
    instances: &Instances,
    name: &str,
    disk: &str,
    size: Bytes,
    plan: bool,
) -> Result<()> {
    let disk = vec![format!("{disk},size={}", size.0)];
    let changes = Changes { disk, ..Changes::default() };
    let patch = |old: &InstanceSpec| changes.patch(old, "");
    match plan {
        true => plan::change(instances, name, change(instances, name, true, patch)).await,
        false => applied(instances, name, patch).await,
    }
}

async fn applied(
    instances: &Instances,
    name: &str,
    patch: impl Fn(&InstanceSpec) -> Result<Value>,
) -> Result<()> {
    let changed = change(instances, name, false, &patch).await?;
    let applied = in_force(instances, &changed).await?;
    if let Some(reason) = applied.status.reason.as_ref().filter(|it| it.code == PARTLY) {
        out::remark(format!("hull: {name}: {}", reason.message));
    }
    let machine = applied.status.machine.as_ref().filter(|_| applied.status.phase.is_live());
    for pending in machine.into_iter().flat_map(|machine| &machine.pending) {
        out::remark(format!("hull: {name}: not before its next start: {pending}"));
    }
    Ok(())
}

/// Lists are replaced as a whole by a merge patch: only what was just read may be replaced.
async fn change(
    instances: &Instances,
    name: &str,
    plan: bool,
    patch: impl Fn(&InstanceSpec) -> Result<Value>,
) -> Result<Instance> {
    let mut tried = 0;
    loop {
        let old = instances.get(name).await?;
        let patch = patch(&old.spec)?;
        let revision = Some(old.meta.revision);
        tried += 1;
        match instances.patch(old.meta.id.as_str(), &patch, revision, plan).await {
            Err(error) if error.kind() == ErrorKind::Conflict && tried < TRIES => {
                let now = instances.get(name).await?;
                if now.meta.revision == old.meta.revision {
                    return Err(error);
                }
            }
            other => return other,
        }
    }
}

/// Waits until the instance's node has acted on a change. One that is on no node waits for nothing.
async fn in_force(instances: &Instances, changed: &Instance) -> Result<Arc<Instance>> {
    let generation = changed.meta.generation;
    objects::until(instances, &changed.meta.id, |it| {
        let seen = it.spec.placement.is_none() || it.status.observed_generation >= generation;
        seen.then_some(Ok(()))
    })
    .await
}

impl Changes {
    fn patch(&self, old: &InstanceSpec, container: &str) -> Result<Value> {
        let mut spec = serde_json::Map::new();
        if let Some(policy) = &self.restart {
            spec.insert("restart".into(), encoded(&limit::restart(policy)?)?);
        }
        if let Some(timeout) = self.stop_timeout {
            spec.insert("stopTimeout".into(), encoded(&timeout)?);
        }
        let name = old.container(container)?.name.clone();
        let change = |list: &[ContainerSpec]| -> Result<Vec<ContainerSpec>> {
            let mut list = list.to_vec();
            for container in list.iter_mut().filter(|container| container.name == name) {
                self.apply(&mut container.resources)?;
                self.change_disks(container)?;
            }
            Ok(list)
        };
        for (field, list) in [("containers", &old.containers), ("init", &old.init)] {
            let changed = change(list)?;
            if changed != *list {
                spec.insert(field.into(), encoded(&changed)?);
            }
        }
        let mut machine = serde_json::Map::new();
        if let Some(size) = self.root_size {
            machine.insert("rootSize".into(), encoded(&size)?);
        }
        if let Some(iops) = self.root_iops {
            machine.insert("rootIops".into(), iops.into());
        }
        if let Some(bps) = self.root_bps {
            machine.insert("rootBps".into(), bps.0.into());
        }
        if self.eject || !self.cdrom.is_empty() {
            let has = old.machine.as_ref().map(|machine| machine.cdroms.as_slice());
            machine.insert("cdroms".into(), encoded(&self.discs(has.unwrap_or_default()))?);
        }
        if !machine.is_empty() {
            spec.insert("machine".into(), machine.into());
        }
        Ok(json!({ "spec": spec }))
    }

    /// What is to be in the CD drives: what was in them, but where something else is given.
    fn discs(&self, has: &[String]) -> Vec<String> {
        let drives = has.len().max(self.cdrom.len());
        let disc = |drive| {
            let stays = has.get(drive).filter(|_| !self.eject);
            self.cdrom.get(drive).or(stays).cloned().unwrap_or_default()
        };
        (0..drives).map(disc).collect()
    }

    fn change_disks(&self, container: &mut ContainerSpec) -> Result<()> {
        let place = |mounts: &[Mount], name: &str| {
            mounts.iter().position(|mount| mount.disk.is_some() && mount.volume() == Some(name))
        };
        for name in &self.disk_rm {
            let Some(at) = place(&container.mounts, name) else {
                return Err(Error::not_found(format!("volume {name:?} is no disk of it"))
                    .at("--disk-rm")
                    .next("hull inspect shows its disks, under mounts"));
            };
            container.mounts.remove(at);
        }
        for text in &self.disk {
            let disk = machine::disk_change(text)?;
            match place(&container.mounts, &disk.name) {
                Some(at) => container.mounts[at] = disk.mount(Some(&container.mounts[at])),
                None => container.mounts.push(disk.mount(None)),
            }
        }
        Ok(())
    }

    fn apply(&self, resources: &mut Resources) -> Result<()> {
        /// Takes what was given; nothing stands for no limit.
        fn take<T: Copy + PartialEq + Default>(place: &mut Option<T>, given: Option<T>) {
            if given.is_some() {
                *place = given.filter(|value| *value != T::default());
            }
        }
        take(&mut resources.cpus, self.cpus);
        take(&mut resources.cpu_shares, self.cpu_shares);
        take(&mut resources.cpu_quota, self.cpu_quota);
        take(&mut resources.cpu_period, self.cpu_period);
        take(&mut resources.memory, self.memory);
        take(&mut resources.memory_reservation, self.memory_reservation);
        take(&mut resources.pids, self.pids_limit);
        take(&mut resources.blkio_weight, self.blkio_weight);
        let swap = self.memory_swap.as_deref().map(swap).transpose()?;
        take(&mut resources.memory_swap, swap);
        if let Some(list) = &self.cpuset_cpus {
            resources.cpuset_cpus.clone_from(list);
        }
        if let Some(list) = &self.cpuset_mems {
            resources.cpuset_mems.clone_from(list);
        }
        Ok(())
    }
}

/// A value as it stands in a patch.
pub fn encoded(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal("the change cannot be written").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> InstanceSpec {
        let container = |name: &str| ContainerSpec {
            name: name.into(),
            resources: Resources { memory: Some(Bytes::mib(64)), ..Resources::default() },
            ..ContainerSpec::default()
        };
        let containers = vec![container("main"), container("side")];
        InstanceSpec { containers, ..InstanceSpec::default() }
    }

    #[test]
    fn only_what_was_given_changes() {
        let restart = Changes { restart: Some("always".into()), ..Changes::default() };
        assert_eq!(restart.patch(&two(), "").unwrap(), json!({"spec": {"restart": "always"}}));
        let cpus = "2".parse().ok();
        let change = Changes { memory: Some(Bytes(0)), cpus, ..Changes::default() };
        let patch = change.patch(&two(), "side").unwrap();
        let containers = &patch["spec"]["containers"];
        assert_eq!(containers[0]["resources"]["memory"], 64 << 20);
        assert_eq!(containers[1]["resources"]["memory"], Value::Null);
        assert_eq!(containers[1]["resources"]["cpus"], "2");
        assert!(change.patch(&two(), "absent").is_err());
    }

    #[test]
    fn discs_go_into_drives() {
        let has = ["a".to_owned(), "b".to_owned()];
        let discs = |cdrom: &[&str], eject| {
            let cdrom = cdrom.iter().map(|it| (*it).to_owned()).collect();
            Changes { cdrom, eject, ..Changes::default() }.discs(&has)
        };
        assert_eq!(discs(&["c"], false), ["c", "b"]);
        assert_eq!(discs(&["a", "c", "d"], false), ["a", "c", "d"]);
        assert_eq!(discs(&[], true), ["", ""]);
        assert_eq!(discs(&["c"], true), ["c", ""]);
    }
}
