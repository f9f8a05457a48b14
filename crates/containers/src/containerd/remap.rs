//! Layers whose files belong to a container's own users.
//!
//! The kernel can show files under other owners only since 5.19 and containerd uses that only
//! since 2.0, so a copy is made with the owners changed: one more layer above the image's, made
//! once for a chain and a mapping, and shared by all containers that have both. It goes with the
//! last of them.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use model::error::Context;
use model::instance::UserMapping;
use model::{ErrorKind, Result};
use rustix::fs::{AtFlags, CWD, Gid, Uid, XattrFlags, chownat, lgetxattr, lsetxattr};

use super::create::blocking;
use super::leases::Lease;
use super::status::Explain;
use super::{Containerd, mounts};

/// How long a copy cut short is kept.
const LONGEST: Duration = Duration::from_secs(3600);

/// Capabilities of a file (capabilities(7)).
const CAPABILITY: &str = "security.capability";

impl Containerd {
    /// The chain to make a container's layer on, and a lease that keeps it until that is done.
    pub(super) async fn remapped(
        &self,
        chain: &str,
        mapping: &UserMapping,
    ) -> Result<(String, Lease)> {
        let name = format!("{chain}@{}:{}:{}", mapping.first_uid, mapping.first_gid, mapping.size);
        let lock = self.inner.unpacking.lock_of(&name);
        let _alone = lock.lock().await;
        let lease = self.lease(LONGEST).await?;
        if !self.has_snapshot(&name).await? {
            self.remap(chain, &name, mapping, &lease).await?;
        }
        Ok((name, lease))
    }

    async fn remap(
        &self,
        chain: &str,
        name: &str,
        mapping: &UserMapping,
        lease: &Lease,
    ) -> Result<()> {
        let failed = || format!("layer {chain} cannot be given to other users");
        let key = format!("remap-{:016x}", mounts::fastrand());
        let answer = self.prepare(&key, chain, HashMap::new(), Some(lease)).await;
        let layers = mounts::Layers::of(&answer.explain(failed)?)?;
        let (run, mapping) = (self.inner.run.clone(), mapping.clone());
        let given = blocking(move || {
            // Through the mount, so that the layers below stay as they are.
            let rootfs = layers.open(&run)?;
            give(&rootfs.host_path(), &mapping)
        })
        .await;
        let kept = match given {
            Ok(()) => self.commit_snapshot(&key, name, lease).await,
            Err(error) => Err(error),
        };
        if !matches!(kept, Ok(true)) {
            // If even this fails, it goes with the lease.
            let _ = self.remove_snapshot(&key).await;
        }
        kept.map(drop)
    }
}

/// Gives a file, and all below it, to the users of the mapping.
fn give(path: &Path, mapping: &UserMapping) -> Result<()> {
    let failed = || format!("{} cannot be given to another user", path.display());
    let meta = std::fs::symlink_metadata(path).context(ErrorKind::Internal, failed)?;
    let capability = file_capability(path);
    let owner = |id: u32, first: u32| if id < mapping.size { first + id } else { id };
    let uid = Uid::from_raw(owner(meta.uid(), mapping.first_uid));
    let gid = Gid::from_raw(owner(meta.gid(), mapping.first_gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .context(ErrorKind::Exhausted, failed)?;
    if !meta.is_symlink() && meta.mode() & 0o6000 != 0 {
        // A change of owner takes these bits away (chown(2)).
        let mode = std::fs::Permissions::from_mode(meta.mode() & 0o7777);
        std::fs::set_permissions(path, mode).context(ErrorKind::Exhausted, failed)?;
    }
    if let Some(capability) = capability {
        let value = rooted(&capability, mapping.first_uid);
        lsetxattr(path, CAPABILITY, &value, XattrFlags::empty())
            .context(ErrorKind::Exhausted, failed)?;
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).context(ErrorKind::Internal, failed)? {
            give(&entry.context(ErrorKind::Internal, failed)?.path(), mapping)?;
        }
    }
    Ok(())
}

/// A file's capabilities, if it has any (linux/capability.h, `struct vfs_cap_data`).
fn file_capability(path: &Path) -> Option<Vec<u8>> {
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = [0; 64];
    let n = lgetxattr(name.as_c_str(), CAPABILITY, &mut value).ok()?;
    Some(value[..n].to_vec())
}

/// The same, in force for the user that is root in the namespace: revision 3 with its id.
fn rooted(capability: &[u8], root: u32) -> Vec<u8> {
    const REVISION_2: (usize, u8) = (20, 2);
    const REVISION_3: u8 = 3;
    let mut value = capability.to_vec();
    if (value.len(), value.get(3).copied().unwrap_or(0)) == REVISION_2 {
        value[3] = REVISION_3;
        value.extend_from_slice(&root.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_files_get_a_root() {
        // cap_net_raw+ep, revision 2.
        let plain = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let rooted = rooted(&plain, 100_000);
        assert_eq!((rooted.len(), rooted[3]), (24, 3));
        assert_eq!(rooted[20..], 100_000_u32.to_le_bytes());
    }
}
