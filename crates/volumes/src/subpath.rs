//! A directory or file inside a volume, mounted at a place of ours.
//!
//! Whoever uses a volume can put a link in a path's way at any moment, so that a path that was looked at
//! may lead elsewhere when it is mounted. The kernel resolves it once, not out of the volume (openat2(2)),
//! and the mount is taken from what it found (open_tree(2)), not from the path. Docker's Engine and
//! Kubernetes do the same.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use faults::may_die;
use model::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use crate::durable::absent;
use crate::fault::Fault;
use crate::remove;

/// Times a path is looked for that somebody moves about meanwhile (`EAGAIN` of openat2(2)).
const ATTEMPTS: u32 = 100;

/// Mounts what is at `subpath` of the volume whose contents are at `volume`. What is missing of the path
/// becomes directories of `owner`'s, a user and a group. A mount of the same that is there stays.
///
/// # Errors
/// `Invalid` when the path leads out of the volume, or to something that is neither directory nor file.
pub fn mount(volume: &Path, subpath: &str, place: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let what = || format!("{subpath:?} of the volume cannot be mounted");
    let found = open(volume, subpath, owner)?;
    let meta = found.metadata().fault(what)?;
    if !meta.is_dir() && !meta.is_file() {
        let message = format!("{subpath:?} of the volume is neither a directory nor a file");
        return Err(Error::invalid(message).at("subpath"));
    }
    if !shows(place, &meta) {
        unmount(place)?;
        make(place, meta.is_dir()).fault(what)?;
        may_die("subpath.place");
        take(&found, place).fault(what)?;
        may_die("subpath.mounted");
    }
    // What is mounted in the volume later is no business of the mount's, and goes without it.
    mount_change(place, MountPropagationFlags::PRIVATE).fault(what)
}

/// Where a path inside a volume leads at the moment: for what nobody else uses. Nothing is made of what is missing.
///
/// # Errors
/// `NotFound` when it leads to nothing, `Invalid` when it leads out of the volume.
pub fn find(volume: &Path, subpath: &str) -> Result<PathBuf> {
    let what = || format!("{subpath:?} of the volume cannot be found");
    let root = File::open(volume).fault(what)?;
    let found = resolve(&root, Path::new(subpath)).map_err(|error| match error {
        Errno::NOENT => Error::not_found(format!("there is no {subpath:?} in the volume"))
            .next("move it back to where it was"),
        other => told(subpath, other),
    })?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).fault(what)
}

/// Takes the mount at `place` away, and the place. Fine when it is not there. Whoever still uses the mount keeps what
/// they have of it, and nothing waits for them.
///
/// # Errors
/// The file system's.
pub fn unmount(place: &Path) -> Result<()> {
    let what = || format!("{} cannot be unmounted", place.display());
    // Before anything is looked at: a volume whose server is dead answers to nothing.
    remove::unmount(place).or_else(|_| remove::detach(place)).fault(what)?;
    may_die("subpath.unmounted");
    let meta = match fs::symlink_metadata(place) {
        Err(error) if absent(&error) => return Ok(()),
        other => other.fault(what)?,
    };
    // Neither removes what a mount that stayed would show.
    let removed = if meta.is_dir() { fs::remove_dir(place) } else { fs::remove_file(place) };
    removed.fault(what)
}

/// Takes away all mounts whose places are in `directory`, and the directory. One that stays keeps none of the others.
///
/// # Errors
/// As [`unmount`]; the first.
pub fn unmount_all(directory: &Path) -> Result<()> {
    let what = || format!("{} cannot be removed", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if absent(&error) => return Ok(()),
        other => other.fault(what)?,
    };
    let mut outcome = Ok(());
    for entry in entries {
        outcome = outcome.and(unmount(&entry.fault(what)?.path()));
    }
    outcome?;
    fs::remove_dir(directory).fault(what)
}

/// Whether the place is there and shows the very file.
fn shows(place: &Path, wanted: &fs::Metadata) -> bool {
    let same = |there: fs::Metadata| (there.dev(), there.ino()) == (wanted.dev(), wanted.ino());
    fs::symlink_metadata(place).is_ok_and(same)
}

/// Others pass through, to what its own permissions let them: a container whose root is another user does.
fn make(place: &Path, directory: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o711);
    match (directory, place.parent()) {
        (true, _) => builder.create(place),
        (false, Some(parent)) => {
            builder.create(parent).and_then(|()| File::create(place).map(drop))
        }
        (false, None) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

/// Has `found` mounted at `place`: itself, and nothing that is mounted in it.
fn take(found: &File, place: &Path) -> io::Result<()> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(found, "", clone)?;
    Ok(move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// What is at a path inside a volume. Links are followed as long as they stay in it.
fn open(volume: &Path, subpath: &str, owner: Option<(u32, u32)>) -> Result<File> {
    let what = || format!("{subpath:?} of the volume cannot be opened");
    let root = File::open(volume).fault(what)?;
    match resolve(&root, Path::new(subpath)) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(|error| told(subpath, error)),
    }
    let mut above = resolve(&root, Path::new(".")).fault(what)?;
    let mut path = PathBuf::new();
    for part in Path::new(subpath).components() {
        path.push(part);
        let next = match resolve(&root, &path) {
            Err(Errno::NOENT) => {
                make_part(&above, part.as_os_str().as_ref(), owner).fault(what)?;
                resolve(&root, &path)
            }
            other => other,
        };
        above = next.map_err(|error| told(subpath, error))?;
    }
    Ok(above)
}

fn make_part(above: &File, name: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        // A link to nothing; or somebody was faster.
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    let Some((user, group)) = owner else { return Ok(()) };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::chownat(above, name, Some(user), Some(group), flags)?)
}

/// The kernel's answer to where a path leads below a directory.
fn resolve(root: &File, path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..ATTEMPTS {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), inside) {
            Err(Errno::AGAIN) => {}
            other => return other.map(File::from),
        }
    }
    Err(Errno::AGAIN)
}

fn told(subpath: &str, error: Errno) -> Error {
    let refused = match error {
        Errno::XDEV | Errno::LOOP => format!("{subpath:?} leads out of the volume"),
        Errno::NOENT => format!("{subpath:?} of the volume is a link to nothing in it"),
        Errno::NOTDIR => format!("{subpath:?} of the volume leads through a file"),
        other => {
            return Error::new(
                ErrorKind::Unavailable,
                format!("{subpath:?} of the volume cannot be opened"),
            )
            .caused_by(io::Error::from(other));
        }
    };
    Error::invalid(refused).at("subpath")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn volume() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let volume = base.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::create_dir(base.path().join("beside")).unwrap();
        (base, volume)
    }

    #[test]
    fn looking_for_a_path_makes_nothing() {
        let (_base, volume) = volume();
        fs::create_dir(volume.join("here")).unwrap();
        assert_eq!(find(&volume, "here").unwrap(), volume.canonicalize().unwrap().join("here"));
        for missing in ["away", "here/below/deeper"] {
            let error = find(&volume, missing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}");
        }
        symlink("..", volume.join("up")).unwrap();
        assert_eq!(find(&volume, "up").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 2);
        assert_eq!(fs::read_dir(volume.join("here")).unwrap().count(), 0);
    }

    #[test]
    fn a_path_stays_in_its_volume() {
        let (base, volume) = volume();
        symlink("..", volume.join("up")).unwrap();
        symlink(base.path().join("beside"), volume.join("absolute")).unwrap();
        symlink("absent", volume.join("dangling")).unwrap();
        symlink("/proc/self/root", volume.join("magic")).unwrap();
        symlink("a", volume.join("inside")).unwrap();
        fs::write(volume.join("file"), "x").unwrap();
        let at =
            |path: &str| open(&volume, path, None).map(|found| found.metadata().unwrap().ino());
        let ino = |path: &str| fs::metadata(volume.join(path)).unwrap().ino();
        assert_eq!(at("a/b").unwrap(), ino("a/b"));
        assert_eq!(at("inside/b").unwrap(), ino("a/b"));
        assert_eq!(at("inside/c").unwrap(), ino("a/c"));
        assert_eq!(at("file").unwrap(), ino("file"));
        for bad in [
            "up",
            "up/beside",
            "absolute",
            "absolute/new",
            "dangling",
            "dangling/x",
            "magic",
            "file/x",
        ] {
            let error = at(bad).unwrap_err();
            assert_eq!(
                (error.kind(), error.field()),
                (ErrorKind::Invalid, Some("subpath")),
                "{bad}"
            );
        }
        assert_eq!(fs::read_dir(base.path().join("beside")).unwrap().count(), 0);
    }
}
