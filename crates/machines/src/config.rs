//! What one machine is made of, as the agent resolved it. The agent writes it beside the machine's
//! sockets; [`crate::monitor`] reads it inside the walls. All paths are those seen inside.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};
use model::instance::DiskOptions;
use serde::{Deserialize, Serialize};

/// Where the machine's directory is mounted inside its walls. It is root's; in it are [`CONFIG`] and a
/// directory of the machine's user, `run`.
pub const DIRECTORY: &str = "/machine";
/// Directory in it of the machine's own disks, which is the machine's user's.
pub const DISKS: &str = "disks";
/// File of [`MachineConfig`] in that directory.
pub const CONFIG: &str = "machine.json";
/// Directory in it of the machine's user. What is there may be anything: it is opened without following
/// links.
pub const RUN: &str = "run";
/// Directory in it of the directories shared with the guest.
pub const SHARES: &str = "shares";
/// File of [`crate::monitor::Told`]: what the monitor saw of the guest.
pub const TOLD: &str = "run/told.json";
/// Socket of QEMU's control protocol, for the agent.
pub const QMP: &str = "run/qmp.sock";
/// Socket of the machine's monitor, for the agent: new network cards are told of there.
pub const MONITOR: &str = "run/monitor.sock";
/// Socket of the guest agent.
pub const GUEST_AGENT: &str = "run/agent.sock";
/// Socket of the graphical console (RFB).
pub const VNC: &str = "run/vnc.sock";

/// A machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineConfig {
    /// Its name, shown by QEMU.
    pub name: String,
    /// Its identity, as SMBIOS tells it to the guest: a UUID.
    pub uuid: String,
    /// The user that QEMU runs as; never root.
    pub user: u32,
    /// QEMU's program.
    pub program: PathBuf,
    /// Processors at its start.
    pub cpus: u32,
    /// Processors it may come to have.
    pub max_cpus: u32,
    /// Bytes of memory at its start.
    pub memory: u64,
    /// Bytes of memory it may come to have.
    pub max_memory: u64,
    /// What runs its instructions.
    pub accelerator: Accelerator,
    /// What starts before its disk.
    pub firmware: Firmware,
    /// Boots without firmware looking for a disk.
    pub kernel: Option<Kernel>,
    /// Its disks, in boot order.
    pub disks: Vec<Disk>,
    /// CDs are booted from before disks.
    pub cds_first: bool,
    /// Its network cards.
    pub nics: Vec<Nic>,
    /// Directories of the host shared with it.
    pub shares: Vec<Share>,
    /// What shares them.
    pub share_server: ShareServer,
    /// A graphical console.
    pub graphics: bool,
    /// Settings that Windows wants: its clock, its paravirtual interface, devices it has drivers for.
    pub windows: bool,
    /// The guest may run guests.
    pub nested: bool,
    /// Memory comes from huge pages.
    pub hugepages: bool,
    /// It has a TPM 2.0, emulated by `swtpm`.
    pub tpm: bool,
    /// What the watchdog does when the guest stops feeding it; no watchdog without.
    pub watchdog: bool,
    /// PCI devices of the host given to it: `0000:01:00.0`.
    pub pci: Vec<String>,
    /// Name of a state saved in its disks to go on from.
    pub resume: Option<String>,
    /// Disks or network cards were plugged in or out since it started.
    pub changed: bool,
}

impl MachineConfig {
    /// Disks that keep snapshots: those that can be written.
    pub fn kept_disks(&self) -> impl Iterator<Item = &Disk> {
        self.disks.iter().filter(|disk| !disk.read_only && disk.format == Format::Qcow2)
    }

    /// Whether it has directories that are shared by virtiofs: their servers work in the guest's memory.
    pub fn has_virtiofs(&self) -> bool {
        !self.shares.is_empty() && self.share_server != ShareServer::Qemu
    }
}

/// What shares directories with the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShareServer {
    /// QEMU itself, by 9p.
    #[default]
    Qemu,
    /// A `virtiofsd` for each.
    #[serde(rename_all = "camelCase")]
    Virtiofs {
        /// The program.
        program: PathBuf,
        /// How it is spoken to.
        dialect: Dialect,
    },
}

/// Which `virtiofsd` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// The one that came with QEMU to 7.2.
    Qemu,
    /// The one that took its place.
    VirtioFs,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Accelerator {
    /// The processor, by KVM.
    Kvm,
    /// QEMU's translator.
    #[default]
    Tcg,
}

/// What starts before the guest's own code.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF.
    #[serde(rename_all = "camelCase")]
    Uefi {
        /// Its code, read-only.
        code: PathBuf,
        /// This machine's variables.
        variables: PathBuf,
        /// It starts only what is signed.
        secure: bool,
    },
}

/// A kernel that QEMU loads itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its first file system.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// Name in QEMU: `root`, `seed`, the volume's name.
    pub name: String,
    /// Serial number in the guest; its name when empty.
    pub serial: String,
    /// Its file or block device; empty for a CD drive that nothing is in.
    pub path: PathBuf,
    /// Of a CD, the image that it is of.
    pub image: String,
    /// Of a CD, the name that was asked for: it may come to mean another image while this one is in.
    pub asked: String,
    /// Format of the file. Never found out by looking: a guest could write another format's header.
    pub format: Format,
    /// Where it is plugged in.
    pub bus: Bus,
    /// It cannot be written.
    pub read_only: bool,
    /// Bounds: operations in a second, reads and writes together; 0 for none.
    pub iops: u64,
    /// Bytes in a second, reads and writes together; 0 for none.
    pub bps: u64,
    /// The node's memory keeps nothing of it.
    pub direct: bool,
}

impl Disk {
    /// Its serial number in the guest.
    pub fn serial(&self) -> Cow<'_, str> {
        match self.serial.as_str() {
            "" => DiskOptions::short_name(&self.name),
            serial => serial.into(),
        }
    }

    /// Whether it is a CD drive that nothing is in.
    pub fn is_empty(&self) -> bool {
        self.bus == Bus::Cdrom && self.path.as_os_str().is_empty()
    }

    /// Whether it is one that the machine has for as long as it runs: its root, its first-boot data, a CD
    /// drive.
    pub fn is_own(&self) -> bool {
        matches!(self.name.as_str(), "root" | "seed") || self.bus == Bus::Cdrom
    }
}

/// Format of a disk image's file, as QEMU calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "names of formats")]
pub enum Format {
    #[default]
    Qcow2,
    Raw,
}

/// Where a disk is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Bus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// A disk on a virtio-scsi controller.
    Scsi,
    /// SATA: slow, and known to every system.
    Sata,
    /// A CD drive.
    Cdrom,
}

/// A network card. Its tap is in the machine's network namespace and belongs to QEMU's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    /// Name of the tap.
    pub tap: String,
    /// Hardware address of the guest's card.
    pub mac: String,
    /// Largest packet.
    pub mtu: u32,
    /// The guest's address.
    pub ipv4: Option<Ipv4Net>,
    /// The guest's address.
    pub ipv6: Option<Ipv6Net>,
    /// Where packets to the world go.
    pub gateway4: Option<Ipv4Addr>,
    /// Where packets to the world go.
    pub gateway6: Option<Ipv6Addr>,
    /// The gateway's link-local address: the one that a router advertisement must come from. The guest
    /// gets no IPv6 default route without.
    #[serde(default)]
    pub router6: Option<Ipv6Addr>,
    /// Who answers names.
    pub dns: Vec<IpAddr>,
    /// Domains that names without a dot are looked for in.
    pub search: Vec<String>,
    /// The name the guest is to give itself.
    pub hostname: String,
}

impl Nic {
    /// Whether the other is the same card, though the network behind it may have changed.
    pub fn is(&self, other: &Nic) -> bool {
        self.tap == other.tap && self.mac == other.mac
    }
}

/// A directory shared with the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Share {
    /// Name the guest mounts it by.
    pub tag: String,
    /// The directory inside the walls.
    pub path: PathBuf,
    /// Where the guest mounts it.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
}
