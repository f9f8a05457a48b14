//! `hull volume`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::Objects;
use client::wire::{Draft, DraftMeta, ListQuery};
use model::instance::{Mount, Reason};
use model::volume::{
    Snapshot as KnownSnapshot, SnapshotNoun, SnapshotSpec, Volume as Known, VolumeNoun,
    VolumePhase, VolumeSource, VolumeSpec,
};
use model::{Bytes, Error, Result};
use serde_json::json;

use crate::commands::{each, update};
use crate::complete;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::out::{self, Format};
use crate::parse::env;
use crate::plan;

const EXAMPLES: &str = "Examples:
  hull volume create --size 10g data
  hull run -d -v data:/var/lib/postgresql/data postgres
  hull volume ls
  hull volume grow data 20g
  hull volume snapshot data before-upgrade
  hull volume snapshots -o json
  hull volume restore before-upgrade data-2";

/// Volumes.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Volume {
    /// Make a volume
    Create(Create),
    /// List volumes
    Ls(Ls),
    /// Show volumes
    #[command(visible_alias = "inspect")]
    Show(Show),
    /// Remove volumes
    Rm(Rm),
    /// Remove volumes that no instance uses
    Prune(Prune),
    /// Give a volume more room
    Grow(Grow),
    /// Give a volume another name
    Rename(Rename),
    /// Take a snapshot of a volume
    Snapshot(Take),
    /// List snapshots
    Snapshots(Snapshots),
    /// Remove snapshots
    RmSnapshot(RmSnapshot),
    /// Make a volume with the contents of another one
    Clone(CloneArgs),
    /// Make a volume with the contents of a snapshot
    Restore(Restore),
}

/// What new volumes have in common.
#[derive(Debug, Clone, Args)]
struct New {
    /// Most it holds: 10g; as much as the disk when not given
    #[arg(short, long, value_name = "SIZE")]
    size: Option<Bytes>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Don't wait until it is ready
    #[arg(long)]
    no_wait: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
}

/// Makes a volume.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull volume create data\n  hull volume create --size 10g -l app=shop data"
)]
pub struct Create {
    #[command(flatten)]
    new: New,
    /// The storage service that has it
    #[arg(long, visible_alias = "driver", default_value = "local", value_name = "NAME")]
    storage: String,
    /// Option of the storage service
    #[arg(long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name; one is invented when none is given
    #[arg(default_value = "")]
    name: String,
}

/// Lists volumes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull volume ls\n  hull volume ls -w\n  hull volume ls -f status.phase=failed"
)]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows volumes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume show data")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The volumes
    #[arg(required = true, add = ArgValueCompleter::new(complete::volumes))]
    names: Vec<String>,
}

/// Removes volumes, with all that is in them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull volume rm data\n  hull volume rm --forget data    # whose plugin is gone"
)]
pub struct Rm {
    /// Give up a volume that its plugin will not remove: what it holds stays there
    #[arg(long, conflicts_with = "plan")]
    forget: bool,
    /// Don't wait until they are gone
    #[arg(long)]
    no_wait: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The volumes
    #[arg(required = true, add = ArgValueCompleter::new(complete::volumes))]
    names: Vec<String>,
}

/// Removes volumes that no instance uses.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume prune --plan\n  hull volume prune --all")]
pub struct Prune {
    /// Every one, not only those that were made without a name
    #[arg(short, long)]
    all: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    output: Output,
}

/// Gives a volume more room, also while it is used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume grow data 20g")]
pub struct Grow {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The volume
    #[arg(add = ArgValueCompleter::new(complete::volumes))]
    name: String,
    /// Its new size
    size: Bytes,
}

/// Gives a volume another name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume rename data data-old")]
pub struct Rename {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,
    /// The volume
    #[arg(add = ArgValueCompleter::new(complete::volumes))]
    name: String,
    /// Its new name
    new: String,
}

/// Takes a snapshot of a volume.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull volume snapshot data\n  hull volume snapshot data before-upgrade"
)]
pub struct Take {
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Don't wait until it is taken
    #[arg(long)]
    no_wait: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// The volume
    #[arg(add = ArgValueCompleter::new(complete::volumes))]
    volume: String,
    /// Name of the snapshot; one is invented when none is given
    #[arg(default_value = "")]
    name: String,
}

/// Lists snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume snapshots\n  hull volume snapshots data -o name")]
pub struct Snapshots {
    #[command(flatten)]
    listing: Listing,
    /// Of this volume only
    #[arg(add = ArgValueCompleter::new(complete::volumes))]
    volume: Option<String>,
}

/// Removes snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume rm-snapshot before-upgrade")]
pub struct RmSnapshot {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The snapshots
    #[arg(required = true, add = ArgValueCompleter::new(complete::snapshots))]
    names: Vec<String>,
}

/// Makes a volume with the contents of another one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume clone data data-test")]
pub struct CloneArgs {
    #[command(flatten)]
    new: New,
    /// The volume it is made from
    #[arg(add = ArgValueCompleter::new(complete::volumes))]
    volume: String,
    /// Name of the new one
    name: String,
}

/// Makes a volume with the contents of a snapshot. The volume it was taken of stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull volume restore before-upgrade data-2")]
pub struct Restore {
    #[command(flatten)]
    new: New,
    /// The snapshot
    #[arg(add = ArgValueCompleter::new(complete::snapshots))]
    snapshot: String,
    /// Name of the new volume
    name: String,
}

impl Volume {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let volumes = context.client.volumes(&context.project);
        let snapshots = context.client.snapshots(&context.project);
        match self {
            Volume::Create(args) => args.run(&volumes).await?,
            Volume::Ls(args) => args.listing.show(&volumes, &VIEW).await?,
            Volume::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&volumes.get(name).await?, args.output.output)
                })
                .await;
            }
            Volume::Rm(args) => {
                return each(&args.names, async |name| args.remove(&volumes, name).await).await;
            }
            Volume::Prune(args) => args.run(&volumes).await?,
            Volume::Grow(args) => args.run(context, &volumes).await?,
            Volume::Rename(args) => {
                let write = volumes.rename(&args.name, &args.new, args.plan);
                if args.plan {
                    plan::change(&volumes, &args.name, write).await?;
                } else {
                    write.await?;
                }
            }
            Volume::Snapshot(args) => args.run(&snapshots).await?,
            Volume::Snapshots(args) => args.run(&snapshots).await?,
            Volume::RmSnapshot(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&snapshots, name, args.plan, true).await
                })
                .await;
            }
            Volume::Clone(args) => {
                let source = Some(VolumeSource::Volume(args.volume));
                let spec = VolumeSpec { source, ..VolumeSpec::default() };
                args.new.make(&volumes, args.name, spec).await?;
            }
            Volume::Restore(args) => {
                let source = Some(VolumeSource::Snapshot(args.snapshot));
                let spec = VolumeSpec { source, ..VolumeSpec::default() };
                args.new.make(&volumes, args.name, spec).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const VIEW: View<VolumeNoun> = View {
    titles: &["NAME", "STATE", "SIZE", "HELD BY", "MADE BY", "USED BY", "NODE", "AGE"],
    right: &[2],
    row: |volume: &Known| {
        let size = volume.status.size.or(volume.spec.size);
        vec![
            volume.meta.name.clone(),
            state(volume.status.phase, volume.status.reason.as_ref()),
            size.map_or_else(|| "-".into(), |size| size.to_string()),
            volume.status.format.clone(),
            volume.status.method.clone(),
            volume.status.used_by.join(","),
            volume.spec.node.clone().unwrap_or_default(),
            out::age(volume.meta.created),
        ]
    },
};

const SNAPSHOT_VIEW: View<SnapshotNoun> = View {
    titles: &["NAME", "VOLUME", "STATE", "SIZE", "METHOD", "AGE"],
    right: &[3],
    row: |snapshot: &KnownSnapshot| {
        let size = snapshot.status.size;
        vec![
            snapshot.meta.name.clone(),
            snapshot.spec.volume.clone(),
            state(snapshot.status.phase, snapshot.status.reason.as_ref()),
            size.map_or_else(|| "-".into(), |size| size.to_string()),
            snapshot.status.method.clone(),
            out::age(snapshot.status.taken.unwrap_or(snapshot.meta.created)),
        ]
    },
};

fn state(phase: VolumePhase, reason: Option<&Reason>) -> String {
    let word = match phase {
        VolumePhase::Pending => "pending",
        VolumePhase::Ready => "ready",
        VolumePhase::Failed => "failed",
        VolumePhase::Removing => "removing",
    };
    match reason {
        Some(reason) => format!("{word} ({})", out::short(&reason.message, 60)),
        None => word.to_owned(),
    }
}

/// Whether waiting is over: it is ready, or it is known why it will not be.
fn outcome(phase: VolumePhase, reason: Option<&Reason>, title: &str) -> Option<Result<()>> {
    match phase {
        VolumePhase::Ready => Some(Ok(())),
        VolumePhase::Pending if reason.is_none() => None,
        VolumePhase::Pending | VolumePhase::Failed => {
            let why = match reason {
                Some(reason) => reason.message.clone(),
                None => format!("{title} cannot be made, and no reason is known"),
            };
            let error = Error::internal(why);
            Some(Err(match reason.and_then(|reason| reason.next.clone()) {
                Some(next) => error.next(next),
                None => error,
            }))
        }
        VolumePhase::Removing => Some(Err(Error::conflict(format!("{title} is being removed")))),
    }
}

/// Whether a volume has the size it should have, or why it does not have it yet.
fn grown(volume: &Known) -> Result<()> {
    let status = &volume.status;
    match &status.reason {
        Some(reason) if status.size < volume.spec.size => {
            let error = Error::conflict(&reason.message);
            Err(match &reason.next {
                Some(next) => error.next(next),
                None => error,
            })
        }
        _ => Ok(()),
    }
}

impl New {
    async fn make(
        &self,
        volumes: &Objects<VolumeNoun>,
        name: String,
        spec: VolumeSpec,
    ) -> Result<()> {
        let labels = env::labels(&[], &self.label)?;
        let meta = DraftMeta { name, labels, ..DraftMeta::default() };
        let spec = VolumeSpec { size: self.size, ..spec };
        let volume = volumes.create(&Draft { meta, spec }, self.plan).await?;
        if self.plan {
            return plan::creation(&volume);
        }
        if !self.no_wait {
            objects::until(volumes, &volume.meta.id, |it| {
                outcome(it.status.phase, it.status.reason.as_ref(), &it.title())
            })
            .await?;
        }
        out::line(&volume.meta.name);
        Ok(())
    }
}

impl Create {
    async fn run(self, volumes: &Objects<VolumeNoun>) -> Result<()> {
        let options = env::labels(&[], &self.opt)?;
        let spec = VolumeSpec { storage: self.storage, options, ..VolumeSpec::default() };
        self.new.make(volumes, self.name, spec).await
    }
}

impl Rm {
    async fn remove(&self, volumes: &Objects<VolumeNoun>, name: &str) -> Result<()> {
        if !self.forget {
            return objects::remove(volumes, name, self.plan, !self.no_wait).await;
        }
        let id = volumes.get(name).await?.meta.id;
        volumes.forget(name).await?;
        if !self.no_wait {
            objects::until_gone(volumes, &id).await?;
        }
        out::line(name);
        Ok(())
    }
}

impl Prune {
    async fn run(&self, volumes: &Objects<VolumeNoun>) -> Result<()> {
        let gone = volumes.prune(self.all, self.plan).await?;
        if out::structured(self.output.output, &gone)? {
            return Ok(());
        }
        let word = if self.plan { "would remove " } else { "removed " };
        let word = if self.output.output == Format::Name { "" } else { word };
        gone.names.iter().for_each(|name| out::line(format!("{word}{name}")));
        if gone.names.is_empty() && out::watched() {
            out::remark("No volume is unused.");
        }
        Ok(())
    }
}

impl Grow {
    async fn run(&self, context: &Context, volumes: &Objects<VolumeNoun>) -> Result<()> {
        let machine = self.machine(context, volumes).await?;
        if let Some((machine, _)) = machine.as_ref().filter(|(_, bounded)| !bounded) {
            let instances = context.instances();
            update::grow_disk(&instances, machine, &self.name, self.size, self.plan).await?;
            if !self.plan {
                out::line(&self.name);
            }
            return Ok(());
        }
        self.grow(volumes).await?;
        if let Some((machine, _)) = machine.filter(|_| !self.plan) {
            out::remark(format!(
                "the disk in it has a size of its own: hull update --disk {},size=SIZE {machine}",
                self.name
            ));
        }
        Ok(())
    }

    /// The machine in which the volume is a disk with a size of its own, and whether the volume has one, too.
    async fn machine(
        &self,
        context: &Context,
        volumes: &Objects<VolumeNoun>,
    ) -> Result<Option<(String, bool)>> {
        let volume = volumes.get(&self.name).await?;
        let bounded = volume.spec.size.is_some();
        for instance in context.instances().list_all(&ListQuery::default()).await? {
            let mut mounts = instance.spec.all_containers().flat_map(|container| &container.mounts);
            let is = |mount: &Mount| {
                let disk = mount.disk.as_ref();
                let sized = disk.is_some_and(|disk| !bounded || disk.size.is_some());
                sized && mount.volume() == Some(volume.meta.name.as_str())
            };
            if mounts.any(is) {
                return Ok(Some((instance.meta.name.clone(), bounded)));
            }
        }
        Ok(None)
    }

    async fn grow(&self, volumes: &Objects<VolumeNoun>) -> Result<()> {
        let patch = json!({ "spec": { "size": self.size } });
        let write = volumes.patch(&self.name, &patch, None, self.plan);
        if self.plan {
            return plan::change(volumes, &self.name, write).await;
        }
        let volume = write.await?;
        let generation = volume.meta.generation;
        objects::until(volumes, &volume.meta.id, |it| {
            let status = &it.status;
            if status.observed_generation < generation {
                return None;
            }
            Some(grown(it))
        })
        .await?;
        out::line(&volume.meta.name);
        Ok(())
    }
}

impl Take {
    async fn run(self, snapshots: &Objects<SnapshotNoun>) -> Result<()> {
        let labels = env::labels(&[], &self.label)?;
        let meta = DraftMeta { name: self.name, labels, ..DraftMeta::default() };
        let spec = SnapshotSpec { volume: self.volume, ..SnapshotSpec::default() };
        let snapshot = snapshots.create(&Draft { meta, spec }, self.plan).await?;
        if self.plan {
            return plan::creation(&snapshot);
        }
        if !self.no_wait {
            objects::until(snapshots, &snapshot.meta.id, |it| {
                outcome(it.status.phase, it.status.reason.as_ref(), &it.title())
            })
            .await?;
        }
        out::line(&snapshot.meta.name);
        Ok(())
    }
}

impl Snapshots {
    async fn run(mut self, snapshots: &Objects<SnapshotNoun>) -> Result<()> {
        if let Some(volume) = &self.volume {
            let comma = if self.listing.filter.is_empty() { "" } else { "," };
            self.listing.filter.push_str(&format!("{comma}spec.volume={volume}"));
        }
        self.listing.show(snapshots, &SNAPSHOT_VIEW).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_it_is_known_how_it_ends() {
        let reason = Reason::new("NoRoom", "the disk is full");
        assert!(outcome(VolumePhase::Pending, None, "volume").is_none());
        assert!(outcome(VolumePhase::Ready, Some(&reason), "volume").unwrap().is_ok());
        let error = outcome(VolumePhase::Failed, Some(&reason), "volume \"a\"").unwrap();
        assert_eq!(error.unwrap_err().message(), "the disk is full");
        assert_eq!(state(VolumePhase::Failed, Some(&reason)), "failed (the disk is full)");
    }
}
