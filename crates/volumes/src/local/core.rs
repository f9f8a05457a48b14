//! What all verbs work on, and the questions they share.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use model::{Bytes, Error, Result};
use rustix::fs::FlockOperation;

use super::ground::Ground;
use super::record::{Layout, SnapshotRecord, VolumeRecord};
use super::shelf::{self, Place, Shelf};
use super::steps::Steps;
use crate::driver::{Capacity, SnapshotInfo, VolumeId, VolumeInfo};
use crate::durable;
use crate::fault::Fault;
use crate::kernel::mounts;

/// The driver without its async coat. Every method waits on the disk.
#[derive(Debug)]
pub struct Core {
    pub(super) shelf: Shelf,
    pub(super) ground: Ground,
    pub(super) steps: Steps,
    _lock: Lock,
}

impl Core {
    /// See [`LocalDriver::open`](super::LocalDriver::open).
    pub fn open(dir: &Path, steps: Steps) -> Result<Self> {
        let what = || format!("the directory of volumes {} cannot be used", dir.display());
        fs::create_dir_all(dir).fault(what)?;
        // What is inside belongs to containers: nobody else looks in.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(dir, private).fault(what)?;
        let root = mounts::canonical(dir).fault(what)?;
        let lock = lock(&root)?;
        let shelf = Shelf::new(root).fault(what)?;
        super::recover::clear(&shelf);
        let ground = Ground::probe(shelf.root(), &shelf.root().join("new")).fault(what)?;
        let core = Self { shelf, ground, steps, _lock: lock };
        core.recover()?;
        Ok(core)
    }

    /// A volume's place and record.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn volume(&self, id: &VolumeId) -> Result<(Place, VolumeRecord)> {
        let place = self.shelf.volume(id);
        let record = shelf::record(&place)?;
        let record = record.ok_or_else(|| Error::not_found(format!("there is no volume {id}")))?;
        Ok((place, record))
    }

    /// A snapshot's place and record.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn snapshot(&self, id: &VolumeId) -> Result<(Place, SnapshotRecord)> {
        let place = self.shelf.snapshot(id);
        let record = shelf::record(&place)?;
        let record =
            record.ok_or_else(|| Error::not_found(format!("there is no snapshot {id}")))?;
        Ok((place, record))
    }

    /// Remembers a change of a volume.
    pub(super) fn save(&self, place: &Place, record: &VolumeRecord) -> Result<()> {
        durable::write(&place.record(), record)
            .fault(|| format!("volume {:?} cannot be changed", record.name))
    }

    /// One volume.
    pub fn show(&self, id: &VolumeId) -> Result<VolumeInfo> {
        let (place, record) = self.volume(id)?;
        self.describe(&place, record)
    }

    /// All volumes whose records can be read.
    pub fn list(&self) -> Result<Vec<VolumeInfo>> {
        let mut found = Vec::new();
        for id in self.shelf.volumes()? {
            match self.show(&id) {
                Ok(info) => found.push(info),
                Err(error) => tracing::warn!(%id, error = error.chain(), "volume is not listed"),
            }
        }
        Ok(found)
    }

    /// All snapshots whose records can be read.
    pub fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let mut found = Vec::new();
        for id in self.shelf.snapshots()? {
            match self.snapshot(&id) {
                Ok((_, record)) => found.push(describe_snapshot(record)),
                Err(error) => tracing::warn!(%id, error = error.chain(), "snapshot is not listed"),
            }
        }
        Ok(found)
    }

    /// What is left of the disk.
    pub fn capacity(&self) -> Result<Capacity> {
        let found = rustix::fs::statvfs(self.shelf.root())
            .fault(|| format!("{} does not answer", self.shelf.root().display()))?;
        Ok(Capacity {
            total: Bytes(found.f_blocks * found.f_frsize),
            available: Bytes(found.f_bavail * found.f_frsize),
        })
    }

    /// What the driver says of a volume.
    pub(super) fn describe(&self, place: &Place, record: VolumeRecord) -> Result<VolumeInfo> {
        let format = record.format();
        let path = self.ready(place, &record)?.then(|| place.contents(record.layout));
        let published = super::publish::users(place)?;
        let VolumeRecord { id, name, size, method, created, .. } = record;
        Ok(VolumeInfo { id, name, size, format, path, published, method, created })
    }

    /// Whether the contents can be reached now.
    pub(super) fn ready(&self, place: &Place, record: &VolumeRecord) -> Result<bool> {
        match record.layout {
            Layout::Image(_) => super::image::mounted(place),
            Layout::Directory | Layout::Project | Layout::Subvolume => Ok(place.data().is_dir()),
        }
    }
}

/// What the driver says of a snapshot.
pub(super) fn describe_snapshot(record: SnapshotRecord) -> SnapshotInfo {
    let SnapshotRecord { id, name, volume, method, consistent, taken, size, .. } = record;
    SnapshotInfo { id, name, volume, method, consistent, taken, size }
}

/// The right to the directory, while it exists.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing would not do: a program that is just being started may hold the file too.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Makes this process the only one that touches the directory.
fn lock(root: &Path) -> Result<Lock> {
    let path = root.join("lock");
    let what = || format!("{} cannot be locked", path.display());
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .fault(what)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let owner = fs::read_to_string(&path).unwrap_or_default();
        return Err(Error::conflict(format!(
            "the volumes in {} are in use by process {}",
            root.display(),
            owner.trim()
        ))
        .next("stop the other hull, or give this one another --root"));
    }
    file.set_len(0).fault(what)?;
    writeln!(file, "{}", std::process::id()).fault(what)?;
    Ok(Lock(file))
}
