//! How a container's writable layer differs from its image, read from the layer itself: overlay
//! keeps there whole what was changed or added, and a mark for what was deleted
//! (Documentation/filesystems/overlayfs.rst).

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use model::error::Context;
use model::{ErrorKind, Result};

use super::Containerd;
use super::create::blocking;
use super::mounts::Layers;
use crate::engine::{Change, ChangeKind, ContainerId};
use crate::rootfs::Rootfs;

/// Says of a directory that nothing of the image's shows through.
const OPAQUE: &str = "trusted.overlay.opaque";

impl Containerd {
    pub(super) async fn list_changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        let layers = Layers::of(&self.mounts(id.as_str()).await?)?;
        let run = self.inner.run.clone();
        blocking(move || {
            let mut changes = Vec::new();
            if let Some(upper) = &layers.upper {
                let image = layers.image().open(&run)?;
                walk(upper, "", &image, &mut changes)?;
            }
            changes.sort();
            Ok(changes)
        })
        .await
    }
}

/// Adds what differs in the directory `path` of the layer `upper`; true if anything does.
fn walk(upper: &Path, path: &str, image: &Rootfs, changes: &mut Vec<Change>) -> Result<bool> {
    let directory = upper.join(path.trim_start_matches('/'));
    let unreadable = || format!("{} cannot be read", directory.display());
    let mut any = false;
    if is_opaque(&directory) {
        any |= hidden(&directory, path, image, changes);
    }
    for entry in std::fs::read_dir(&directory).context(ErrorKind::Internal, unreadable)? {
        let entry = entry.context(ErrorKind::Internal, unreadable)?;
        let meta = entry.metadata().context(ErrorKind::Internal, unreadable)?;
        let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
        any |= one(upper, inside, &meta, image, changes)?;
    }
    Ok(any)
}

fn one(
    upper: &Path,
    path: String,
    meta: &Metadata,
    image: &Rootfs,
    changes: &mut Vec<Change>,
) -> Result<bool> {
    let before = image.stat_link(&path).ok();
    let kind = match (&before, is_whiteout(meta)) {
        (Some(_), true) => ChangeKind::Deleted,
        // Made and deleted by the container.
        (None, true) => return Ok(false),
        (Some(_), false) => ChangeKind::Changed,
        (None, false) => ChangeKind::Added,
    };
    if meta.is_dir() {
        let below = walk(upper, &path, image, changes)?;
        let same = before.is_some_and(|before| {
            before.mode == meta.mode() && before.uid == meta.uid() && before.gid == meta.gid()
        });
        if same && !below {
            return Ok(false);
        }
    }
    changes.push(Change { path, kind });
    Ok(true)
}

/// A character device of number 0:0.
fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    matches!(rustix::fs::lgetxattr(directory, OPAQUE, &mut value), Ok(1) if value == *b"y")
}

/// Adds as deleted what an opaque directory hides of the image's.
fn hidden(directory: &Path, path: &str, image: &Rootfs, changes: &mut Vec<Change>) -> bool {
    let mut any = false;
    for name in image.names(path).unwrap_or_default() {
        if directory.join(&name).symlink_metadata().is_err() {
            changes.push(Change { path: format!("{path}/{name}"), kind: ChangeKind::Deleted });
            any = true;
        }
    }
    any
}
