//! What an instance that is a machine has beyond what every instance has.
//!
//! An instance is a machine when the image of its one container carries a disk. Its processors and
//! memory are the container's [`resources`](super::Resources), its mounts are shared directories and
//! disks, its ports, networks, restart policy and health check are the instance's.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::id::Uid;
use crate::name::check_name;
use crate::quantity::Bytes;
use crate::time::Time;

/// What was asked of the machine. An instance whose image carries no disk refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineSpec {
    /// Size of its root disk; the image's when absent, and never less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_size: Option<Bytes>,
    /// Most operations of its root disk in a second; 0 for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub root_iops: u64,
    /// Most bytes of its root disk in a second; 0 for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub root_bps: u64,
    /// Images whose disks are put in as CDs, one for each drive; an empty name is an empty drive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cdroms: Vec<String>,
    /// What it boots from first. A machine whose image has a kernel boots that.
    pub boot: BootDevice,
    /// What the guest does at its first boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// What starts before the guest; the image's when absent, else BIOS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareKind>,
    /// A TPM 2.0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// Settings for a family of systems.
    pub profile: MachineProfile,
    /// The guest may run guests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nested: bool,
    /// Memory from huge pages.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hugepages: bool,
    /// A watchdog that resets a guest that hangs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
    /// PCI devices of the node given to it: `0000:01:00.0`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci: Vec<String>,
    /// Processors it may come to have while it runs; those it starts with when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpus: Option<u32>,
    /// Memory it may come to have while it runs; what it starts with when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Bytes>,
    /// What its disks begin as; the image's disk, and empty ones, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<MachineSource>,
}

/// The snapshot of another machine that the disks of a new one begin as. They are copied once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineSource {
    /// The other machine's name, as it was then.
    pub machine: String,
    /// Its identity; written by control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uid>,
    /// The snapshot.
    pub snapshot: String,
    /// When that was taken. Another that has come to have its name is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Time>,
    /// Digest of the image that both run from, wherever its name leads now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What the volumes that are its disks begin as: names of disks in the snapshot.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<String, String>,
}

/// What a machine boots from first; from the other, if nothing is there that boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BootDevice {
    /// Its disks, its root disk before the others.
    #[default]
    Disk,
    /// Its CDs.
    Cdrom,
}

/// A volume as a disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskOptions {
    /// Size of the disk, when it is new; 10 GiB when absent. A larger one grows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Where it is plugged in.
    pub bus: DiskBus,
    /// Most operations in a second; 0 for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub iops: u64,
    /// Most bytes in a second; 0 for no bound.
    #[serde(skip_serializing_if = "is_zero")]
    pub bps: u64,
    /// Whose memory keeps what was read and what is yet to be written.
    #[serde(skip_serializing_if = "DiskCache::is_usual")]
    pub cache: DiskCache,
    /// Its serial number in the guest; the volume's name, shortened to fit, when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial: String,
}

impl DiskOptions {
    /// Size of a new disk that was given none, in a volume that has none.
    pub const SIZE: Bytes = Bytes::gib(10);
    /// Most characters of a serial number (virtio 1.2, 5.2.6, `VIRTIO_BLK_ID_BYTES`).
    pub const SERIAL: usize = 20;

    /// What a disk in this volume is called where there is little room, as in QEMU and in serial numbers: as the
    /// volume is; of a long name the beginning, and of all of it a digest.
    #[must_use]
    pub fn short_name(volume: &str) -> Cow<'_, str> {
        /// Digits of the digest.
        const DIGITS: usize = 8;
        if volume.len() <= Self::SERIAL {
            return volume.into();
        }
        let digest = hex::encode(Sha256::digest(volume));
        let begin: String = volume.chars().take(Self::SERIAL - DIGITS - 1).collect();
        format!("{begin}-{}", &digest[..DIGITS]).into()
    }

    pub(super) fn validate(&self) -> Result<()> {
        let fits = self.serial.len() <= Self::SERIAL;
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if fits && self.serial.bytes().all(plain) {
            return Ok(());
        }
        Err(Error::invalid(format!("{:?} cannot be a disk's serial number", self.serial))
            .at("serial")
            .next("use 20 letters, digits, '-', '_' and '.' at most"))
    }
}

/// Whose memory keeps what is read of a disk, and what is yet to be written. When the guest asks for its
/// writes to be on the disk, they are, with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DiskCache {
    /// The node's.
    #[default]
    Writeback,
    /// Nobody's but the guest's (`O_DIRECT`, open(2)).
    None,
}

impl DiskCache {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a disk is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DiskBus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// virtio-scsi.
    Scsi,
    /// SATA, for systems without virtio drivers.
    Sata,
}

/// First-boot data (cloud-init).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudInit {
    /// `#cloud-config`, a script, or what else cloud-init takes as user data.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_data: String,
    /// The same from the vendor, which user data overrides.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vendor_data: String,
    /// Network configuration, version 1 or 2, instead of the platform's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_config: String,
    /// Public keys that may log in as the image's default user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// Which of cloud-init's datasources it is laid out for; what the profile's systems look for when none is
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
}

/// A datasource of cloud-init: how first-boot data is laid out on its disc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Datasource {
    /// A disc named `cidata`.
    NoCloud,
    /// OpenStack's, a disc named `config-2`.
    ConfigDrive,
}

impl MachineProfile {
    /// The datasource that its systems look for.
    pub fn datasource(self) -> Datasource {
        match self {
            MachineProfile::Generic => Datasource::NoCloud,
            // What brings a Windows guest up (cloudbase-init) looks for that.
            MachineProfile::Windows => Datasource::ConfigDrive,
        }
    }
}

/// What starts before the guest's own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FirmwareKind {
    /// SeaBIOS.
    #[default]
    Bios,
    /// UEFI.
    Uefi,
    /// UEFI that starts only what is signed.
    SecureBoot,
}

/// Settings for a family of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MachineProfile {
    /// For Linux, BSD and what else has virtio drivers.
    #[default]
    Generic,
    /// For Windows: SATA and e1000e, local time, Hyper-V's interface.
    Windows,
}

/// What was seen of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Why KVM is not used.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub slow: String,
    /// How directories are shared with it: `virtiofs` or `9p`; empty when none are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shares: String,
    /// Processors it has.
    pub cpus: u32,
    /// Memory it has.
    pub memory: Bytes,
    /// Times the guest restarted itself in this run.
    pub reboots: u32,
    /// Times the watchdog restarted the guest in this run.
    #[serde(skip_serializing_if = "is_zero32")]
    pub watchdog: u32,
    /// How its last run ended: see [`MachineEnd`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<MachineEnd>,
    /// Disks it has, its root first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<MachineDisk>,
    /// Its disks are no longer those of what it was made from, but its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    /// Networks that its cards are on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Changes that wait for the next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// What the guest tells of itself. Nobody stores it: who shows an instance asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestFacts>,
}

/// What a guest tells of itself, by the agent inside it; nothing of it is relied on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestFacts {
    /// The name it has given itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_name: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// `6.1.0-56-cloud-amd64`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Its network interfaces.
    pub interfaces: Vec<GuestInterface>,
}

/// A network interface that a guest tells of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestInterface {
    /// The guest's name for it.
    pub name: String,
    /// Its hardware address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its addresses, with the length of their prefix: `10.0.0.5/24`.
    pub addresses: Vec<String>,
}

/// A disk that a machine has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineDisk {
    /// `root`, or the volume's name.
    pub name: String,
    /// Its size, as the guest sees it; absent until it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
}

/// How a machine's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MachineEnd {
    /// The guest shut itself down: exit code 0.
    Shutdown,
    /// The guest's kernel panicked (pvpanic): exit code 70.
    Panic,
    /// Its state was saved: exit code 0.
    Saved,
    /// QEMU failed: its exit code, or 128 and the signal.
    Crash,
}

impl DiskBus {
    /// Where a Linux guest finds a disk of this serial number (udev(7), `60-persistent-storage.rules`).
    pub fn device(self, serial: &str) -> String {
        match self {
            DiskBus::Virtio => format!("/dev/disk/by-id/virtio-{serial}"),
            DiskBus::Scsi => format!("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"),
            DiskBus::Sata => format!("/dev/disk/by-id/ata-QEMU_HARDDISK_{serial}"),
        }
    }
}

impl MachineSpec {
    /// CDs a machine takes: its other SATA ports are for disks.
    pub const CDS: usize = 3;

    pub(super) fn validate(&self) -> Result<()> {
        if self.cdroms.len() > Self::CDS {
            return Err(
                Error::invalid(format!("a machine takes {} CDs at most", Self::CDS)).at("cdroms")
            );
        }
        for address in &self.pci {
            if !is_pci_address(address) {
                return Err(Error::invalid(format!("{address:?} is not a PCI address"))
                    .at("pci")
                    .next("write it as lspci -D does: 0000:01:00.0"));
            }
        }
        if let Some(source) = &self.source {
            check_name(&source.snapshot).map_err(|error| error.at("source.snapshot"))?;
        }
        Ok(())
    }
}

fn is_pci_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2, 1] && parts.concat().bytes().all(|c| c.is_ascii_hexdigit())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero32(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_and_told_apart() {
        for name in ["data", "x", "twenty-characters-xx"] {
            assert_eq!(DiskOptions::short_name(name), name);
        }
        let short = DiskOptions::short_name;
        let (one, two) = (short("measurements-of-summer"), short("measurements-of-winter"));
        assert_eq!((one.len(), two.len()), (DiskOptions::SERIAL, DiskOptions::SERIAL));
        assert!(one.starts_with("measurement-") && one != two, "{one} {two}");
        assert_eq!(one, short("measurements-of-summer"), "always the same");
        let serial = one.into_owned();
        DiskOptions { serial, ..DiskOptions::default() }.validate().unwrap();
    }
}
