//! A tar archive unpacked into a container.
//!
//! Each entry's directory is resolved inside the container and its file made there by name, never
//! through a link: an archive and a container that work together reach nothing outside.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use model::{Error, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, linkat,
    mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Rootfs, missing};

/// How an archive is unpacked.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// Refuse to put a directory in a file's place or a file in a directory's.
    pub keep_kinds: bool,
    /// Give the files to the users the archive says; else to `owner`.
    pub keep_owners: bool,
    /// User and group outside of new files.
    pub owner: (u32, u32),
}

impl Rootfs {
    /// Unpacks an archive into the directory `path`. Blocks; run it on a thread that may.
    ///
    /// # Errors
    /// `NotFound` when the directory is not there, `Invalid` for an archive that is none or names
    /// files outside.
    pub fn unpack(&self, path: &str, options: &UnpackOptions, input: impl Read) -> Result<()> {
        let directory = self.open(path, OFlags::PATH | OFlags::DIRECTORY)?;
        drop(directory);
        let unfit = |error: io::Error| {
            Error::invalid(format!("the archive for {path} cannot be read")).caused_by(error)
        };
        let mut archive = tar::Archive::new(input);
        for entry in archive.entries().map_err(unfit)? {
            let mut entry = entry.map_err(unfit)?;
            self.put(path, options, &mut entry)?;
        }
        Ok(())
    }

    fn put<R: Read>(
        &self,
        base: &str,
        options: &UnpackOptions,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<()> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((parent, last)) = place(base, &name)? else {
            return Ok(());
        };
        let directory = self.make_directories(&parent)?;
        self.put_in(&directory, &last, base, options, entry).map_err(|errno| missing(&name, errno))
    }

    fn put_in<R: Read>(
        &self,
        directory: &OwnedFd,
        name: &str,
        base: &str,
        options: &UnpackOptions,
        entry: &mut tar::Entry<'_, R>,
    ) -> rustix::io::Result<()> {
        let header = entry.header().clone();
        let kind = header.entry_type();
        let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
        if !make_room(directory, name, kind.is_dir(), options.keep_kinds)? && kind.is_dir() {
            // The directory that is there is used.
        } else if kind.is_dir() {
            mkdirat(directory, name, Mode::from_raw_mode(0o700))?;
        } else if kind.is_symlink() {
            let target = entry.link_name_bytes().ok_or(Errno::INVAL)?.into_owned();
            symlinkat(target.as_slice(), directory, name)?;
        } else if kind.is_hard_link() {
            let target = entry.link_name_bytes().ok_or(Errno::INVAL)?.into_owned();
            return self.link(base, &String::from_utf8_lossy(&target), directory, name);
        } else if kind.is_file() || kind.is_contiguous() {
            write(directory, name, entry)?;
        } else if let Some(special) = special(kind) {
            let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
            let device =
                rustix::fs::makedev(number(header.device_major()), number(header.device_minor()));
            mknodat(directory, name, special, Mode::from_raw_mode(0o600), device)?;
        } else {
            return Ok(());
        }
        let owner = match (options.keep_owners, header.uid(), header.gid()) {
            (true, Ok(uid), Ok(gid)) => {
                (u32::try_from(uid).unwrap_or(0), u32::try_from(gid).unwrap_or(0))
            }
            _ => options.owner,
        };
        settle(directory, name, owner, mode, &header)
    }

    /// Another name for a file of the same archive.
    fn link(
        &self,
        base: &str,
        target: &str,
        directory: &OwnedFd,
        name: &str,
    ) -> rustix::io::Result<()> {
        let Ok(Some((parent, last))) = place(base, target) else {
            return Err(Errno::INVAL);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let from = self.open_raw(&parent, flags, Mode::empty())?;
        linkat(&from, last.as_str(), directory, name, AtFlags::empty())
    }

    /// The directory, made inside with those above it where they are not there.
    fn make_directories(&self, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_raw(path, flags, Mode::empty()) {
            Err(Errno::NOENT) if !path.trim_matches('/').is_empty() => {
                let (parent, last) =
                    path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
                let above = self.make_directories(parent)?;
                match mkdirat(&above, last, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(missing(path, errno)),
                }
                self.open_raw(path, flags, Mode::empty()).map_err(|errno| missing(path, errno))
            }
            other => other.map_err(|errno| missing(path, errno)),
        }
    }
}

/// The directory and the name of an entry; `None` for the base itself.
fn place(base: &str, name: &str) -> Result<Option<(String, String)>> {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::invalid(format!(
                    "the archive names {name:?}, which climbs out"
                )));
            }
        }
    }
    let Some(last) = parts.pop() else {
        return Ok(None);
    };
    let mut parent = base.trim_end_matches('/').to_owned();
    for part in parts {
        parent.push('/');
        parent.push_str(part);
    }
    Ok(Some((parent, last.to_owned())))
}

/// Removes what is in the way; false if it is a directory and a directory is to come.
fn make_room(
    directory: &OwnedFd,
    name: &str,
    wants_directory: bool,
    keep_kinds: bool,
) -> rustix::io::Result<bool> {
    let meta = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(meta) => meta,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(errno),
    };
    let is_directory = FileType::from_raw_mode(meta.st_mode) == FileType::Directory;
    match (is_directory, wants_directory) {
        (true, true) => Ok(false),
        (true, false) if keep_kinds => Err(Errno::ISDIR),
        (false, true) if keep_kinds => Err(Errno::NOTDIR),
        // Only an empty one goes: nothing is lost that was not named.
        (true, false) => unlinkat(directory, name, AtFlags::REMOVEDIR).map(|()| true),
        (false, _) => unlinkat(directory, name, AtFlags::empty()).map(|()| true),
    }
}

fn write<R: Read>(
    directory: &OwnedFd,
    name: &str,
    entry: &mut tar::Entry<'_, R>,
) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::from_raw_mode(0o600))?);
    io::copy(entry, &mut file)
        .map(drop)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn special(kind: tar::EntryType) -> Option<FileType> {
    match kind {
        tar::EntryType::Char => Some(FileType::CharacterDevice),
        tar::EntryType::Block => Some(FileType::BlockDevice),
        tar::EntryType::Fifo => Some(FileType::Fifo),
        _ => None,
    }
}

/// Sets owner, then bits, then times: each of the former would undo the latter.
fn settle(
    directory: &OwnedFd,
    name: &str,
    (uid, gid): (u32, u32),
    mode: Mode,
    header: &tar::Header,
) -> rustix::io::Result<()> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = header.entry_type();
    if kind.is_file() || kind.is_contiguous() || kind.is_dir() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fchmod(openat(directory, name, flags, Mode::empty())?, mode)?;
    }
    let modified =
        Timespec { tv_sec: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), tv_nsec: 0 };
    let times = Timestamps { last_access: modified, last_modification: modified };
    utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::PackOptions;
    use model::ErrorKind;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_mtime(1_000_000);
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
                header.set_link_name_literal(text).unwrap();
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(text.len() as u64);
                header.set_cksum();
                builder.append(&header, text.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn own() -> UnpackOptions {
        let id = rustix::process::getuid().as_raw();
        UnpackOptions {
            owner: (id, rustix::process::getgid().as_raw()),
            ..UnpackOptions::default()
        }
    }

    #[test]
    fn hostile_links_lead_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("absolute")).unwrap();
        symlink("../../../../../../../..", root.path().join("climbs")).unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        let secret = outside.path().join("secret");
        let through = format!("/absolute{}", "/secret");
        assert!(rootfs.read_text(&through, 10).is_err());
        assert!(rootfs.read_text(&format!("/climbs{}", secret.display()), 10).is_err());

        use tar::EntryType::{Link, Regular, Symlink};
        for entries in [
            vec![("absolute/evil", Regular, "x")],
            vec![("out", Symlink, outside.path().to_str().unwrap()), ("out/evil", Regular, "x")],
            vec![("a", Symlink, ".."), ("a/b", Symlink, ".."), ("a/b/evil", Regular, "x")],
        ] {
            let _ = rootfs.unpack("/", &own(), archive(&entries).as_slice());
        }
        for entries in [
            vec![("../evil", Regular, "x")],
            vec![("ok/../../evil", Regular, "x")],
            vec![("hard", Link, "../secret")],
        ] {
            assert!(rootfs.unpack("/", &own(), archive(&entries).as_slice()).is_err());
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert!(!root.path().parent().unwrap().join("evil").exists());
    }

    #[test]
    fn packed_and_unpacked_again() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        use tar::EntryType::{Directory, Link, Regular, Symlink};
        let entries = [
            ("d/", Directory, ""),
            ("d/file", Regular, "text"),
            ("d/deep/file", Regular, "more"),
            ("d/link", Symlink, "file"),
            ("d/twin", Link, "d/file"),
        ];
        std::fs::create_dir(root.path().join("in")).unwrap();
        rootfs.unpack("/in", &own(), archive(&entries).as_slice()).unwrap();
        let options = PackOptions { name: "copy".to_owned(), ..PackOptions::default() };
        let mut bytes = Vec::new();
        rootfs.pack("/in/d", &options, &mut bytes).unwrap();
        rootfs.unpack("/", &own(), bytes.as_slice()).unwrap();
        assert_eq!(rootfs.read_text("/copy/link", 100).unwrap(), "text");
        assert_eq!(rootfs.read_text("/copy/deep/file", 100).unwrap(), "more");
        let file = std::fs::metadata(root.path().join("copy/file")).unwrap();
        assert_eq!((file.mode() & 0o777, file.mtime(), file.nlink()), (0o640, 1_000_000, 2));
        let link = rootfs.stat_link("/copy/link").unwrap();
        assert_eq!((link.name.as_str(), link.target.as_deref()), ("link", Some("file")));
        assert_eq!(rootfs.stat("/copy/link").unwrap().size, 4);
        assert_eq!(rootfs.stat("/no").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(rootfs.stat("/").unwrap().name, "/");
    }

    #[test]
    fn kinds_are_kept_when_asked() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        std::fs::write(root.path().join("f"), "x").unwrap();
        let keep = UnpackOptions { keep_kinds: true, ..own() };
        use tar::EntryType::{Directory, Regular};
        let over_directory = archive(&[("d", Regular, "x")]);
        let over_file = archive(&[("f/", Directory, "")]);
        assert!(rootfs.unpack("/", &keep, over_directory.as_slice()).is_err());
        assert!(rootfs.unpack("/", &keep, over_file.as_slice()).is_err());
        rootfs.unpack("/", &own(), over_directory.as_slice()).unwrap();
        rootfs.unpack("/", &own(), over_file.as_slice()).unwrap();
    }
}
