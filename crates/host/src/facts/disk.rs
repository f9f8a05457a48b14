//! The file system of a directory.

use std::path::Path;

use model::Bytes;
use serde::{Deserialize, Serialize};

use crate::proc;

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

impl Disk {
    /// The file system of `dir`, or of its nearest parent that exists. What cannot be read is zero or
    /// empty.
    pub fn of(dir: &Path) -> Self {
        let dir = proc::existing(dir);
        let dir = std::fs::canonicalize(&dir).unwrap_or(dir);
        let (filesystem, mounted_at) = mount(&proc::text("/proc/self/mountinfo"), &dir);
        let Ok(found) = rustix::fs::statvfs(&dir) else {
            return Self { filesystem, mounted_at, ..Self::default() };
        };
        Self {
            filesystem,
            mounted_at,
            total: Bytes(found.f_blocks * found.f_frsize),
            available: Bytes(found.f_bavail * found.f_frsize),
            inodes_available: if found.f_files == 0 { u64::MAX } else { found.f_favail },
        }
    }
}

/// Type and place of the mount that `dir` is in: the longest that holds it, the last of equals.
fn mount(mountinfo: &str, dir: &Path) -> (String, String) {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((after.split(' ').next()?, before.split(' ').nth(4)?))
    });
    let holds = mounts.filter(|(_, target)| dir.starts_with(target.replace("\\040", " ")));
    let found = holds.max_by_key(|(_, target)| target.len());
    found.map(|(kind, target)| (kind.to_owned(), target.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let text = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /var rw - xfs /dev/sdb rw
3 1 0:6 / /var/lib/hull rw - tmpfs none rw
4 1 0:6 / /var/lib/hull rw - btrfs /dev/sdc rw";
        let kind = |dir: &str| mount(text, Path::new(dir)).0;
        assert_eq!(kind("/etc"), "ext4");
        assert_eq!(kind("/var/lib"), "xfs");
        assert_eq!(kind("/variable"), "ext4");
        assert_eq!(kind("/var/lib/hull/volumes"), "btrfs");
    }
}
