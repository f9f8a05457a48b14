//! What the disk below the volumes can do. Tried, not read from a table.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use model::{Bytes, Error, Result};

use super::options::{Filesystem, Options};
use super::record::Layout;
use crate::kernel::{btrfs, project};

/// Number of `CAP_SYS_RESOURCE`, capabilities(7).
const CAP_SYS_RESOURCE: u32 = 24;

/// What the disk below the volumes can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// It is btrfs: subvolumes and their snapshots.
    pub btrfs: bool,
    /// Files can share contents.
    pub reflink: bool,
    /// Directories can have quotas.
    pub project: bool,
    /// This process may grow a mounted ext4, which takes `CAP_SYS_RESOURCE`.
    pub grows_ext4: bool,
}

impl Ground {
    /// Tries the disk of the directory `root`; `scratch` is a directory on it to try in.
    ///
    /// # Errors
    /// The file system's.
    pub fn probe(root: &Path, scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            btrfs: btrfs::here(root)?,
            reflink: reflink(scratch)?,
            project: project::enforced(root),
            grows_ext4: may_grow_ext4(),
        })
    }

    /// Where the contents of a new volume go.
    ///
    /// # Errors
    /// `Invalid` for options that do not fit the size.
    pub fn layout(&self, root: &Path, size: Option<Bytes>, options: &Options) -> Result<Layout> {
        let image = options.filesystem.is_some() || options.full;
        let Some(size) = size else {
            return match image {
                false if self.btrfs => Ok(Layout::Subvolume),
                false => Ok(Layout::Directory),
                true => {
                    let field =
                        if options.full { "options.allocate" } else { "options.filesystem" };
                    Err(Error::invalid("only a volume with a size has this option").at(field))
                }
            };
        };
        if !image && self.btrfs {
            match btrfs::enable_quota(root) {
                Ok(()) => return Ok(Layout::Subvolume),
                Err(error) => tracing::warn!(%error, "btrfs quotas are off, images are used"),
            }
        }
        if !image && self.project {
            return Ok(Layout::Project);
        }
        let filesystem = options.filesystem.unwrap_or_else(|| self.filesystem(size));
        Ok(Layout::Image(filesystem))
    }

    /// The file system for an image: ext4, unless only xfs could be grown while it is in use.
    fn filesystem(&self, size: Bytes) -> Filesystem {
        let xfs = !self.grows_ext4 && size >= Filesystem::Xfs.smallest() && has_xfs();
        if xfs { Filesystem::Xfs } else { Filesystem::Ext4 }
    }
}

fn reflink(scratch: &Path) -> io::Result<bool> {
    let (one, other) = (scratch.join("reflink-source"), scratch.join("reflink-target"));
    fs::write(&one, [1_u8; 4096])?;
    let works = rustix::fs::ioctl_ficlone(File::create(&other)?, File::open(&one)?).is_ok();
    fs::remove_file(one)?;
    fs::remove_file(other)?;
    Ok(works)
}

fn may_grow_ext4() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines().filter_map(|line| line.strip_prefix("CapEff:"));
    let held = lines.next().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    held.is_some_and(|held| held & (1 << CAP_SYS_RESOURCE) != 0)
}

/// Whether images of xfs can be made and mounted here.
fn has_xfs() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).any(|dir| dir.join("mkfs.xfs").is_file());
    let kernel = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    program && kernel.lines().any(|line| line.trim() == "xfs")
}
