//! Control groups: how they are mounted, and what limits this process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::proc;

/// A v1 limit this high means that there is none: the kernel writes the largest multiple of a page.
const V1_UNLIMITED: u64 = 1 << 60;

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

impl fmt::Display for CgroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The control groups of this machine, and where this process is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// How they are mounted.
    pub version: CgroupVersion,
    /// Where each v1 controller is mounted.
    v1: BTreeMap<String, PathBuf>,
    /// Where v2 is mounted.
    pub v2: Option<PathBuf>,
    /// This process's group by controller; v2's under the empty name.
    own: BTreeMap<String, PathBuf>,
}

impl Cgroups {
    /// Reads them.
    pub fn read() -> Self {
        Self::parse(&proc::text("/proc/self/mountinfo"), &proc::text("/proc/self/cgroup"))
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            found.mount(line);
        }
        for line in own.lines() {
            // `4:cpu,cpuacct:/path`, cgroups(7).
            let mut parts = line.splitn(3, ':').skip(1);
            if let (Some(names), Some(path)) = (parts.next(), parts.next()) {
                for name in names.split(',') {
                    found.own.insert(name.to_owned(), path.into());
                }
            }
        }
        found.version = match (found.v1.is_empty(), &found.v2) {
            (true, None) => CgroupVersion::None,
            (false, None) => CgroupVersion::V1,
            (false, Some(_)) => CgroupVersion::Hybrid,
            (true, Some(_)) => CgroupVersion::V2,
        };
        found
    }

    fn mount(&mut self, line: &str) {
        let Some((before, after)) = line.split_once(" - ") else { return };
        let (Some(target), mut after) = (before.split(' ').nth(4), after.split(' ')) else {
            return;
        };
        match after.next() {
            Some("cgroup2") => {
                self.v2.get_or_insert_with(|| target.into());
            }
            Some("cgroup") => {
                // Super options hold the controllers between `rw` and `name=` and the like.
                for word in after.nth(1).unwrap_or_default().split(',') {
                    if CONTROLLERS.contains(&word) {
                        self.v1.entry(word.to_owned()).or_insert_with(|| target.into());
                    }
                }
            }
            _ => {}
        }
    }

    /// Controllers usable for instances, sorted.
    pub fn controllers(&self) -> Vec<String> {
        match (&self.v2, self.v1.is_empty()) {
            (Some(root), true) => {
                let text = proc::text(root.join("cgroup.controllers"));
                let mut names: Vec<String> = text.split(' ').map(str::to_owned).collect();
                names.retain(|name| !name.is_empty());
                // Version 2 has these two without a controller: BPF programs and cgroup.freeze.
                names.extend(["devices".to_owned(), "freezer".to_owned()]);
                names.sort();
                names
            }
            _ => self.v1.keys().cloned().collect(),
        }
    }

    /// The least memory limit of this process's group and those above it, bytes.
    pub fn memory_limit(&self) -> Option<u64> {
        let read = |dir: &Path| proc::number::<u64>(dir.join("memory.limit_in_bytes"));
        let v1 = self.ancestors("memory").iter().filter_map(|dir| read(dir)).min();
        let read = |dir: &Path| proc::number::<u64>(dir.join("memory.max"));
        let v2 = self.ancestors("").iter().filter_map(|dir| read(dir)).min();
        v1.into_iter().chain(v2).min().filter(|limit| *limit < V1_UNLIMITED)
    }

    /// The least processor quota of this process's group and those above it, thousandths.
    pub fn cpu_limit(&self) -> Option<u64> {
        let v1 = self.ancestors("cpu").into_iter().filter_map(|dir| {
            let quota: u64 = proc::number(dir.join("cpu.cfs_quota_us"))?;
            Some(quota * 1000 / proc::number::<u64>(dir.join("cpu.cfs_period_us"))?.max(1))
        });
        let v2 = self.ancestors("").into_iter().filter_map(|dir| {
            let text = proc::text(dir.join("cpu.max"));
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<u64>().ok()? * 1000 / period.parse::<u64>().ok()?.max(1))
        });
        v1.chain(v2).min()
    }

    /// Directories of this process's group and those above it, for a v1 controller or (empty) v2.
    pub fn ancestors(&self, controller: &str) -> Vec<PathBuf> {
        let mount = if controller.is_empty() { self.v2.as_ref() } else { self.v1.get(controller) };
        let (Some(mount), Some(own)) = (mount, self.own.get(controller)) else {
            return Vec::new();
        };
        let inside = |path: &Path| mount.join(path.strip_prefix("/").unwrap_or(path));
        own.ancestors().map(inside).filter(|dir| dir.is_dir()).collect()
    }
}

/// Controllers of version 1, cgroups(7).
const CONTROLLERS: [&str; 13] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd";
    const V2: &str = "33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn versions() {
        let version = |text: &str| Cgroups::parse(text, "").version;
        assert_eq!(version(""), CgroupVersion::None);
        assert_eq!(version(V1), CgroupVersion::V1);
        assert_eq!(version(V2), CgroupVersion::V2);
        let both = Cgroups::parse(&format!("{V1}\n{V2}"), "2:cpu,cpuacct:/a/b\n0::/c");
        assert_eq!(both.version, CgroupVersion::Hybrid);
        assert_eq!(both.controllers(), ["cpu", "cpuacct"]);
        assert_eq!(both.own["cpuacct"], Path::new("/a/b"));
        assert_eq!(both.own[""], Path::new("/c"));
    }
}
