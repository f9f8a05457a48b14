//! Snapshots of machines: kept by QEMU in the machine's own disks (qcow2), listed in a file beside them
//! that only root writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use faults::may_die;
use link::SnapshotCalls;
use link::instance::Target;
use link::snapshot::{MachineSnapshot, SnapshotRequest};
use machines::config::{Disk, MachineConfig};
use machines::disk::tool::DiskFile;
use machines::disk::{DiskFormat, DiskTool};
use machines::qemu;
use model::error::Context as _;
use model::instance::{ContainerState, Phase, RunState};
use model::{Error, ErrorKind, Result, Time};
use tokio::sync::OwnedMutexGuard;

use super::{Calls, Found};
use crate::context::Context;
use crate::guests::kept::{self, tag};
use crate::guests::{self, Control};
use crate::steps::machine::{resume_next, resumed};

/// How long the guest's memory may take to be written.
const MEMORY: Duration = Duration::from_secs(600);

#[async_trait]
impl SnapshotCalls for Calls {
    async fn snapshots(&self, target: Target) -> Result<Vec<MachineSnapshot>> {
        let machine = Machine::find(self, &target)?;
        kept::read(&machine.directory())
    }

    async fn take_snapshot(
        &self,
        target: Target,
        request: SnapshotRequest,
    ) -> Result<MachineSnapshot> {
        let machine = Machine::find(self, &target)?;
        to_the_end(async move {
            let _turn = machine.turn()?;
            machine.take(request).await
        })
        .await
    }

    async fn restore_snapshot(&self, target: Target, name: String) -> Result<()> {
        let machine = Machine::find(self, &target)?;
        to_the_end(async move {
            let _turn = machine.turn()?;
            machine.restore(&name).await
        })
        .await
    }

    async fn remove_snapshot(&self, target: Target, name: String) -> Result<()> {
        let machine = Machine::find(self, &target)?;
        to_the_end(async move {
            let _turn = machine.turn()?;
            machine.forget(&name).await
        })
        .await
    }
}

/// What was begun on a machine is done, whether somebody waits for it or not.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work)
        .await
        .context(ErrorKind::Internal, || "work on a snapshot was cut short".to_owned())?
}

/// A machine whose snapshots are asked about.
struct Machine {
    context: Arc<Context>,
    found: Found,
    /// What it was started with last.
    config: MachineConfig,
}

impl Machine {
    fn find(calls: &Calls, target: &Target) -> Result<Self> {
        let found = calls.find(target)?;
        let name = &found.instance.meta.name;
        if found.handle.known.borrow().status.machine.is_none() {
            return Err(Error::unsupported(format!("instance {name:?} is no machine"))
                .next("take a snapshot of its volume: hull volume snapshot VOLUME"));
        }
        let directory = calls.context.places.machine(&found.instance.meta.id);
        let config = guests::config(&directory).map_err(|error| {
            Error::conflict(format!(
                "machine {name:?} has not been started here since the node was"
            ))
            .next(format!("hull start {name}"))
            .caused_by(error)
        })?;
        Ok(Self { context: calls.context.clone(), found, config })
    }

    fn name(&self) -> &str {
        &self.found.instance.meta.name
    }

    fn directory(&self) -> PathBuf {
        self.context.places.instance(&self.found.instance.meta.id)
    }

    /// One at a time, and whoever comes second is told at once.
    fn turn(&self) -> Result<OwnedMutexGuard<()>> {
        guests::disks_now(&self.context, &self.found.instance)
    }

    /// Disks that keep snapshots: those that can be written.
    fn disks(&self) -> Vec<&Disk> {
        self.config.kept_disks().collect()
    }

    fn nodes(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| qemu::node_name(name)).collect()
    }

    /// Whether QEMU has the disks open; frozen it answers nobody.
    fn runs(&self) -> Result<bool> {
        match self.found.state() {
            ContainerState::Running => Ok(true),
            ContainerState::Waiting | ContainerState::Exited
                if self.found.handle.wanted.borrow().spec.run != RunState::Stopped
                    && self.found.handle.known.borrow().status.phase != Phase::Exited =>
            {
                Err(Error::conflict(format!("machine {:?} is about to start", self.name()))
                    .next("try again when it runs, or stop it first"))
            }
            ContainerState::Waiting | ContainerState::Exited => Ok(false),
            ContainerState::Paused => {
                Err(Error::conflict(format!("machine {:?} is paused", self.name()))
                    .next(format!("hull unpause {}", self.name())))
            }
        }
    }

    async fn control(&self) -> Result<Control> {
        guests::control(&self.context, &self.found.instance.meta.id).await
    }

    async fn take(&self, request: SnapshotRequest) -> Result<MachineSnapshot> {
        let mut list = kept::read(&self.directory())?;
        if list.iter().any(|snapshot| snapshot.name == request.name) {
            return Err(Error::exists(format!(
                "machine {:?} has a snapshot {:?}",
                self.name(),
                request.name
            ))
            .next("choose another name, or remove it first"));
        }
        let disks: Vec<String> = self.disks().iter().map(|disk| disk.name.clone()).collect();
        let mut snapshot = MachineSnapshot {
            name: request.name.clone(),
            created: Time::now(),
            memory: request.memory,
            consistent: true,
            disks,
        };
        let mut late = Ok(());
        if self.runs()? {
            let (consistent, thawed) = self.take_running(&request, &snapshot.disks).await?;
            snapshot.consistent = consistent;
            late = thawed;
        } else if request.memory {
            return Err(Error::conflict(format!(
                "machine {:?} does not run: it has no memory to keep",
                self.name()
            ))
            .next("leave out the memory, or start it"));
        } else {
            self.take_stopped(&snapshot).await?;
        }
        may_die("snapshot.taken");
        list.push(snapshot.clone());
        kept::write(&self.directory(), &list)?;
        late.map(|()| snapshot)
    }

    /// Takes one of a machine that runs; whether the guest's file systems were frozen meanwhile, and how
    /// thawing them ended.
    async fn take_running(
        &self,
        request: &SnapshotRequest,
        disks: &[String],
    ) -> Result<(bool, Result<()>)> {
        let control = self.control().await?;
        let (nodes, tag) = (self.nodes(disks), tag(&request.name));
        if request.memory {
            guests::is_as_it_started(&control).await?;
            // One that a platform which was killed had taken is in no list.
            let _ = control.qmp.snapshot_delete(&tag, &nodes, MEMORY).await;
            // What its memory has not written yet is in its memory.
            let state = qemu::node_name("root");
            control.qmp.snapshot_save(&tag, &state, &nodes, MEMORY).await?;
            return Ok((true, Ok(())));
        }
        for node in &nodes {
            let _ = control.qmp.snapshot_disk_delete(&tag, node).await;
        }
        let frozen = match guests::freeze(&self.context, &self.found.instance).await {
            Ok(frozen) => Some(frozen),
            Err(error) if request.consistent => return Err(error),
            Err(error) => {
                tracing::debug!(machine = self.name(), error = error.chain(), "not frozen");
                None
            }
        };
        let taken = control.qmp.snapshot_disks(&tag, &nodes).await;
        let consistent = frozen.is_some();
        let thawed = match frozen {
            Some(frozen) => frozen.thaw().await,
            None => Ok(()),
        };
        taken.map(|()| (consistent, thawed))
    }

    async fn take_stopped(&self, snapshot: &MachineSnapshot) -> Result<()> {
        for (done, disk) in self.disks().into_iter().enumerate() {
            let path = self.path(disk).await?;
            let tool = self.tool()?;
            let tag = tag(&snapshot.name);
            let _ = tool.snapshot_delete(whole(&path), &tag).await;
            let Err(error) = tool.snapshot_create(whole(&path), &tag).await else {
                continue;
            };
            // All of them or none.
            for disk in self.disks().into_iter().take(done) {
                let path = self.path(disk).await?;
                tool.snapshot_delete(whole(&path), &tag).await?;
            }
            return Err(error);
        }
        Ok(())
    }

    async fn restore(&self, name: &str) -> Result<()> {
        let snapshot = self.known(name)?;
        if !self.runs()? {
            for disk in self.disks().into_iter().filter(|disk| snapshot.disks.contains(&disk.name))
            {
                let path = self.path(disk).await?;
                self.tool()?.snapshot_apply(whole(&path), &tag(name)).await?;
                may_die("snapshot.applied");
            }
            return match snapshot.memory {
                true => resume_next(&self.directory(), &tag(name), &self.config),
                // What a stop had saved is of a later time.
                false => resumed(&self.directory()),
            };
        }
        if !snapshot.memory {
            return Err(Error::conflict(format!(
                "machine {:?} runs, and snapshot {name:?} is of its disks alone",
                self.name()
            ))
            .next(format!(
                "hull stop {0} && hull restore {0} {name} && hull start {0}",
                self.name()
            )));
        }
        let control = self.control().await?;
        let names: Vec<&str> = self.disks().iter().map(|disk| disk.name.as_str()).collect();
        if control.config.changed || snapshot.disks != names {
            return Err(Error::conflict(format!(
                "machine {:?} has other disks or network cards than when it started, or when the \
                 snapshot was taken",
                self.name()
            ))
            .next("take them out, or put them in, and restart it first"));
        }
        control.qmp.stop().await?;
        let nodes = self.nodes(&snapshot.disks);
        let state = qemu::node_name("root");
        let loaded = control.qmp.snapshot_load(&tag(name), &state, &nodes, MEMORY).await;
        if let Err(error) = loaded {
            // Half of it may be there: nothing may run on that.
            let why = format!("snapshot {name:?} was not loaded whole, and the guest stands still");
            return Err(error.about(why).next(format!("hull restart -t 0 {}", self.name())));
        }
        control.qmp.cont().await
    }

    async fn forget(&self, name: &str) -> Result<()> {
        let mut list = kept::read(&self.directory())?;
        let Some(at) = list.iter().position(|snapshot| snapshot.name == name) else {
            return Ok(());
        };
        let snapshot = list.remove(at);
        match (self.runs()?, snapshot.memory) {
            (true, true) => {
                let nodes = self.nodes(&snapshot.disks);
                self.control().await?.qmp.snapshot_delete(&tag(name), &nodes, MEMORY).await?;
            }
            (true, false) => {
                let control = self.control().await?;
                for node in self.nodes(&snapshot.disks) {
                    gone_is_fine(control.qmp.snapshot_disk_delete(&tag(name), &node).await)?;
                }
            }
            (false, _) => {
                for disk in self.disks() {
                    let path = self.path(disk).await?;
                    gone_is_fine(self.tool()?.snapshot_delete(whole(&path), &tag(name)).await)?;
                }
            }
        }
        may_die("snapshot.removed");
        kept::write(&self.directory(), &list)
    }

    fn known(&self, name: &str) -> Result<MachineSnapshot> {
        let list = kept::read(&self.directory())?;
        list.into_iter().find(|snapshot| snapshot.name == name).ok_or_else(|| {
            Error::not_found(format!("machine {:?} has no snapshot {name:?}", self.name()))
                .next(format!("hull snapshot ls {}", self.name()))
        })
    }

    /// What works on disks that QEMU has not open, as their user.
    fn tool(&self) -> Result<DiskTool> {
        Ok(DiskTool::find()?.as_user(self.config.user, self.config.user))
    }

    /// Where a disk's file is on the node.
    async fn path(&self, disk: &Disk) -> Result<PathBuf> {
        kept::disk(&self.context, &self.found.instance, &disk.name).await
    }
}

/// A machine's disk without what it lies on.
fn whole(path: &Path) -> DiskFile<'_> {
    DiskFile::alone(path, DiskFormat::Qcow2)
}

/// What a platform that was killed had removed already need not be there. QEMU has no word for it but a
/// sentence.
fn gone_is_fine(removed: Result<()>) -> Result<()> {
    const GONE: [&str; 3] = ["not found", "does not exist", "find snapshot"];
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if GONE.iter().any(|gone| error.message().contains(gone)) => Ok(()),
        other => other,
    }
}
