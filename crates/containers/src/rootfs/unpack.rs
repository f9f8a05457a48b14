//! A tar archive unpacked into a container.
//!
//! Each entry's directory is resolved inside the container and its file made there by name, never
//! through a link: an archive and a container that work together reach nothing outside.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use model::{Error, ErrorKind, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fsetxattr, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Rootfs, missing};

/// Most bytes of a file that are written at once.
const PIECE: u64 = 256 * 1024;
/// Largest file with holes, bytes.
const LARGEST_SPARSE: u64 = 64 << 30;
/// Most bytes of what stands before an entry's contents: its names, attributes and map of holes. Linux takes
/// names of 4 KiB and attributes of 64 KiB each.
const LONGEST_HEAD: u64 = 4 << 20;
/// What a name of an extended attribute follows in a record of pax (as GNU tar, star and Go write them).
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

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

/// Reads no more than is left to read. The reader of archives takes long names and extended headers
/// into memory, as long as they say they are.
struct Rationed<'a, R> {
    input: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Rationed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!("an entry's head is over {LONGEST_HEAD} bytes")));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..most])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
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
        let unfit =
            |error: io::Error| Error::invalid("the archive cannot be unpacked").caused_by(error);
        let left = Cell::new(LONGEST_HEAD);
        let mut archive = tar::Archive::new(Rationed { input, left: &left });
        for entry in archive.entries().map_err(unfit)? {
            let mut entry = entry.map_err(unfit)?;
            left.set(u64::MAX);
            // Says something of the archive (`git archive` writes one), and is no file.
            if !entry.header().entry_type().is_pax_global_extensions() {
                self.put(path, options, &mut entry)?;
            }
            left.set(LONGEST_HEAD);
        }
        Ok(())
    }

    fn put<R: Read>(
        &self,
        base: &str,
        options: &UnpackOptions,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<()> {
        let name = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let Some((parent, last)) = place(Path::new(base), &name)? else {
            return Ok(());
        };
        let directory = self.make_directories(&parent)?;
        let put = self.put_in(&directory, &last, base, options, entry);
        put.map_err(|error| not_put(&name, base, error))
    }

    fn put_in<R: Read>(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        base: &str,
        options: &UnpackOptions,
        entry: &mut tar::Entry<'_, R>,
    ) -> io::Result<()> {
        let header = entry.header().clone();
        let kind = header.entry_type();
        let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
        let is_directory = is_directory(entry);
        if !make_room(directory, name, is_directory, options.keep_kinds)? && is_directory {
            // The directory that is there is used.
        } else if is_directory {
            mkdirat(directory, name, Mode::from_raw_mode(0o700))?;
        } else if kind.is_symlink() {
            let target = entry.link_name_bytes().ok_or(Errno::INVAL)?.into_owned();
            symlinkat(target.as_slice(), directory, name)?;
        } else if kind.is_hard_link() {
            let target = entry.link_name_bytes().ok_or(Errno::INVAL)?.into_owned();
            return Ok(self.link(base, OsStr::from_bytes(&target), directory, name)?);
        } else if is_file(kind) {
            write(directory, name, entry)?;
        } else if let Some(special) = special(kind) {
            let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
            let device =
                rustix::fs::makedev(number(header.device_major()), number(header.device_minor()));
            mknodat(directory, name, special, Mode::from_raw_mode(0o600), device)?;
        } else {
            return Err(io::Error::other(format!("its kind, {kind:?}, is not known here")));
        }
        let owner = match (options.keep_owners, header.uid(), header.gid()) {
            (true, Ok(uid), Ok(gid)) => {
                (u32::try_from(uid).unwrap_or(0), u32::try_from(gid).unwrap_or(0))
            }
            _ => options.owner,
        };
        Ok(settle(directory, name, owner, mode, entry)?)
    }

    /// Another name for a file of the same archive.
    fn link(
        &self,
        base: &str,
        target: &OsStr,
        directory: &OwnedFd,
        name: &OsStr,
    ) -> rustix::io::Result<()> {
        let Ok(Some((parent, last))) = place(Path::new(base), Path::new(target)) else {
            return Err(Errno::INVAL);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let from = self.open_raw(&parent, flags, Mode::empty())?;
        linkat(&from, last, directory, name, AtFlags::empty())
    }

    /// The directory, made inside with those above it where they are not there.
    fn make_directories(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let failed = |errno| missing(&path.to_string_lossy(), errno);
        let (above, last) = match (self.open_raw(path, flags, Mode::empty()), path.parent()) {
            (Err(Errno::NOENT), Some(above)) => (above, path.file_name().unwrap_or_default()),
            (found, _) => return found.map_err(failed),
        };
        match mkdirat(self.make_directories(above)?, last, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        self.open_raw(path, flags, Mode::empty()).map_err(failed)
    }
}

fn not_put(name: &Path, base: &str, error: io::Error) -> Error {
    let name = name.to_string_lossy();
    let kind = match (error.kind(), Errno::from_io_error(&error)) {
        (io::ErrorKind::AlreadyExists, None) => {
            let change = format!("{name} would change between a directory and a file");
            return Error::conflict(change).at("path");
        }
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => ErrorKind::Exhausted,
        _ => ErrorKind::Invalid,
    };
    let sentence = format!("the archive cannot be unpacked: {name:?} cannot be made in {base}");
    Error::new(kind, sentence).caused_by(error)
}

/// The directory and the name of an entry; `None` for the base itself.
fn place(base: &Path, name: &Path) -> Result<Option<(PathBuf, OsString)>> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::invalid(format!(
                    "the archive's entry {:?} leads out of it",
                    name.to_string_lossy()
                )));
            }
        }
    }
    let Some(last) = path.file_name().map(OsStr::to_owned) else {
        return Ok(None);
    };
    path.pop();
    Ok(Some((base.join(path), last)))
}

/// Removes what is in the way; false if it is a directory and a directory is to come.
fn make_room(
    directory: &OwnedFd,
    name: &OsStr,
    wants_directory: bool,
    keep_kinds: bool,
) -> io::Result<bool> {
    let meta = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(meta) => meta,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(errno.into()),
    };
    let is_directory = FileType::from_raw_mode(meta.st_mode) == FileType::Directory;
    if keep_kinds && is_directory != wants_directory {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match (is_directory, wants_directory) {
        (true, true) => return Ok(false),
        // Only an empty one goes: nothing is lost that was not named.
        (true, false) => unlinkat(directory, name, AtFlags::REMOVEDIR)?,
        (false, _) => unlinkat(directory, name, AtFlags::empty())?,
    }
    Ok(true)
}

fn write<R: Read>(
    directory: &OwnedFd,
    name: &OsStr,
    entry: &mut tar::Entry<'_, R>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::from_raw_mode(0o600))?);
    let size = entry.size();
    // Zeros that nobody has to send.
    if entry.header().entry_type().is_gnu_sparse() && size > LARGEST_SPARSE {
        return Err(io::Error::other(format!("a sparse file of {size} bytes is too large")));
    }
    let piece = usize::try_from(size.min(PIECE)).unwrap_or_default();
    let mut file = BufWriter::with_capacity(piece, file);
    let written = io::copy(entry, &mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // An archive that ends in the middle of a file is not a short file.
    if written == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn is_file(kind: tar::EntryType) -> bool {
    kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()
}

/// Whether an entry is a directory: archives older than POSIX say it by a slash at the name's end.
fn is_directory<R: Read>(entry: &tar::Entry<'_, R>) -> bool {
    let kind = entry.header().entry_type();
    kind.is_dir() || (kind.is_file() && entry.path_bytes().ends_with(b"/"))
}

fn special(kind: tar::EntryType) -> Option<FileType> {
    match kind {
        tar::EntryType::Char => Some(FileType::CharacterDevice),
        tar::EntryType::Block => Some(FileType::BlockDevice),
        tar::EntryType::Fifo => Some(FileType::Fifo),
        _ => None,
    }
}

/// Sets owner, then bits and attributes, then times: each of the former would undo the latter.
fn settle<R: Read>(
    directory: &OwnedFd,
    name: &OsStr,
    (uid, gid): (u32, u32),
    mode: Mode,
    entry: &mut tar::Entry<'_, R>,
) -> rustix::io::Result<()> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = entry.header().entry_type();
    if is_file(kind) || kind.is_dir() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty())?;
        fchmod(&file, mode)?;
        set_attributes(&file, entry)?;
    }
    let seconds = entry.header().mtime().unwrap_or(0);
    let modified = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
    let times = Timestamps { last_access: modified, last_modification: modified };
    utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn set_attributes<R: Read>(
    file: &OwnedFd,
    entry: &mut tar::Entry<'_, R>,
) -> rustix::io::Result<()> {
    let Ok(Some(records)) = entry.pax_extensions() else { return Ok(()) };
    for record in records.flatten() {
        let Some(name) = record.key_bytes().strip_prefix(ATTRIBUTE) else { continue };
        match fsetxattr(file, OsStr::from_bytes(name), record.value_bytes(), XattrFlags::empty()) {
            // The file system has none of that kind: what is in the file matters more.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
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
    fn files_are_unpacked_with_all_they_have() {
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
        let file = std::fs::metadata(root.path().join("in/d/file")).unwrap();
        assert_eq!((file.mode() & 0o777, file.mtime(), file.nlink()), (0o640, 1_000_000, 2));
        assert_eq!(rootfs.read_text("/in/d/link", 100).unwrap(), "text");
        assert_eq!(rootfs.read_text("/in/d/deep/file", 100).unwrap(), "more");
        assert_eq!(std::fs::read_link(root.path().join("in/d/link")).unwrap(), Path::new("file"));
    }

    #[test]
    fn kinds_of_old_and_of_gnu() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        use tar::EntryType::Regular;
        let entries = [("old/", Regular, ""), ("old/file", Regular, "x")];
        rootfs.unpack("/", &own(), archive(&entries).as_slice()).unwrap();
        assert_eq!(rootfs.read_text("/old/file", 1).unwrap(), "x");
        let unknown = archive(&[("v", tar::EntryType::new(b'V'), "")]);
        assert!(rootfs.unpack("/", &own(), unknown.as_slice()).is_err());

        let holes = tempfile::tempdir().unwrap();
        let file = File::create(holes.path().join("holes")).unwrap();
        file.set_len(1 << 20).unwrap();
        let packed = std::process::Command::new("tar")
            .args(["-cSf", "-", "-C", holes.path().to_str().unwrap(), "holes"])
            .output()
            .unwrap();
        rootfs.unpack("/", &own(), packed.stdout.as_slice()).unwrap();
        assert_eq!(rootfs.stat("/holes").unwrap().size, 1 << 20);
    }

    #[test]
    fn heads_are_bounded_and_those_of_the_archive_are_no_files() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        use tar::EntryType::{GNULongName, Regular, XGlobalHeader, XHeader};
        let long = "x".repeat(5 << 20);
        for kind in [GNULongName, XHeader] {
            let entries = archive(&[("@", kind, &long), ("a", Regular, "x")]);
            let error = rootfs.unpack("/", &own(), entries.as_slice()).unwrap_err();
            assert!(error.chain().contains("head is over"), "{}", error.chain());
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        // Contents may be as long as they are, and what nobody reads is passed over.
        let comment = "52 comment=0123456789012345678901234567890123456789\n";
        let entries =
            [("g", XGlobalHeader, comment), ("long", Regular, &long), ("b", Regular, "x")];
        rootfs.unpack("/", &own(), archive(&entries).as_slice()).unwrap();
        assert_eq!(rootfs.stat("/long").unwrap().size, 5 << 20);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_archive_that_breaks_off_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        let whole = archive(&[("file", tar::EntryType::Regular, "text")]);
        let error = rootfs.unpack("/", &own(), &whole[..514]).unwrap_err();
        assert_eq!(error.message(), "the archive cannot be unpacked: \"file\" cannot be made in /");
    }

    #[test]
    fn names_are_bytes_and_attributes_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("SCHILY.xattr.user.color", &b"red"[..])]).unwrap();
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..4].copy_from_slice(b"\xffile");
        header.set_mode(0o600);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        rootfs.unpack("/", &own(), builder.into_inner().unwrap().as_slice()).unwrap();
        let file = File::open(root.path().join(OsStr::from_bytes(b"\xffile"))).unwrap();
        let mut color = [0; 8];
        match rustix::fs::fgetxattr(&file, "user.color", &mut color[..]) {
            Ok(length) => assert_eq!(&color[..length], b"red"),
            Err(errno) => assert_eq!(errno, Errno::NOTSUP),
        }
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
        for archive in [&over_directory, &over_file] {
            let error = rootfs.unpack("/", &keep, archive.as_slice()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
        rootfs.unpack("/", &own(), over_directory.as_slice()).unwrap();
        rootfs.unpack("/", &own(), over_file.as_slice()).unwrap();
    }
}
