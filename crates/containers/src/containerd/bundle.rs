//! The directory that containerd makes for a shim before it starts it.

use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tonic::Status;
use tracing::warn;

use super::{Containerd, NAMESPACE};
use crate::engine::ContainerId;

impl Containerd {
    /// Removes the directory of a shim that containerd was killed over before it had started it: it knows
    /// of no run there, and finds the directory in the way, for ever. Says whether that was why a run could
    /// not be made.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn clear_bundle(&self, id: &ContainerId, refused: &Status) -> Result<bool> {
        let bundle = bundle(&self.inner.run, id);
        if !is_in_the_way(&bundle, refused) {
            return Ok(false);
        }
        warn!(bundle = %bundle.display(), "removing what is left of a start that was cut short");
        remove(&bundle).context(ErrorKind::Unavailable, || {
            format!("{} cannot be removed", bundle.display())
        })?;
        Ok(true)
    }
}

fn bundle(run: &Path, id: &ContainerId) -> PathBuf {
    run.join("state/io.containerd.runtime.v2.task").join(NAMESPACE).join(id.as_str())
}

fn is_in_the_way(bundle: &Path, refused: &Status) -> bool {
    refused.message().ends_with(&format!("mkdir {}: file exists", bundle.display()))
}

/// Nothing that is mounted below it is touched: what cannot be unmounted keeps its directory, and the bundle
/// with it.
fn remove(bundle: &Path) -> std::io::Result<()> {
    let rootfs = bundle.join("rootfs");
    while match unmount(&rootfs, UnmountFlags::DETACH) {
        Ok(()) => true,
        // Nothing is mounted there, or there is no such directory.
        Err(Errno::INVAL | Errno::NOENT) => false,
        Err(error) => return Err(error.into()),
    } {}
    match std::fs::remove_dir(&rootfs) {
        Err(error) if error.kind() != NotFound => return Err(error),
        _ => {}
    }
    std::fs::remove_dir_all(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_own_directory_is_in_the_way() {
        let id = ContainerId::parse("web").unwrap();
        let bundle = bundle(Path::new("/run/hull"), &id);
        let place = "/run/hull/state/io.containerd.runtime.v2.task/hull";
        assert_eq!(bundle, Path::new(place).join("web"));
        for (message, expected) in [
            (format!("failed to start shim: mkdir {place}/web: file exists"), true),
            (format!("failed to start shim: mkdir {place}/web2: file exists"), false),
            (format!("failed to start shim: mkdir {place}/web: no space left"), false),
            (String::new(), false),
        ] {
            assert_eq!(
                is_in_the_way(&bundle, &Status::unknown(message.clone())),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn a_bundle_is_removed_with_all_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let (bundle, work) = (directory.path().join("web"), directory.path().join("work"));
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&work, bundle.join("work")).unwrap();
        std::fs::write(bundle.join("config.json"), "{").unwrap();
        remove(&bundle).unwrap();
        assert!(!bundle.exists() && work.join("kept").exists());
        // What is in a root file system is not ours to remove.
        std::fs::create_dir_all(bundle.join("rootfs/etc")).unwrap();
        assert!(remove(&bundle).is_err());
        assert!(bundle.join("rootfs/etc").exists());
    }
}
