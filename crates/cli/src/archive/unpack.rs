//! A tar stream into files of this machine.
//!
//! Every directory on the way is opened without following links, one name at a time, from the
//! directory that was given: neither `..`, nor a link that the archive brought, nor one that was
//! there before leads out. Links are made as the archive says, and never followed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use futures::TryStreamExt;
use link::ByteStream;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Where an archive's contents go, and how.
#[derive(Debug, Clone)]
pub struct Place {
    /// A directory that exists; nothing is made outside it.
    pub directory: PathBuf,
    /// Name that the first part of every name is replaced by; empty to leave that part out.
    pub name: OsString,
    /// Keep users, groups and special permission bits.
    pub owners: bool,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of files.
    pub bytes: u64,
    /// Devices and the like, which were left out.
    pub left_out: u64,
}

/// Unpacks an archive, in a thread of its own.
pub async fn unpack(archive: ByteStream, place: Place) -> Result<Unpacked> {
    let reader = SyncIoBridge::new(StreamReader::new(archive.map_err(io::Error::other)));
    let work = tokio::task::spawn_blocking(move || unpack_from(reader, &place));
    work.await.context(ErrorKind::Internal, || "unpacking failed".into())?
}

fn unpack_from(reader: impl Read, place: &Place) -> Result<Unpacked> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = fs::openat(CWD, &place.directory, flags, Mode::empty())
        .context(ErrorKind::Unavailable, || format!("cannot open {}", place.directory.display()))?;
    let mut unpacker = Unpacker { root, place, done: Unpacked::default(), directories: Vec::new() };
    let mut archive = tar::Archive::new(reader);
    let broken = || "the archive cannot be read".to_owned();
    for entry in archive.entries().context(ErrorKind::Unavailable, broken)? {
        unpacker.entry(&mut entry.context(ErrorKind::Unavailable, broken)?)?;
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    root: OwnedFd,
    place: &'a Place,
    done: Unpacked,
    /// Permissions and times of directories are set last: making files in them changes the one and
    /// may be forbidden by the other.
    directories: Vec<(OwnedFd, Attributes)>,
}

/// What a file gets besides its contents.
#[derive(Debug, Clone, Copy)]
struct Attributes {
    mode: Mode,
    modified: i64,
    owner: Option<(Uid, Gid)>,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        let written = entry.path().context(ErrorKind::Invalid, || "a name is no path".into())?;
        let written = written.into_owned();
        let path = self.inside(&written)?;
        let failed = || format!("cannot make {}", self.place.directory.join(&path).display());
        let Some(name) = path.file_name().map(OsStr::to_owned) else { return Ok(()) };
        let attributes = self.attributes(entry.header());
        let kind = entry.header().entry_type();
        let parent = self.walk(path.parent().unwrap_or(Path::new("")))?;
        if kind.is_dir() {
            let made = directory(&parent, &name).context(ErrorKind::Unavailable, failed)?;
            self.directories.push((made, attributes));
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name().ok().flatten().map(|target| target.into_owned());
            let target = target.ok_or_else(|| refused(&written, "is a link to nothing"))?;
            clear(&parent, &name).context(ErrorKind::Unavailable, failed)?;
            self.link(&parent, &name, &target, kind.is_symlink())
                .map_err(|error| Error::unavailable(failed()).caused_by(error))?;
        } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            clear(&parent, &name).context(ErrorKind::Unavailable, failed)?;
            let copied = file(&parent, &name, entry, attributes);
            self.done.bytes += copied.context(ErrorKind::Unavailable, failed)?;
        } else {
            self.done.left_out += 1;
        }
        Ok(())
    }

    fn link(&self, parent: &OwnedFd, name: &OsStr, target: &Path, symbolic: bool) -> Result<()> {
        if symbolic {
            return fs::symlinkat(target, parent, name)
                .context(ErrorKind::Unavailable, || "no symbolic link".into());
        }
        let target = self.inside(target)?;
        let from = self.walk(target.parent().unwrap_or(Path::new("")))?;
        let base = target.file_name().unwrap_or_default();
        fs::linkat(&from, base, parent, name, AtFlags::empty())
            .context(ErrorKind::Unavailable, || "no hard link".into())
    }

    /// The path below the directory that a name in the archive means.
    fn inside(&self, written: &Path) -> Result<PathBuf> {
        let mut parts = Vec::new();
        for part in written.components() {
            match part {
                Component::Normal(name) => parts.push(name),
                Component::CurDir => {}
                Component::RootDir if parts.is_empty() => {}
                _ => return Err(refused(written, "leads out of the directory")),
            }
        }
        let first = (!self.place.name.is_empty()).then_some(self.place.name.as_os_str());
        Ok(first.into_iter().chain(parts.into_iter().skip(1)).collect())
    }

    /// Opens the directory at a path that [`Self::inside`] gave, and makes what is missing of it.
    fn walk(&self, path: &Path) -> Result<OwnedFd> {
        let failed = || format!("cannot go into {}", self.place.directory.join(path).display());
        let mut here = self.root.try_clone().context(ErrorKind::Unavailable, failed)?;
        for part in path.components() {
            here = directory(&here, part.as_os_str()).map_err(|error| {
                let error = Error::unavailable(failed()).caused_by(error);
                error.next("a link on the way is not followed; remove it or copy elsewhere")
            })?;
        }
        Ok(here)
    }

    fn attributes(&self, header: &tar::Header) -> Attributes {
        let owners = self.place.owners;
        let bits = header.mode().unwrap_or(0o644) & if owners { 0o7777 } else { 0o777 };
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        let owner = match (id(header.uid()), id(header.gid())) {
            (Some(uid), Some(gid)) if owners && uid != u32::MAX && gid != u32::MAX => {
                Some((Uid::from_raw(uid), Gid::from_raw(gid)))
            }
            _ => None,
        };
        let modified = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        Attributes { mode: Mode::from_bits_truncate(bits), modified, owner }
    }

    fn finish(self) -> Result<Unpacked> {
        for (directory, attributes) in self.directories.iter().rev() {
            attributes.set(directory).context(ErrorKind::Unavailable, || {
                "cannot set the permissions of a directory".into()
            })?;
        }
        Ok(self.done)
    }
}

impl Attributes {
    fn set(&self, file: &OwnedFd) -> rustix::io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fs::fchown(file, Some(uid), Some(gid))?;
        }
        fs::fchmod(file, self.mode)?;
        let time = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        fs::futimens(file, &Timestamps { last_access: time, last_modification: time })
    }
}

/// Opens the directory of that name, and makes it if it is missing. Links are not followed.
fn directory(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Removes what is in the way, unless it is a directory.
fn clear(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn file(
    parent: &OwnedFd,
    name: &OsStr,
    contents: &mut impl Read,
    attributes: Attributes,
) -> io::Result<u64> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut made = std::fs::File::from(fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
    let copied = io::copy(contents, &mut made)?;
    attributes.set(&OwnedFd::from(made))?;
    Ok(copied)
}

fn refused(path: &Path, why: &str) -> Error {
    let path = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    Error::invalid(format!("the archive is refused: {path:?} {why}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entry(kind: tar::EntryType, name: &str, link: &str, contents: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_mtime(1_000_000);
        header.set_size(contents.len() as u64);
        // Past the builder, which refuses names that lead out.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn run(entries: &[Vec<u8>], directory: &Path, name: &str) -> Result<Unpacked> {
        let mut archive = entries.concat();
        archive.resize(archive.len() + 1024, 0);
        let place = Place { directory: directory.into(), name: name.into(), owners: false };
        unpack_from(archive.as_slice(), &place)
    }

    use tar::EntryType::{Char, Directory, Link, Regular, Symlink};

    #[test]
    fn what_is_written_is_there_under_its_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            entry(Directory, "src", "", b""),
            entry(Regular, "src/a/b", "", b"hello"),
            entry(Link, "src/c", "src/a/b", b""),
            entry(Symlink, "src/l", "/etc/passwd", b""),
            entry(Char, "src/null", "", b""),
        ];
        let done = run(&entries, dir.path(), "new").unwrap();
        assert_eq!(done, Unpacked { bytes: 5, left_out: 1 });
        let at = dir.path().join("new");
        assert_eq!(std::fs::read(at.join("a/b")).unwrap(), b"hello");
        assert_eq!(std::fs::read(at.join("c")).unwrap(), b"hello");
        assert_eq!(at.join("l").read_link().unwrap(), Path::new("/etc/passwd"));
        let mode = at.join("a/b").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "no set-user-id bit without --archive");
        run(&entries, dir.path(), "").unwrap();
        assert_eq!(std::fs::read(dir.path().join("a/b")).unwrap(), b"hello");
        run(&entries, dir.path(), "").expect("a second time replaces files");
    }

    #[test]
    fn nothing_is_made_outside() {
        let bad = [
            vec![entry(Regular, "src/../../x", "", b"x")],
            vec![entry(Symlink, "src/d", "..", b""), entry(Regular, "src/d/x", "", b"x")],
            vec![entry(Symlink, "src", "..", b""), entry(Regular, "src/x", "", b"x")],
            vec![entry(Symlink, "src/d", "..", b""), entry(Directory, "src/d/e", "", b"")],
            vec![entry(Link, "src/h", "src/../../secret", b"")],
            vec![entry(Symlink, "src/d", "..", b""), entry(Link, "src/h", "src/d/secret", b"")],
        ];
        for entries in bad {
            let outer = tempfile::tempdir().unwrap();
            std::fs::write(outer.path().join("secret"), b"secret").unwrap();
            let inner = outer.path().join("inner");
            std::fs::create_dir(&inner).unwrap();
            for name in ["", "new"] {
                // The archive is refused, or does no harm.
                let _ = run(&entries, &inner, name);
                assert_eq!(outer.path().read_dir().unwrap().count(), 2, "something got out");
                for hidden in ["h", "new/h"] {
                    assert!(std::fs::read(inner.join(hidden)).is_err(), "the secret got in");
                }
            }
        }
    }

    #[test]
    fn links_that_were_there_are_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&outside, b"kept").unwrap();
        symlink(&outside, inner.join("x")).unwrap();
        run(&[entry(Regular, "src", "", b"new")], &inner, "x").unwrap();
        assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
        assert_eq!(std::fs::read(inner.join("x")).unwrap(), b"new");
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut short = entry(Regular, "src", "", b"hello");
        short.truncate(514);
        let place = Place { directory: dir.path().into(), name: "x".into(), owners: false };
        assert!(unpack_from(short.as_slice(), &place).is_err());
    }
}
