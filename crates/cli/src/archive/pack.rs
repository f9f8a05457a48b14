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
    fn add(&mut self, path: &Path, name: &Path, follow: bool) -> io::Result<()> {
        let meta = if follow { path.metadata()? } else { path.symlink_metadata()? };
        let kind = meta.file_type();
        if kind.is_socket() {
            return Ok(());
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
            return self.add_entries(path, name);
        }
        if kind.is_symlink() {
            header.set_size(0);
            return self.builder.append_link(&mut header, name, std::fs::read_link(path)?);
        }
        if kind.is_file() {
            // A file that grows meanwhile must not spoil the archive.
            let file = io::Read::take(std::fs::File::open(path)?, meta.len());
            return self.builder.append_data(&mut header, name, file);
        }
        header.set_size(0);
        self.builder.append_data(&mut header, name, io::empty())
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
