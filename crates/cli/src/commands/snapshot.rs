//! `hull snapshot` and `hull restore`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::Instances;
use client::wire::{CloneRequest, Goal, StopRequest};
use link::snapshot::{MachineSnapshot, SnapshotRequest};
use model::instance::RunState;
use model::{Result, Span};

use crate::commands::each;
use crate::commands::start::settle;
use crate::context::{Context, Output};
use crate::parse::{env, port};
use crate::{complete, out, plan};

const EXAMPLES: &str = "Examples:
  hull snapshot create db before-upgrade
  hull snapshot create db --memory
  hull snapshot ls db
  hull restore db before-upgrade
  hull snapshot clone db before-upgrade db-test
  hull snapshot rm db before-upgrade";

/// How long copying the disks of a machine may take before it starts.
const COPYING: Span = Span(std::time::Duration::from_secs(3600));

const TITLES: [&str; 5] = ["NAME", "AGE", "MEMORY", "CONSISTENT", "DISKS"];

/// Keeps machines as they are at a moment.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Snapshot {
    /// Take a snapshot of a machine, running or not
    Create(Create),
    /// List the snapshots of a machine
    Ls(Ls),
    /// Make a new machine of a snapshot of a machine
    Clone(CloneArgs),
    /// Remove snapshots of a machine
    Rm(Rm),
}

/// Takes a snapshot.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Create {
    /// Also the guest's memory, so that it goes on from there
    #[arg(short, long)]
    memory: bool,
    /// Only if the guest's agent can make its file systems consistent first
    #[arg(long, conflicts_with = "memory")]
    consistent: bool,
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    machine: String,
    /// Name of the snapshot; one with the time in it when none is given
    #[arg(default_value = "")]
    name: String,
}

/// Lists snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull snapshot ls db\n  hull snapshot ls db -o json")]
pub struct Ls {
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    machine: String,
    #[command(flatten)]
    output: Output,
}

/// Makes a new machine of a snapshot: its disks begin as they were then, and everything else is asked of it as
/// of the first, but for what makes it that one: name, host name, addresses, published ports, labels. The guest
/// boots; memory in the snapshot is left out.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull snapshot clone db before-upgrade db-test\n  hull snapshot clone -p 5433:5432 db before-upgrade db-test"
)]
pub struct CloneArgs {
    /// Publish a port of the new machine: [ADDRESS:][HOST:]PORT[/PROTOCOL]
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Don't start it. Its disks are copied when it starts first, and the snapshot is kept until then
    #[arg(long)]
    no_start: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    machine: String,
    /// The snapshot
    snapshot: String,
    /// Name of the new machine
    name: String,
}

/// Removes snapshots.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull snapshot rm db before-upgrade")]
pub struct Rm {
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    machine: String,
    /// The snapshots
    #[arg(required = true)]
    names: Vec<String>,
}

/// Takes a machine back to a snapshot.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull restore db before-upgrade")]
pub struct Restore {
    /// The machine
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    machine: String,
    /// The snapshot
    snapshot: String,
}

impl Snapshot {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        match self {
            Snapshot::Create(create) => create.run(context).await,
            Snapshot::Ls(ls) => ls.run(context).await,
            Snapshot::Clone(clone) => clone.run(context).await,
            Snapshot::Rm(rm) => rm.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<ExitCode> {
        let request =
            SnapshotRequest { name: self.name, memory: self.memory, consistent: self.consistent };
        let taken = context.instances().take_snapshot(&self.machine, &request).await?;
        if !taken.consistent {
            out::remark("the guest's agent was not asked: it is as after a power cut");
        }
        out::line(taken.name);
        Ok(ExitCode::SUCCESS)
    }
}

impl Ls {
    async fn run(self, context: &Context) -> Result<ExitCode> {
        let snapshots = context.instances().snapshots(&self.machine).await?;
        if out::structured(self.output.output, &snapshots)? {
            return Ok(ExitCode::SUCCESS);
        }
        if self.output.output == out::Format::Name {
            snapshots.iter().for_each(|snapshot| out::line(&snapshot.name));
            return Ok(ExitCode::SUCCESS);
        }
        out::table(&TITLES, snapshots.iter().map(row).collect(), &[]);
        Ok(ExitCode::SUCCESS)
    }
}

fn row(snapshot: &MachineSnapshot) -> Vec<String> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    vec![
        snapshot.name.clone(),
        out::age(snapshot.created),
        yes(snapshot.memory),
        yes(snapshot.consistent),
        snapshot.disks.join(","),
    ]
}

impl CloneArgs {
    async fn run(self, context: &Context) -> Result<ExitCode> {
        let instances = context.instances();
        let ports = self.publish.iter().map(|text| port::port(text));
        let request = CloneRequest {
            snapshot: self.snapshot.clone(),
            name: self.name.clone(),
            labels: env::labels(&[], &self.label)?,
            ports: ports.collect::<Result<_>>()?,
            run: if self.no_start { RunState::Stopped } else { RunState::Running },
        };
        let made = instances.clone_snapshot(&self.machine, &request, self.plan).await?;
        if self.plan {
            return plan::creation(&made).map(|()| ExitCode::SUCCESS);
        }
        self.tell_what_it_lacks(&instances).await?;
        if !self.no_start {
            let started = settle(&instances, &made, Goal::Started, Some(COPYING)).await?;
            out::warnings(&started.status.warnings);
        }
        out::line(&made.meta.name);
        Ok(ExitCode::SUCCESS)
    }

    async fn tell_what_it_lacks(&self, instances: &Instances) -> Result<()> {
        let snapshots = instances.snapshots(&self.machine).await?;
        let Some(snapshot) = snapshots.iter().find(|it| it.name == self.snapshot) else {
            return Ok(());
        };
        if snapshot.memory {
            out::remark("the snapshot's memory is left out: the new machine boots");
        }
        let machine = instances.get(&self.machine).await?;
        let mounts = machine.spec.containers.iter().flat_map(|container| &container.mounts);
        for disk in mounts.filter(|mount| mount.disk.is_some()).filter_map(|mount| mount.volume()) {
            if !snapshot.disks.iter().any(|kept| kept == disk) {
                out::remark(format!("disk {disk} is not in the snapshot: {} has none", self.name));
            }
        }
        Ok(())
    }
}

impl Rm {
    async fn run(self, context: &Context) -> Result<ExitCode> {
        each(&self.names, async |name| {
            context.instances().remove_snapshot(&self.machine, name).await?;
            out::line(name);
            Ok(())
        })
        .await
    }
}

impl Restore {
    /// Runs the command: a machine that runs, and whose snapshot has no memory to go on from, is stopped
    /// and started again around it.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let instances = context.instances();
        let instance = instances.get(&self.machine).await?;
        let snapshots = instances.snapshots(&self.machine).await?;
        let found = snapshots.iter().find(|snapshot| snapshot.name == self.snapshot);
        let around =
            found.is_some_and(|snapshot| !snapshot.memory) && instance.status.phase.is_live();
        if around {
            // What it holds now is given up: nothing is gained by a gentle end.
            let at_once =
                StopRequest { timeout: Some(model::Span::default()), ..StopRequest::default() };
            let stopping = instances.stop(&self.machine, &at_once, false).await?;
            settle(&instances, &stopping, Goal::Stopped, None).await?;
        }
        let restored = instances.restore_snapshot(&self.machine, &self.snapshot).await;
        // It ran, and is to run again, as it was if nothing could be restored.
        if around {
            let starting = instances.start(&self.machine, false).await?;
            settle(&instances, &starting, Goal::Started, None).await?;
        }
        restored?;
        out::line(&self.machine);
        Ok(ExitCode::SUCCESS)
    }
}
