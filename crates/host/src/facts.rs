//! What this machine is.

mod addresses;
pub(crate) mod capabilities;
pub(crate) mod cgroups;
mod cpus;
pub(crate) mod disk;
mod os_release;

use std::net::IpAddr;
use std::path::Path;

use model::{Bytes, Cpus, Error, Result};
use serde::{Deserialize, Serialize};

use crate::proc;
pub use cgroups::CgroupVersion;
pub use disk::Disk;

use cgroups::Cgroups;
use os_release::OsRelease;

/// What this machine is. Cheap to gather: a few dozen files of `/proc` and `/sys`, no programs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Processors this process may use: the smallest of those online, its affinity, and its
    /// cgroup's quota.
    pub cpus: Cpus,
    /// Processors online.
    pub cpus_online: u32,
    /// Memory this process may use: the machine's, or its cgroup's limit when that is less.
    pub memory: Bytes,
    /// Swap space.
    pub swap: Bytes,
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release(5), e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// `ID` of os-release(5), e.g. `debian`.
    pub os_id: String,
    /// The architecture as OCI platforms write it: `amd64`, `arm64` …
    pub architecture: String,
    /// `v1`, `hybrid` or `v2`.
    pub cgroups: CgroupVersion,
    /// Controllers usable for instances, by cgroup's own names, sorted.
    pub controllers: Vec<String>,
    /// This boot of the machine.
    pub boot_id: String,
    /// machine-id(5); empty when there is none.
    pub machine_id: String,
    /// The machine's name.
    pub hostname: String,
    /// Addresses of its interfaces, loopback and link-local ones left out, sorted.
    pub addresses: Vec<IpAddr>,
    /// Highest process id (`kernel.pid_max`).
    pub pid_max: u64,
    /// Soft and hard limit of open files of this process.
    pub open_files: (u64, u64),
    /// Effective capabilities of this process, e.g. `CAP_SYS_ADMIN`, sorted.
    pub capabilities: Vec<String>,
    /// The file system of the state directory.
    pub disk: Disk,
}

impl Facts {
    /// Whether this process has a capability, e.g. `CAP_SYS_RESOURCE`.
    pub fn has_capability(&self, name: &str) -> bool {
        self.capabilities.iter().any(|held| held == name)
    }
}

/// Gathers the facts; `dir` is the state directory (the nearest parent that exists is looked at).
/// Takes about a millisecond.
///
/// # Errors
/// `Unavailable` when `/proc` is not mounted.
pub fn facts(dir: &Path) -> Result<Facts> {
    let meminfo = proc::text("/proc/meminfo");
    if meminfo.is_empty() {
        return Err(Error::unavailable("/proc is not mounted, or cannot be read"));
    }
    let groups = Cgroups::read();
    let (name, release, machine) = system();
    let os = OsRelease::read();
    let total = proc::meminfo(&meminfo, "MemTotal");
    Ok(Facts {
        cpus: cpus::usable(&groups),
        cpus_online: cpus::online(),
        memory: Bytes(groups.memory_limit().map_or(total, |limit| limit.min(total))),
        swap: Bytes(proc::meminfo(&meminfo, "SwapTotal")),
        kernel: release,
        os: os.name,
        os_id: os.id,
        architecture: architecture(&machine).to_owned(),
        cgroups: groups.version,
        controllers: groups.controllers(),
        boot_id: boot_id(),
        machine_id: proc::text("/etc/machine-id"),
        hostname: name,
        addresses: addresses::all(),
        pid_max: proc::number("/proc/sys/kernel/pid_max").unwrap_or(0),
        open_files: open_files(),
        capabilities: capabilities::effective(),
        disk: Disk::of(dir),
    })
}

/// What names this boot of the machine (random(4)).
pub fn boot_id() -> String {
    proc::text("/proc/sys/kernel/random/boot_id")
}

/// Name of the machine, release of the kernel, architecture as the kernel writes it; uname(2).
fn system() -> (String, String, String) {
    let found = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    (text(found.nodename()), text(found.release()), text(found.machine()))
}

/// The architecture as OCI platforms (Go's `GOARCH`) write it.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i686" | "i386" => "386",
        other => other,
    }
}

fn open_files() -> (u64, u64) {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    (limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_something() {
        let found = facts(Path::new("/var/lib/hull")).unwrap();
        assert!(found.cpus.milli() > 0 && found.cpus_online > 0);
        assert!(found.memory >= Bytes::mib(64));
        assert!(!found.kernel.is_empty() && !found.os.is_empty() && !found.boot_id.is_empty());
        assert!(found.disk.total >= found.disk.available && found.disk.total > Bytes(0));
        assert!(!found.disk.filesystem.is_empty(), "{:?}", found.disk);
        assert!(found.addresses.iter().all(|address| !address.is_loopback()));
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), found);
    }

    #[test]
    fn architectures_are_those_of_images() {
        assert_eq!(architecture("x86_64"), "amd64");
        assert_eq!(architecture("aarch64"), "arm64");
        assert_eq!(architecture("riscv64"), "riscv64");
    }
}
