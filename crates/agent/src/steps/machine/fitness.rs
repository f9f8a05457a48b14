//! Whether this node can run what is asked: found out before anything is made.

use std::path::{Path, PathBuf};

use model::instance::MachineSpec;
use model::{Bytes, Error, Result};

use super::PROGRAM;

/// Where the kernel shows PCI devices.
const PCI: &str = "/sys/bus/pci/devices";
/// The TPM's emulator.
const SWTPM: &str = "/usr/bin/swtpm";

/// Refuses what this node cannot run.
pub fn check(asked: &MachineSpec, memory: Bytes) -> Result<()> {
    if !Path::new(PROGRAM).exists() {
        return Err(Error::unavailable(format!("machines need QEMU, and {PROGRAM} is not there"))
            .next("install it: apt install qemu-system-x86 qemu-utils"));
    }
    if asked.tpm && !Path::new(SWTPM).exists() {
        return Err(Error::unavailable(format!("a TPM needs swtpm, and {SWTPM} is not there"))
            .at("machine.tpm")
            .next("install it: apt install swtpm"));
    }
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    enough_memory(&meminfo, memory, asked.hugepages)?;
    asked.pci.iter().try_for_each(|address| device(Path::new(PCI), address).map(drop))
}

/// A number of meminfo (proc_meminfo(5)), as it stands there.
fn number(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn enough_memory(meminfo: &str, memory: Bytes, huge: bool) -> Result<()> {
    let kib = |field| number(meminfo, field).unwrap_or_default().saturating_mul(1024);
    if huge {
        let pages = number(meminfo, "HugePages_Free").unwrap_or_default();
        let size = kib("Hugepagesize").max(1);
        let free = pages.saturating_mul(size);
        if free < memory.0 {
            return Err(Error::exhausted(format!(
                "the node has {} free in huge pages, and the machine wants {memory}",
                Bytes(free)
            ))
            .at("machine.hugepages")
            .next(format!("sysctl vm.nr_hugepages={}", memory.0.div_ceil(size))));
        }
        return Ok(());
    }
    let total = kib("MemTotal");
    if total > 0 && memory.0 > total {
        return Err(Error::exhausted(format!(
            "the machine wants {memory} of memory, and the node has {}",
            Bytes(total)
        ))
        .at("containers[0].resources.memory")
        .next("give it less: --memory"));
    }
    Ok(())
}

/// The device node of a PCI device's group (VFIO), if the device can be given away.
pub fn device(devices: &Path, address: &str) -> Result<PathBuf> {
    let at = |error: Error| error.at("machine.pci");
    let place = devices.join(address);
    if !place.exists() {
        return Err(at(Error::not_found(format!("the node has no PCI device {address}"))
            .next("list them: lspci -D")));
    }
    let name = |link: &str| {
        let target = std::fs::read_link(place.join(link)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    let Some(group) = name("iommu_group") else {
        return Err(at(Error::unsupported(format!(
            "PCI device {address} is behind no IOMMU: a guest that has it could read the node's memory"
        ))
        .next("turn the IOMMU on in the firmware, and boot with intel_iommu=on or amd_iommu=on")));
    };
    match name("driver").as_deref() {
        Some("vfio-pci") => Ok(Path::new("/dev/vfio").join(group)),
        other => {
            let has = other.unwrap_or("no driver");
            Err(at(Error::conflict(format!(
                "PCI device {address} is the node's own: its driver is {has}, not vfio-pci"
            ))
            .next(format!("driverctl set-override {address} vfio-pci"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;

    const MEMINFO: &str = "MemTotal: 2048 kB\nHugePages_Free: 3\nHugepagesize: 2048 kB\n";

    #[test]
    fn memory_that_is_there() {
        assert!(enough_memory(MEMINFO, Bytes(2 << 20), false).is_ok());
        assert!(enough_memory(MEMINFO, Bytes(3 << 20), false).is_err());
        assert!(enough_memory(MEMINFO, Bytes(6 << 20), true).is_ok());
        let error = enough_memory(MEMINFO, Bytes(7 << 20), true).unwrap_err();
        assert_eq!(error.next_step(), Some("sysctl vm.nr_hugepages=4"));
        assert!(enough_memory("", Bytes(1 << 40), false).is_ok(), "who does not know says nothing");
    }

    #[test]
    fn devices_that_can_be_given_away() {
        let place = tempfile::tempdir().unwrap();
        let kind = |address: &str| device(place.path(), address).unwrap_err().kind();
        assert_eq!(kind("0000:01:00.0"), ErrorKind::NotFound);
        let one = place.path().join("0000:01:00.0");
        std::fs::create_dir(&one).unwrap();
        assert_eq!(kind("0000:01:00.0"), ErrorKind::Unsupported);
        std::os::unix::fs::symlink("../groups/7", one.join("iommu_group")).unwrap();
        std::os::unix::fs::symlink("../drivers/nvidia", one.join("driver")).unwrap();
        assert_eq!(kind("0000:01:00.0"), ErrorKind::Conflict);
        std::fs::remove_file(one.join("driver")).unwrap();
        std::os::unix::fs::symlink("../drivers/vfio-pci", one.join("driver")).unwrap();
        assert_eq!(device(place.path(), "0000:01:00.0").unwrap(), Path::new("/dev/vfio/7"));
    }
}
