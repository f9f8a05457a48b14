//! Looks into a snapshot without mounting it anywhere: the mount belongs to a descriptor and is
//! gone with it (fsopen(2)).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containerd_client::types::Mount;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, unmount,
};

use crate::rootfs::Rootfs;

/// The directories a snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layers {
    /// The writable one, if it is not read only.
    pub(super) upper: Option<PathBuf>,
    /// What overlay mounts need beside it.
    work: Option<PathBuf>,
    /// The others, topmost first.
    pub(super) lower: Vec<PathBuf>,
}

impl Layers {
    /// Reads what the snapshotter says about mounting: an overlay mount, or a bind mount of one
    /// directory.
    pub(super) fn of(mounts: &[Mount]) -> Result<Self> {
        let [mount] = mounts else {
            return Err(Error::internal(format!("a snapshot of {} mounts", mounts.len())));
        };
        let option = |name: &str| {
            mount.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
        };
        let read_only = mount.options.iter().any(|option| option == "ro");
        match mount.r#type.as_str() {
            "bind" if read_only => {
                Ok(Self { lower: vec![PathBuf::from(&mount.source)], ..Self::default() })
            }
            "bind" => Ok(Self { upper: Some(PathBuf::from(&mount.source)), ..Self::default() }),
            "overlay" => Ok(Self {
                upper: option("upperdir").map(PathBuf::from),
                work: option("workdir").map(PathBuf::from),
                lower: option("lowerdir")
                    .unwrap_or_default()
                    .split(':')
                    .map(PathBuf::from)
                    .collect(),
            }),
            other => Err(Error::unsupported(format!("a snapshot mounted as {other}"))),
        }
    }

    /// Only what is below the writable layer.
    pub(super) fn image(&self) -> Self {
        Self { upper: None, work: None, lower: self.lower.clone() }
    }

    /// Its files. `scratch` is a directory for kernels that cannot mount without a place.
    pub(super) fn open(&self, scratch: &Path) -> Result<Rootfs> {
        match (&self.upper, self.lower.as_slice()) {
            (Some(only), []) => Rootfs::at(only),
            (None, [only]) => Rootfs::at(only),
            (None, []) => {
                let empty = scratch.join("empty");
                super::files::make(&empty)?;
                Rootfs::at(&empty)
            }
            (Some(_) | None, _) => {
                let root = self
                    .mount_nowhere()
                    .or_else(|_| self.mount_and_detach(scratch))
                    .context(ErrorKind::Internal, || {
                        "a container's layers cannot be mounted".to_owned()
                    })?;
                Ok(Rootfs::new(root))
            }
        }
    }

    /// With layers given one by one, as kernels since 6.5 take them.
    fn mount_nowhere(&self) -> rustix::io::Result<OwnedFd> {
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for lower in &self.lower {
            fsconfig_set_string(&overlay, "lowerdir+", lower)?;
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            fsconfig_set_string(&overlay, "upperdir", upper)?;
            fsconfig_set_string(&overlay, "workdir", work)?;
        }
        fsconfig_create(&overlay)?;
        fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    }

    /// On a directory for a moment, then nowhere.
    fn mount_and_detach(&self, scratch: &Path) -> rustix::io::Result<OwnedFd> {
        let place = scratch.join(format!("mount-{:016x}", fastrand()));
        std::fs::create_dir_all(&place).map_err(|_| Errno::IO)?;
        let join = |paths: &[PathBuf]| {
            paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(":")
        };
        let mut options = format!("lowerdir={}", join(&self.lower));
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            options.push_str(&format!(",upperdir={},workdir={}", upper.display(), work.display()));
        }
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        let mounted = mount("overlay", &place, "overlay", MountFlags::empty(), options.as_c_str());
        let root = mounted.and_then(|()| {
            let root = super::fifo::open_path(&place);
            unmount(&place, UnmountFlags::DETACH).and(root)
        });
        let _ = rustix::fs::unlinkat(CWD, &place, rustix::fs::AtFlags::REMOVEDIR);
        root
    }
}

/// A number that no other call has: names of things that live for a moment.
pub(super) fn fastrand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_snapshotter_says() {
        let overlay = Mount {
            r#type: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: [
                "index=off",
                "workdir=/s/9/work",
                "upperdir=/s/9/fs",
                "lowerdir=/s/2/fs:/s/1/fs",
            ]
            .map(str::to_owned)
            .to_vec(),
            target: String::new(),
        };
        let layers = Layers::of(std::slice::from_ref(&overlay)).unwrap();
        assert_eq!(layers.upper.as_deref(), Some(Path::new("/s/9/fs")));
        assert_eq!(layers.lower, [PathBuf::from("/s/2/fs"), PathBuf::from("/s/1/fs")]);
        let bind = Mount {
            r#type: "bind".to_owned(),
            source: "/s/1/fs".to_owned(),
            options: vec!["ro".to_owned(), "rbind".to_owned()],
            target: String::new(),
        };
        assert_eq!(Layers::of(&[bind]).unwrap().lower, [PathBuf::from("/s/1/fs")]);
        assert!(Layers::of(&[overlay.clone(), overlay]).is_err());
        assert!(Layers::of(&[]).is_err());
    }
}
