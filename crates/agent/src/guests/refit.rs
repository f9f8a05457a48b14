//! Disks and network cards that come and go while a machine runs, and what is changed of those that stay:
//! size and bounds. What QEMU has is what counts, so that this can be cut short anywhere and done again;
//! `machine.json` is written after it. What the guest does not let go of, or what has no port, waits for
//! the next start, and is said.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use faults::may_die;
use machines::config::{Bus, Disk, MachineConfig, Nic};
use machines::monitor::{Card, tell_card};
use machines::qemu::{self, Device};
use model::error::Context as _;
use model::instance::MachineDisk;
use model::{Bytes, Error, ErrorKind, Result};
use rustix::fs::OFlags;

use super::{Control, control};
use crate::steps::machine;
use crate::worker::Worker;

/// How long a guest may take to let go of a device.
const RELEASE: Duration = Duration::from_secs(10);

/// What a running machine is to have.
#[derive(Debug, Default)]
pub struct Given {
    /// Disks in volumes, each with its file on the node and the size it is to have, if it is to be another.
    pub disks: Vec<(Disk, PathBuf, Option<Bytes>)>,
    /// CD drives, each with the file of what is to be in it.
    pub discs: Vec<(Disk, PathBuf)>,
    /// Network cards.
    pub nics: Vec<Nic>,
    /// Size of the root disk, where one is asked for.
    pub root_size: Option<Bytes>,
    /// Bounds of the root disk: operations and bytes in a second; 0 for none.
    pub root_bounds: (u64, u64),
    /// What of it cannot be given, and why.
    pub refused: Vec<String>,
}

/// What a machine has after its wishes changed.
#[derive(Debug, Default)]
pub struct Refitted {
    /// Its disks.
    pub disks: Vec<MachineDisk>,
    /// Changes that wait for the next start.
    pub pending: Vec<String>,
}

/// Brings a running machine to what it is to have, as far as it can go there.
pub async fn refit(worker: &Worker, given: Given) -> Result<Refitted> {
    let control = control(&worker.context, &worker.uid).await?;
    let mut bench =
        Bench { worker, pending: given.refused, config: control.config.clone(), control };
    bench.take_out(&given.disks, &given.nics).await?;
    for (disk, file, size) in &given.disks {
        let done = bench.give_disk(disk, file, *size).await;
        bench.note(&format!("disk {:?}", disk.name), done)?;
    }
    for (disc, file) in &given.discs {
        let done = bench.give_disc(disc, file).await;
        bench.note(&format!("CD drive {}", disc.name), done)?;
    }
    for nic in &given.nics {
        let done = bench.give_card(nic).await;
        bench.note(&format!("network card {}", nic.mac), done)?;
    }
    if let Some(size) = given.root_size {
        let done = bench.grow(&qemu::node_name("root"), size).await;
        bench.note("root disk", done)?;
    }
    let done = bench.bound_root(given.root_bounds).await;
    bench.note("root disk", done)?;
    bench.finish().await
}

/// A machine that is worked on.
struct Bench<'a> {
    worker: &'a Worker,
    control: Control,
    /// What it has, as far as that is known.
    config: MachineConfig,
    pending: Vec<String>,
}

impl Bench<'_> {
    /// What could not be done with one thing keeps nothing of the others; a QEMU that does not answer does.
    fn note(&mut self, what: &str, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
            Err(error) => {
                let next = error.next_step().map(|next| format!("; try: {next}"));
                let next = next.unwrap_or_default();
                self.pending.push(format!("{what}: {}{next}", error.chain()));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes down what the machine has now.
    fn write(&mut self, change: impl FnOnce(&mut MachineConfig)) -> Result<()> {
        change(&mut self.config);
        self.config.changed = true;
        machine::write_config(self.worker, &self.config)
    }

    /// Takes out what the machine is not to have any more.
    async fn take_out(
        &mut self,
        disks: &[(Disk, PathBuf, Option<Bytes>)],
        nics: &[Nic],
    ) -> Result<()> {
        for disk in self.config.disks.clone() {
            if disk.is_own() || disks.iter().any(|(wanted, _, _)| wanted.name == disk.name) {
                continue;
            }
            let done = self.take_disk(&disk).await;
            self.note(&format!("disk {:?} is still there", disk.name), done)?;
        }
        for nic in self.config.nics.clone() {
            if !nics.iter().any(|wanted| wanted.is(&nic)) {
                let done = self.take_card(&nic).await;
                self.note(&format!("network card {} is still there", nic.mac), done)?;
            }
        }
        Ok(())
    }

    async fn give_disk(&mut self, disk: &Disk, file: &Path, size: Option<Bytes>) -> Result<()> {
        match self.config.disks.iter().find(|has| has.name == disk.name).cloned() {
            Some(has)
                if (has.bus, has.read_only, has.direct, has.serial())
                    != (disk.bus, disk.read_only, disk.direct, disk.serial()) =>
            {
                return Err(Error::conflict(
                    "its bus, cache and serial number, and whether it can be written, stay as they are",
                )
                .next("take it out and put it in again"));
            }
            Some(has) => {
                if (has.iops, has.bps) != (disk.iops, disk.bps) {
                    self.bound(disk).await?;
                    self.replace(disk)?;
                }
            }
            None => {
                self.plug_disk(disk, file).await?;
                may_die("refit.plugged");
                self.write(|config| config.disks.push(disk.clone()))?;
            }
        }
        match size {
            Some(size) if !disk.read_only => self.grow(&qemu::node_name(&disk.name), size).await,
            _ => Ok(()),
        }
    }

    /// Has a CD drive hold what it is to hold.
    async fn give_disc(&mut self, disc: &Disk, file: &Path) -> Result<()> {
        let has = self.config.disks.iter().find(|has| has.name == disc.name).cloned();
        let Some(has) = has else {
            return Err(Error::unsupported("the machine was started without it"));
        };
        if has.image == disc.image {
            return if has.asked == disc.asked { Ok(()) } else { self.replace(disc) };
        }
        let drive = qemu::device_name(&disc.name);
        self.control.qmp.eject(&drive, RELEASE).await?;
        // It is empty whatever comes of the next disc, which may be the one that was in it.
        self.replace(&Disk {
            image: String::new(),
            asked: String::new(),
            path: PathBuf::new(),
            ..has.clone()
        })?;
        self.close_disk(&has).await;
        may_die("refit.ejected");
        if !disc.is_empty() {
            self.open_disk(disc, file).await?;
            self.control.qmp.insert(&drive, &qemu::node_name(&disc.name)).await?;
        }
        self.control.qmp.close_tray(&drive).await?;
        may_die("refit.inserted");
        self.replace(disc)
    }

    async fn bound_root(&mut self, (iops, bps): (u64, u64)) -> Result<()> {
        let Some(root) = self.config.disks.iter().find(|disk| disk.name == "root") else {
            return Ok(());
        };
        if (root.iops, root.bps) == (iops, bps) {
            return Ok(());
        }
        let root = Disk { iops, bps, ..root.clone() };
        self.bound(&root).await?;
        self.replace(&root)
    }

    /// Writes down another description of a disk that is there.
    fn replace(&mut self, disk: &Disk) -> Result<()> {
        let disks = self.config.disks.iter_mut().filter(|has| has.name == disk.name);
        disks.for_each(|has| has.clone_from(disk));
        machine::write_config(self.worker, &self.config)
    }

    async fn bound(&self, disk: &Disk) -> Result<()> {
        let device = qemu::bounded_device(disk);
        self.control.qmp.block_throttle(&device, disk.iops, disk.bps).await
    }

    async fn grow(&self, node: &str, size: Bytes) -> Result<()> {
        let has = self.control.qmp.block_size(node).await?;
        match size.0.cmp(&has) {
            std::cmp::Ordering::Greater => self.control.qmp.block_resize(node, size.0).await,
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(Error::invalid(format!(
                "it has {}, and disks do not shrink to {size}",
                Bytes(has)
            ))),
        }
    }

    async fn plug_disk(&self, disk: &Disk, file: &Path) -> Result<()> {
        if matches!(disk.bus, Bus::Sata | Bus::Cdrom) {
            return Err(Error::unsupported("SATA takes no disks while it runs"));
        }
        let qmp = &self.control.qmp;
        let slots = qmp.query_slots().await?;
        if !slots.devices.contains(&qemu::port_device(disk)) {
            let port = slots.free.first().ok_or_else(no_port)?;
            let mut devices = qemu::disk_devices(disk);
            devices[0] = devices[0].clone().at(port);
            self.open_disk(disk, file).await?;
            if let Err(error) = self.plug(&devices).await {
                self.close_disk(disk).await;
                return Err(error);
            }
        }
        if disk.iops > 0 || disk.bps > 0 {
            self.bound(disk).await?;
        }
        Ok(())
    }

    async fn plug(&self, devices: &[Device]) -> Result<()> {
        for device in devices {
            self.control.qmp.device_add(device.json()).await?;
        }
        Ok(())
    }

    /// Has QEMU open a disk, which it is handed: nothing of the node is mounted into walls that stand.
    async fn open_disk(&self, disk: &Disk, file: &Path) -> Result<()> {
        // Of a try that was cut short.
        self.close_disk(disk).await;
        let [mut below, top] = qemu::block_nodes(disk);
        let mut flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        // QEMU takes it as it was opened; since 9.1 it refuses one that was not opened so.
        flags.set(OFlags::DIRECT, below["cache"]["direct"] == true);
        let opened: OwnedFd = File::options()
            .read(true)
            .write(!disk.read_only)
            .custom_flags(flags.bits().cast_signed())
            .open(file)
            .context(ErrorKind::Conflict, || format!("cannot open {}", file.display()))?
            .into();
        let path = self.control.qmp.add_file(opened).await?;
        below["filename"] = path.into();
        self.control.qmp.blockdev_add(below).await?;
        let opened = self.control.qmp.blockdev_add(top).await;
        if opened.is_err() {
            self.close_disk(disk).await;
        }
        opened
    }

    /// Has QEMU close what it has of a disk that no device uses.
    async fn close_disk(&self, disk: &Disk) {
        let top = qemu::node_name(&disk.name);
        for node in [top.clone(), format!("{top}-file")] {
            // What is not there is closed; what is used is told of when it is opened again.
            let _ = self.control.qmp.blockdev_del(&node).await;
        }
    }

    async fn take_disk(&mut self, disk: &Disk) -> Result<()> {
        match disk.bus {
            Bus::Virtio => self.unplug(&qemu::device_name(&disk.name)).await?,
            Bus::Scsi => {
                self.unplug(&qemu::device_name(&disk.name)).await?;
                self.unplug(&qemu::controller_name(&disk.name)).await?;
            }
            Bus::Sata | Bus::Cdrom => {
                return Err(Error::unsupported("SATA gives no disks away while it runs"));
            }
        }
        self.close_disk(disk).await;
        may_die("refit.unplugged");
        self.write(|config| config.disks.retain(|has| has.name != disk.name))
    }

    /// Asks the guest to let go of a device, and waits a while. One that is gone is fine.
    async fn unplug(&self, device: &str) -> Result<()> {
        match self.control.qmp.device_del(device, RELEASE).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            // QEMU answers; it is the guest that does not.
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                Err(Error::conflict(error.message().to_owned())
                    .next("stop using it in the guest, or restart the machine"))
            }
            other => other,
        }
    }

    async fn give_card(&mut self, nic: &Nic) -> Result<()> {
        let has = self.config.nics.iter().find(|has| has.tap == nic.tap).cloned();
        match has {
            Some(has) if has == *nic => return Ok(()),
            Some(has) if !has.is(nic) => {
                return Err(Error::conflict("the guest still has the card before it"));
            }
            Some(_) => self.tell(nic, false).await.map(drop)?,
            None => {
                self.plug_card(nic).await?;
                may_die("refit.carded");
            }
        }
        let there = self.config.nics.iter().position(|has| has.is(nic));
        match there {
            Some(index) => {
                self.config.nics[index] = nic.clone();
                machine::write_config(self.worker, &self.config)
            }
            None => self.write(|config| config.nics.push(nic.clone())),
        }
    }

    /// Has the monitor answer a card's questions; returns its tap, if that was asked for.
    async fn tell(&self, nic: &Nic, with_tap: bool) -> Result<Option<OwnedFd>> {
        let context = &self.worker.context;
        let namespace = context.fabric.driver().namespace(&self.worker.uid);
        let Card { tap, questions } = Card::open(&namespace, nic, with_tap).await?;
        tell_card(&context.places.machine(&self.worker.uid), nic, questions).await?;
        Ok(tap)
    }

    async fn plug_card(&self, nic: &Nic) -> Result<()> {
        let qmp = &self.control.qmp;
        let slots = qmp.query_slots().await?;
        if slots.devices.contains(&qemu::card_name(nic)) {
            return self.tell(nic, false).await.map(drop);
        }
        let port = slots.free.first().ok_or_else(no_port)?;
        let net = qemu::net_name(nic);
        // Of a try that was cut short: it has the tap.
        let _ = qmp.netdev_del(&net).await;
        let Some(tap) = self.tell(nic, true).await? else { return Ok(()) };
        qmp.netdev_add(&net, tap).await?;
        let plugged = self.plug(&[qemu::card_device(nic, self.config.windows).at(port)]).await;
        if plugged.is_err() {
            let _ = qmp.netdev_del(&net).await;
        }
        plugged
    }

    async fn take_card(&mut self, nic: &Nic) -> Result<()> {
        self.unplug(&qemu::card_name(nic)).await?;
        let _ = self.control.qmp.netdev_del(&qemu::net_name(nic)).await;
        self.write(|config| config.nics.retain(|has| !has.is(nic)))
    }

    async fn finish(self) -> Result<Refitted> {
        let mut disks = machine::disks_of(&self.config);
        for disk in &mut disks {
            disk.size =
                self.control.qmp.block_size(&qemu::node_name(&disk.name)).await.ok().map(Bytes);
        }
        Ok(Refitted { disks, pending: self.pending })
    }
}

fn no_port() -> Error {
    Error::exhausted("no port of the machine is free").next("restart the machine")
}
