//! Files of this machine into a tar stream.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use link::ByteStream;
use model::error::Context;
use model::{ErrorKind, Result};
use tokio::sync::mpsc;

/// Parts of the archive that wait to be sent.
const PARTS: usize = 8;
/// Bytes of a part.
const PART: usize = 256 * 1024;

/// What is packed, and how.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called in the archive; empty for the contents of a directory without itself.
    pub name: OsString,
    /// Pack what a symbolic link at `path` leads to, not the link.
    pub follow: bool,
    /// Keep users and groups; else everything is root's.
    pub owners: bool,
}

/// Packs files, in a thread of its own.
pub fn pack(source: Source) -> ByteStream {
    let (sender, mut receiver) = mpsc::channel(PARTS);
    tokio::task::spawn_blocking(move || {
        let writer = Parts { sender: sender.clone(), buffer: Vec::with_capacity(PART) };
        let packed = write(&source, writer)
            .context(ErrorKind::Unavailable, || format!("cannot read {}", source.path.display()));
        if let Err(error) = packed {
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
}

/// What is packed under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A file or a directory of this machine, without what is in it; a link as it is.
    File(PathBuf),
    /// A file that is on no disk.
    Bytes {
        /// What is in it.
        bytes: Vec<u8>,
        /// It can be run.
        program: bool,
    },
    /// A symbolic link.
    Link(PathBuf),
}

/// Packs these, everything as root's, in a thread of its own.
pub fn items(items: Vec<(PathBuf, Item)>) -> ByteStream {
    let (sender, mut receiver) = mpsc::channel(PARTS);
    tokio::task::spawn_blocking(move || {
        let writer = Parts { sender: sender.clone(), buffer: Vec::with_capacity(PART) };
        let packed = write_items(&items, writer)
            .context(ErrorKind::Unavailable, || "the context cannot be read".to_owned());
        if let Err(error) = packed {
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
}

fn write_items(items: &[(PathBuf, Item)], writer: Parts) -> io::Result<()> {
    let mut packer = Packer { builder: tar::Builder::new(writer), owners: false };
    for (name, item) in items {
        match item {
            Item::File(path) => drop(packer.add_one(path, name, false)?),
            Item::Bytes { bytes, program } => {
                let mut header = made_header(if *program { 0o755 } else { 0o644 });
                header.set_size(bytes.len() as u64);
                packer.builder.append_data(&mut header, name, bytes.as_slice())?;
            }
            Item::Link(target) => {
                let mut header = made_header(0o777);
                header.set_entry_type(tar::EntryType::Symlink);
                packer.builder.append_link(&mut header, name, target)?;
            }
        }
    }
    packer.builder.into_inner()?.end()
}

/// Of what is on no disk. Its time is always the same: a builder that looks at it finds nothing changed.
fn made_header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(0);
    header
}

fn write(source: &Source, writer: Parts) -> io::Result<()> {
    let mut packer = Packer { builder: tar::Builder::new(writer), owners: source.owners };
    packer.add(&source.path, Path::new(&source.name), source.follow)?;
    packer.builder.into_inner()?.end()
}

struct Packer {
    builder: tar::Builder<Parts>,
    owners: bool,
}

impl Packer {
    /// Adds a file, or a directory and all that is in it.
    fn add(&mut self, path: &Path, name: &Path, follow: bool) -> io::Result<()> {
        match self.add_one(path, name, follow)? {
            true => self.add_entries(path, name),
            false => Ok(()),
        }
    }

    /// Adds a file, or a directory without what is in it; whether it is one.
    fn add_one(&mut self, path: &Path, name: &Path, follow: bool) -> io::Result<bool> {
        let meta = if follow { path.metadata()? } else { path.symlink_metadata()? };
        let kind = meta.file_type();
        if kind.is_socket() {
            return Ok(false);
        }
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&meta);
        if !self.owners {
            header.set_uid(0);
            header.set_gid(0);
        }
        if kind.is_dir() {
            if !name.as_os_str().is_empty() {
                header.set_size(0);
                self.builder.append_data(&mut header, name, io::empty())?;
            }
            return Ok(true);
        }
        if kind.is_symlink() {
            header.set_size(0);
            self.builder.append_link(&mut header, name, std::fs::read_link(path)?)?;
        } else if kind.is_file() {
            // A file that grows meanwhile must not spoil the archive.
            let file = io::Read::take(std::fs::File::open(path)?, meta.len());
            self.builder.append_data(&mut header, name, file)?;
        } else {
            header.set_size(0);
            self.builder.append_data(&mut header, name, io::empty())?;
        }
        Ok(false)
    }

    fn add_entries(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut entries: Vec<OsString> = entries.collect::<io::Result<_>>()?;
        entries.sort();
        for entry in entries {
            self.add(&path.join(&entry), &name.join(&entry), false)?;
        }
        Ok(())
    }
}

/// Sends what is written in parts.
struct Parts {
    sender: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Parts {
    fn end(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART));
        if full.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(full.into())).map_err(gone)
    }
}
