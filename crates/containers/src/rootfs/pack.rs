//! Files of a container as a tar archive (tar(5), in its POSIX form).

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::Rootfs;

/// How files are packed.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// What the topmost entry is called; the entries of a directory are then below that. With an
    /// empty name they stand by themselves.
    pub name: String,
    /// Follow the path given if it is a link; links below are kept as links always.
    pub follow: bool,
    /// Leave out what is mounted below: kernel file systems and volumes.
    pub one_file_system: bool,
}

impl Rootfs {
    /// Writes an archive of what is at `path`. Blocks; run it on a thread that may.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub fn pack(&self, path: &str, options: &PackOptions, output: impl Write) -> Result<()> {
        let follow = if options.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let top = self.open(path, OFlags::PATH | follow)?;
        let failed = || format!("{path} in the container cannot be packed");
        let mut packer = Packer {
            archive: tar::Builder::new(output),
            links: HashMap::new(),
            device: options
                .one_file_system
                .then(|| fstat(&top))
                .transpose()
                .context(ErrorKind::Internal, failed)?
                .map(|meta| meta.st_dev),
        };
        packer.archive.follow_symlinks(false);
        packer.add_top(&top, Path::new(&options.name)).context(ErrorKind::Internal, failed)?;
        packer.archive.finish().context(ErrorKind::Internal, failed)
    }
}

/// The names in an open directory, sorted.
pub(super) fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

struct Packer<W: Write> {
    archive: tar::Builder<W>,
    /// Files of several names that were packed under one.
    links: HashMap<(u64, u64), PathBuf>,
    /// The only file system to pack from.
    device: Option<u64>,
}

impl<W: Write> Packer<W> {
    fn add_top(&mut self, top: &OwnedFd, name: &Path) -> io::Result<()> {
        let meta = fstat(top)?;
        if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
            if !name.as_os_str().is_empty() {
                self.add_plain(name, &meta, tar::EntryType::Directory)?;
            }
            return self.add_below(top.as_fd(), name);
        }
        if FileType::from_raw_mode(meta.st_mode) == FileType::Symlink {
            let target = readlinkat(top, "", Vec::new())?;
            return self.add_link(name, &meta, &target);
        }
        // A path descriptor is opened for reading by the name the kernel has for it.
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(top));
        self.add_other(name, &meta, || File::open(&own))
    }

    fn add_below(&mut self, parent: impl AsFd, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&parent, ".", flags, Mode::empty())?;
        for name in names(&directory)? {
            match self.add(&directory, &name, &path.join(&name)) {
                // A running container may remove what was just listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn add(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        let meta = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::Directory => {
                self.add_plain(path, &meta, tar::EntryType::Directory)?;
                if self.device.is_some_and(|device| device != meta.st_dev) {
                    return Ok(());
                }
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                self.add_below(openat(parent, name, flags, Mode::empty())?, path)
            }
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new())?;
                self.add_link(path, &meta, &target)
            }
            _ => self.add_other(path, &meta, || {
                // Not blocking, should a pipe have taken the file's place.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Ok(openat(parent, name, flags, Mode::empty())?.into())
            }),
        }
    }

    fn add_other(
        &mut self,
        path: &Path,
        meta: &Stat,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<()> {
        if meta.st_nlink > 1 {
            let first = self.links.entry((meta.st_dev, meta.st_ino)).or_insert_with(|| path.into());
            if first != path {
                let first = first.clone();
                let mut header = header(meta, tar::EntryType::Link);
                return self.archive.append_link(&mut header, path, first);
            }
        }
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::RegularFile => {
                let size = u64::try_from(meta.st_size).unwrap_or(0);
                let mut header = header(meta, tar::EntryType::Regular);
                header.set_size(size);
                // Exactly as long as its header says, though the container writes to it meanwhile.
                let bytes = open()?.take(size).chain(io::repeat(0)).take(size);
                self.archive.append_data(&mut header, path, bytes)
            }
            FileType::CharacterDevice => self.add_plain(path, meta, tar::EntryType::Char),
            FileType::BlockDevice => self.add_plain(path, meta, tar::EntryType::Block),
            FileType::Fifo => self.add_plain(path, meta, tar::EntryType::Fifo),
            // Archives know no sockets.
            _ => Ok(()),
        }
    }

    fn add_plain(&mut self, path: &Path, meta: &Stat, kind: tar::EntryType) -> io::Result<()> {
        let mut header = header(meta, kind);
        if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
            header.set_device_major(rustix::fs::major(meta.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(meta.st_rdev))?;
        }
        self.archive.append_data(&mut header, path, io::empty())
    }

    fn add_link(&mut self, path: &Path, meta: &Stat, target: &CString) -> io::Result<()> {
        let mut header = header(meta, tar::EntryType::Symlink);
        self.archive.append_link(&mut header, path, OsStr::from_bytes(target.to_bytes()))
    }
}

fn header(meta: &Stat, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.st_mode & 0o7777);
    header.set_uid(meta.st_uid.into());
    header.set_gid(meta.st_gid.into());
    header.set_mtime(u64::try_from(meta.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}
