//! How a container's writable layer differs from its image, read from the layer itself: overlay
//! keeps there whole what was changed or added, and a mark for what was deleted
//! (Documentation/filesystems/overlayfs.rst).

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use model::error::Context;
use model::{Bytes, ErrorKind, Result};

use super::Containerd;
use super::create::blocking;
use super::mounts::Layers;
use crate::engine::{Change, ChangeKind, ContainerId};
use crate::rootfs::Rootfs;
use crate::spec::oci;

/// Says of a directory that nothing of the image's shows through.
const OPAQUE: &str = "trusted.overlay.opaque";

impl Containerd {
    pub(super) async fn list_changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        let (record, mounts) = tokio::join!(self.record(id), self.mounts(id.as_str()));
        let targets = targets(&record?.spec);
        let layers = Layers::of(&mounts?)?;
        let run = self.inner.run.clone();
        blocking(move || {
            let mut changes = Vec::new();
            if let Some(upper) = &layers.upper {
                let image = layers.image().open(&run)?;
                let mut walk = Walk { upper, image, targets, changes: &mut changes };
                walk.directory("")?;
            }
            changes.sort();
            Ok(changes)
        })
        .await
    }
}

impl Containerd {
    pub(super) async fn written_bytes(&self, id: &ContainerId) -> Result<Bytes> {
        let layers = Layers::of(&self.mounts(id.as_str()).await?)?;
        let Some(upper) = layers.upper else { return Ok(Bytes(0)) };
        blocking(move || {
            let mut sum = Sum::default();
            sum.directory(&upper)?;
            Ok(Bytes(sum.bytes))
        })
        .await
    }
}

/// Bytes of files, each counted once however many names it has.
#[derive(Default)]
struct Sum {
    bytes: u64,
    linked: HashSet<u64>,
}

impl Sum {
    fn directory(&mut self, directory: &Path) -> Result<()> {
        let unreadable = || format!("{} cannot be read", directory.display());
        for entry in std::fs::read_dir(directory).context(ErrorKind::Internal, unreadable)? {
            let entry = entry.context(ErrorKind::Internal, unreadable)?;
            // A container that runs removes files meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                match self.directory(&entry.path()) {
                    Err(error) if entry.path().exists() => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            } else if meta.nlink() == 1 || self.linked.insert(meta.ino()) {
                self.bytes += meta.len();
            }
        }
        Ok(())
    }
}

/// The places things are mounted on, which the runtime makes where the image has none.
fn targets(spec: &oci::Spec) -> Vec<String> {
    let inside = |mount: &oci::Mount| mount.destination.trim_end_matches('/').to_owned();
    spec.mounts.iter().map(inside).collect()
}

struct Walk<'a> {
    upper: &'a Path,
    image: Rootfs,
    targets: Vec<String>,
    changes: &'a mut Vec<Change>,
}

impl Walk<'_> {
    /// Adds what differs in the directory `path`; true if anything does.
    fn directory(&mut self, path: &str) -> Result<bool> {
        let directory = self.upper.join(path.trim_start_matches('/'));
        let unreadable = || format!("{} cannot be read", directory.display());
        let mut any = is_opaque(&directory) && self.hidden(&directory, path);
        for entry in std::fs::read_dir(&directory).context(ErrorKind::Internal, unreadable)? {
            let entry = entry.context(ErrorKind::Internal, unreadable)?;
            let meta = entry.metadata().context(ErrorKind::Internal, unreadable)?;
            let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
            any |= self.one(inside, &meta)?;
        }
        Ok(any)
    }

    fn one(&mut self, path: String, meta: &Metadata) -> Result<bool> {
        let before = self.image.stat_link(&path).ok();
        let kind = match (&before, is_whiteout(meta)) {
            (Some(_), true) => ChangeKind::Deleted,
            // Made and deleted by the container.
            (None, true) => return Ok(false),
            (Some(_), false) => ChangeKind::Changed,
            (None, false) => ChangeKind::Added,
        };
        let below = meta.is_dir() && self.directory(&path)?;
        let same = before.is_some_and(|before| {
            before.mode == meta.mode() && before.uid == meta.uid() && before.gid == meta.gid()
        });
        let empty = meta.is_dir() || (meta.is_file() && meta.len() == 0);
        let made_to_mount_on = kind == ChangeKind::Added && empty && self.leads_to_target(&path);
        if !below && ((meta.is_dir() && same) || made_to_mount_on) {
            return Ok(false);
        }
        self.changes.push(Change { path, kind });
        Ok(true)
    }

    fn leads_to_target(&self, path: &str) -> bool {
        self.targets.iter().any(|target| {
            target.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Adds as deleted what an opaque directory hides of the image's.
    fn hidden(&mut self, directory: &Path, path: &str) -> bool {
        let before = self.changes.len();
        for name in self.image.names(path).unwrap_or_default() {
            if directory.join(&name).symlink_metadata().is_err() {
                let path = format!("{path}/{name}");
                self.changes.push(Change { path, kind: ChangeKind::Deleted });
            }
        }
        self.changes.len() > before
    }
}

/// A character device of number 0:0.
fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::lgetxattr(directory, OPAQUE, &mut value), Ok(1) if value == *b"y")
}
