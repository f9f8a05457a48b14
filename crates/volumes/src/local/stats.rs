//! Stats and trim: how full a volume is, and what it can give back.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::{Bytes, Error, Result};
use rustix::fs::StatVfsMountFlags;

use super::core::Core;
use super::image;
use super::record::{Layout, VolumeRecord};
use super::shelf::Place;
use crate::driver::{Stats, VolumeId};
use crate::fault::Fault;
use crate::kernel::{btrfs, grow, project};

/// What a walk over a tree of files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weight {
    /// Space its files take, each counted once.
    pub bytes: Bytes,
    /// Files and directories.
    pub inodes: u64,
}

impl Core {
    /// How full a volume is. A directory without quota is walked: a call for every file in it.
    pub fn stats(&self, id: &VolumeId) -> Result<Stats> {
        let (place, record) = self.volume(id)?;
        match record.layout {
            Layout::Image(_) => image_stats(&place, &record),
            Layout::Directory | Layout::Project | Layout::Subvolume => {
                self.tree_stats(&place, &record)
            }
        }
    }

    fn tree_stats(&self, place: &Place, record: &VolumeRecord) -> Result<Stats> {
        let what = || format!("volume {:?} cannot be measured", record.name);
        let data = place.data();
        let counted = match record.layout {
            Layout::Subvolume => btrfs::referenced(&data).fault(what)?,
            Layout::Project => Some(project::used(&data).fault(what)?),
            Layout::Directory | Layout::Image(_) => None,
        };
        let (used, inodes_used) = match counted {
            Some(bytes) => (Bytes(bytes), 0),
            None => {
                let weight = walk(&data).fault(what)?;
                (weight.bytes, weight.inodes)
            }
        };
        let disk = rustix::fs::statvfs(&data).fault(what)?;
        let free = Bytes(disk.f_bavail * disk.f_frsize);
        let total = record.size.unwrap_or(Bytes(disk.f_blocks * disk.f_frsize));
        let room = record.size.map_or(free, |size| Bytes(size.0.saturating_sub(used.0)));
        Ok(Stats {
            total,
            used,
            available: room.min(free),
            inodes: disk.f_files,
            inodes_used,
            allocated: used,
            fault: None,
        })
    }

    /// Gives unused space of an image back to the disk.
    pub fn trim(&self, id: &VolumeId) -> Result<Bytes> {
        let (place, record) = self.volume(id)?;
        let Layout::Image(_) = record.layout else { return Ok(Bytes(0)) };
        if record.options.full || !image::mounted(&place)? {
            return Ok(Bytes(0));
        }
        let what = || format!("volume {:?} cannot be trimmed", record.name);
        Ok(Bytes(grow::trim(&place.mount()).fault(what)?))
    }
}

fn image_stats(place: &Place, record: &VolumeRecord) -> Result<Stats> {
    if !image::mounted(place)? {
        return Err(Error::conflict(format!("volume {:?} is not mounted", record.name))
            .next("stage it first"));
    }
    let what = || format!("volume {:?} cannot be measured", record.name);
    let found = rustix::fs::statvfs(place.contents(record.layout)).fault(what)?;
    let stopped = found.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(Stats {
        allocated: Bytes(place.image().metadata().fault(what)?.blocks() * 512),
        fault: stopped.then(|| "it is read-only since an error; see the kernel's log".to_owned()),
        ..Stats::of(&found)
    })
}

/// Weighs the tree at `root`. Files that go away meanwhile are not counted, mounts not entered.
///
/// # Errors
/// The file system's.
pub fn walk(root: &Path) -> io::Result<Weight> {
    let device = root.symlink_metadata()?.dev();
    let mut weight = Weight::default();
    let mut seen = HashSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if found.dev() != device || (found.nlink() > 1 && !seen.insert(found.ino())) {
            continue;
        }
        weight.inodes += 1;
        weight.bytes.0 += found.blocks() * 512;
        if found.is_dir() {
            match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => {
                    for entry in entries? {
                        waiting.push(entry?.path());
                    }
                }
            }
        }
    }
    Ok(weight)
}
