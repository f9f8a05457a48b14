//! What is asked of a machine: `--disk`, `--cloud-init`, `--ssh-key` and their sisters.

use model::instance::{
    BootDevice, CloudInit, Datasource, DiskBus, DiskCache, DiskOptions, FirmwareKind,
    MachineProfile, MachineSpec, Mount, MountKind,
};
use model::{Error, Result};

use super::text::text as read;
use crate::flags::MachineFlags;

/// What the flags ask of a machine; `None` when they ask nothing.
pub fn machine(flags: &MachineFlags) -> Result<Option<MachineSpec>> {
    let machine = MachineSpec {
        root_size: flags.root_size,
        root_iops: flags.root_iops,
        root_bps: flags.root_bps.map_or(0, |most| most.0),
        cdroms: flags.cdrom.clone(),
        boot: boot(flags.boot.as_deref().unwrap_or("disk"))?,
        cloud_init: cloud_init(flags)?,
        firmware: flags.firmware.as_deref().map(firmware).transpose()?,
        tpm: flags.tpm,
        profile: profile(flags.profile.as_deref().unwrap_or("generic"))?,
        nested: flags.nested,
        hugepages: flags.hugepages,
        watchdog: flags.watchdog,
        pci: flags.pci.clone(),
        max_cpus: flags.max_cpus,
        max_memory: flags.max_memory,
        source: None,
    };
    Ok((machine != MachineSpec::default()).then_some(machine))
}

fn cloud_init(flags: &MachineFlags) -> Result<Option<CloudInit>> {
    let text =
        |file: &Option<String>| file.as_deref().map(|it| read(it, "--cloud-init")).transpose();
    let seed = CloudInit {
        user_data: text(&flags.cloud_init)?.unwrap_or_default(),
        network_config: text(&flags.cloud_init_network)?.unwrap_or_default(),
        ssh_keys: keys(&flags.ssh_key)?,
        datasource: flags.datasource.as_deref().map(datasource).transpose()?,
        ..CloudInit::default()
    };
    Ok((seed != CloudInit::default()).then_some(seed))
}

/// Each a key, or a file of keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
fn keys(given: &[String]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for text in given {
        let lines = if is_key(text) { text.clone() } else { read(text, "--ssh-key")? };
        let lines = lines.lines().map(str::trim);
        let before = keys.len();
        keys.extend(lines.filter(|line| is_key(line)).map(str::to_owned));
        if keys.len() == before {
            return Err(Error::invalid(format!("{text} is no public key and holds none"))
                .at("--ssh-key")
                .next("give the .pub file: --ssh-key ~/.ssh/id_ed25519.pub"));
        }
    }
    Ok(keys)
}

fn is_key(line: &str) -> bool {
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    kinds.iter().any(|kind| line.starts_with(kind)) && line.split_whitespace().count() >= 2
}

/// Reads `--firmware`.
fn firmware(text: &str) -> Result<FirmwareKind> {
    match text {
        "bios" => Ok(FirmwareKind::Bios),
        "uefi" | "efi" => Ok(FirmwareKind::Uefi),
        "secure-boot" | "secureboot" => Ok(FirmwareKind::SecureBoot),
        _ => Err(Error::invalid(format!("{text:?} is no firmware"))
            .at("--firmware")
            .next("use bios, uefi or secure-boot")),
    }
}

/// Reads `--boot`.
fn boot(text: &str) -> Result<BootDevice> {
    match text {
        "disk" | "hd" => Ok(BootDevice::Disk),
        "cdrom" | "cd" => Ok(BootDevice::Cdrom),
        _ => Err(Error::invalid(format!("{text:?} is nothing to boot from"))
            .at("--boot")
            .next("use disk or cdrom")),
    }
}

fn datasource(text: &str) -> Result<Datasource> {
    match text {
        "nocloud" => Ok(Datasource::NoCloud),
        "config-drive" => Ok(Datasource::ConfigDrive),
        _ => Err(Error::invalid(format!("{text:?} is no datasource that can be made"))
            .at("--datasource")
            .next("use nocloud or config-drive")),
    }
}

fn profile(text: &str) -> Result<MachineProfile> {
    match text {
        "generic" => Ok(MachineProfile::Generic),
        "windows" => Ok(MachineProfile::Windows),
        _ => Err(Error::invalid(format!("{text:?} is no profile"))
            .at("--profile")
            .next("use generic or windows")),
    }
}

/// What is said of a disk: all of a new one, or what is to be another of one that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The volume it is in.
    pub name: String,
    size: Option<model::Bytes>,
    bus: Option<DiskBus>,
    iops: Option<u64>,
    bps: Option<u64>,
    cache: Option<DiskCache>,
    serial: Option<String>,
    read_only: bool,
}

impl Disk {
    /// The disk that it makes of one that is there, or of none.
    pub fn mount(&self, before: Option<&Mount>) -> Mount {
        let was = before.and_then(|mount| mount.disk.clone()).unwrap_or_default();
        let options = DiskOptions {
            size: self.size.or(was.size),
            bus: self.bus.unwrap_or(was.bus),
            iops: self.iops.unwrap_or(was.iops),
            bps: self.bps.unwrap_or(was.bps),
            cache: self.cache.unwrap_or(was.cache),
            serial: self.serial.clone().unwrap_or(was.serial),
        };
        let serial = match options.serial.as_str() {
            "" => DiskOptions::short_name(&self.name).into_owned(),
            serial => serial.to_owned(),
        };
        let kind =
            MountKind::Volume { name: self.name.clone(), subpath: String::new(), no_copy: true };
        Mount {
            target: options.bus.device(&serial),
            kind,
            read_only: self.read_only || before.is_some_and(|mount| mount.read_only),
            disk: Some(options),
        }
    }
}

/// Reads one `--disk` of a new machine.
pub fn disk(text: &str) -> Result<Mount> {
    Ok(disk_change(text)?.mount(None))
}

/// Reads one `--disk`: `NAME[,size=10g][,bus=virtio][,iops=N][,bps=SIZE][,cache=none][,serial=TEXT][,ro]`.
pub fn disk_change(text: &str) -> Result<Disk> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not a disk: {why}")).at("--disk").next(
            "write NAME[,size=10g][,bus=virtio|scsi|sata][,iops=N][,bps=SIZE][,cache=none]\
             [,serial=TEXT][,ro]",
        )
    };
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() || name.contains(['/', '=']) {
        return Err(refuse("it begins with the name of a volume"));
    }
    let (size, bus, iops, bps, cache, serial) = (None, None, None, None, None, None);
    let name = name.to_owned();
    let mut disk = Disk { name, size, bus, iops, bps, cache, serial, read_only: false };
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let number = || value.parse::<u64>().map_err(|_| refuse(&format!("{key} is no number")));
        match key {
            "size" => disk.size = Some(value.parse()?),
            "bus" => {
                disk.bus = Some(match value {
                    "virtio" => DiskBus::Virtio,
                    "scsi" => DiskBus::Scsi,
                    "sata" => DiskBus::Sata,
                    _ => return Err(refuse(&format!("there is no bus {value:?}"))),
                });
            }
            "iops" => disk.iops = Some(number()?),
            "bps" => disk.bps = Some(value.parse::<model::Bytes>()?.0),
            "cache" => {
                disk.cache = Some(match value {
                    "writeback" => DiskCache::Writeback,
                    "none" => DiskCache::None,
                    _ => return Err(refuse(&format!("there is no cache {value:?}"))),
                });
            }
            "serial" => disk.serial = Some(value.to_owned()),
            "ro" | "readonly" => disk.read_only = true,
            _ => return Err(refuse(&format!("unknown option {part:?}"))),
        }
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks() {
        let mount = disk("data,size=20g,bus=scsi,ro").unwrap();
        assert_eq!(mount.target, "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_data");
        assert!(mount.read_only);
        let options = mount.disk.unwrap();
        assert_eq!(options.size.unwrap().0, 20 << 30);
        assert_eq!(disk("data").unwrap().target, "/dev/disk/by-id/virtio-data");
        let faster =
            disk_change("data,iops=5").unwrap().mount(Some(&disk("data,size=1g,bps=9").unwrap()));
        let options = faster.disk.unwrap();
        assert_eq!((options.size.unwrap().0, options.iops, options.bps), (1 << 30, 5, 9));
        let direct = disk("data,cache=none").unwrap().disk.unwrap();
        assert_eq!(direct.cache, DiskCache::None);
        let known = disk("data,serial=old").unwrap();
        assert_eq!(known.target, "/dev/disk/by-id/virtio-old");
        let grown = disk_change("data,size=2g").unwrap().mount(Some(&known));
        assert_eq!(grown.target, known.target);
        for wrong in ["a,cache=unsafe", "", "/x", "size=1g", "a,bus=ide", "a,iops=x", "a,what"] {
            assert!(disk(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_keys_or_files_of_them() {
        let key = "ssh-ed25519 AAAA me@here".to_owned();
        assert_eq!(keys(std::slice::from_ref(&key)).unwrap(), std::slice::from_ref(&key));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("# mine\n{key}\n")).unwrap();
        let path = file.path().display().to_string();
        assert_eq!(keys(&[path]).unwrap(), [key]);
        std::fs::write(file.path(), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(keys(&[file.path().display().to_string()]).is_err(), "a private key");
    }
}
