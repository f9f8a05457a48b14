//! What a new process does before anything else: nothing half done stays, nothing frozen, no loop
//! device without a mount. What is mounted stays mounted: containers use it.

use std::path::Path;

use model::Result;

use super::core::Core;
use super::shelf::Shelf;
use crate::fault::Fault;
use crate::kernel::{freeze, loopdev, mounts};

/// Clears what was being made or removed. A part in use stays, and is tried again at the next start.
pub fn clear(shelf: &Shelf) {
    if let Err(error) = shelf.clear() {
        tracing::warn!(%error, "leftovers of volumes are removed at the next start");
    }
}

impl Core {
    /// Puts in order what an earlier process left.
    pub(super) fn recover(&self) -> Result<()> {
        let what = || "mounts cannot be read".to_owned();
        let root = self.shelf.root();
        for mount in mounts::below(&root.join("volumes")).fault(what)? {
            match freeze::thaw(&mount.target) {
                Ok(false) => {}
                Ok(true) => tracing::warn!(path = %mount.target.display(), "volume was frozen"),
                Err(error) => {
                    tracing::warn!(%error, path = %mount.target.display(), "volume stays frozen");
                }
            }
        }
        detach_stale(root).fault(|| "loop devices cannot be read".to_owned())
    }
}

/// Takes our files from loop devices that nothing is mounted from. One that a container still uses
/// in a mount namespace of its own keeps the file until then.
fn detach_stale(root: &Path) -> std::io::Result<()> {
    let mounts = mounts::all()?;
    for (device, file) in loopdev::attached()? {
        let used = mounts.iter().any(|mount| Path::new(&mount.source) == device);
        if file.starts_with(root) && !used {
            tracing::info!(device = %device.display(), "stale loop device is detached");
            loopdev::clear(&device)?;
        }
    }
    Ok(())
}
