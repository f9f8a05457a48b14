//! Files in and out of a container.
//!
//! What goes out is read by a thread whose root directory is the container's (chroot(2) after unshare(2) of the
//! file-system context), and what comes in is written by paths that the kernel resolves inside it: no link, however it
//! is swapped meanwhile, leads to a file of the host (CVE-2018-15664 was that race).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use containers::rootfs::{FileKind, Rootfs, UnpackOptions};
use futures::{StreamExt, TryStreamExt};
use link::ByteStream;
use link::instance::{PathStat, Target};
use model::error::Code;
use model::error::Context as _;
use model::instance::ContainerSpec;
use model::{Error, ErrorKind, Result, Time};
use nix::sched::CloneFlags;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Calls, Found};

const CHUNKS: usize = 16;
const CHUNK: usize = 256 * 1024;
/// What may follow the end of an archive, bytes. GNU tar fills up records of 10 KiB, of 1 MiB when asked.
const LARGEST_PADDING: u64 = 1024 * 1024;
/// What is still taken of an archive that was refused, bytes, and how long for.
const LARGEST_REST: usize = 256 * 1024;
const FAREWELL: Duration = Duration::from_secs(2);

/// What is at a path inside.
pub async fn stat_path(calls: &Calls, target: &Target, path: &str) -> Result<PathStat> {
    let root = root(calls, target).await?;
    let path = inner(path)?;
    inside(root, move || stat(&path)).await?
}

/// What is at a path inside, as a tar archive.
pub async fn read_archive(
    calls: &Calls,
    target: &Target,
    path: &str,
) -> Result<(PathStat, ByteStream)> {
    let root = root(calls, target).await?;
    let wanted = inner(path)?;
    let at = wanted.clone();
    let about = inside(root.clone(), move || stat(&at)).await??;
    let name = OsString::from(&about.name);
    Ok((about, pack_in_thread(root, wanted, name, false)))
}

/// The whole file system without what is mounted in it.
pub async fn export(calls: &Calls, target: &Target) -> Result<ByteStream> {
    let root = root(calls, target).await?;
    Ok(pack_in_thread(root, PathBuf::from("/"), OsString::new(), true))
}

/// Unpacks an archive into a directory inside.
pub async fn write_archive(
    calls: &Calls,
    target: &Target,
    path: &str,
    keep_type: bool,
    archive: ByteStream,
) -> Result<()> {
    let (root, container) = made(calls, target).await?;
    let path = inner(path)?;
    let wanted = path.clone();
    let real = inside(root.clone(), move || std::fs::canonicalize(&wanted)).await?;
    let real = real.map_err(|error| missing(&path, error));
    if let Err(error) = real.and_then(|real| writable(&container, &real)) {
        let _ = tokio::time::timeout(FAREWELL, hear_out(archive)).await;
        return Err(error);
    }
    let path = path.to_string_lossy().into_owned();
    let mut archive = plain(archive).await?;
    let (chunks, receiver) = mpsc::channel::<Result<Bytes>>(CHUNKS);
    let (done, outcome) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = done.send(unpack(&root, &path, keep_type, receiver));
    });
    while let Some(chunk) = archive.next().await {
        if chunks.send(chunk).await.is_err() {
            let _ = tokio::time::timeout(FAREWELL, hear_out(archive)).await;
            break;
        }
    }
    drop(chunks);
    outcome.await.context(ErrorKind::Internal, || "the unpacking thread died".into())?
}

/// The archive unpacked, if it came compressed; else as it came, without a copy.
async fn plain(mut archive: ByteStream) -> Result<ByteStream> {
    let Some(first) = archive.next().await.transpose()? else { return Ok(archive) };
    let compressed = images::is_compressed(&first);
    let whole = futures::stream::iter([Ok(first)]).chain(archive).boxed();
    if !compressed {
        return Ok(whole);
    }
    let reader = StreamReader::new(whole.map_err(io::Error::other));
    let reader = images::decompressed(reader).await?;
    let damaged = |error| Error::invalid("the archive is damaged or cut off").caused_by(error);
    Ok(ReaderStream::with_capacity(reader, CHUNK).map_err(damaged).boxed())
}

/// Takes what is left of an archive that was refused: a client that still sends would see a broken connection and not
/// what was refused. A long one is broken off.
async fn hear_out(mut archive: ByteStream) {
    let mut left = LARGEST_REST;
    while let Some(Ok(chunk)) = archive.next().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            break;
        }
    }
}

async fn root(calls: &Calls, target: &Target) -> Result<Rootfs> {
    made(calls, target).await.map(|(root, _)| root)
}

/// A container's files, made if it has never run, and what was asked of it.
async fn made(calls: &Calls, target: &Target) -> Result<(Rootfs, ContainerSpec)> {
    let found = calls.find(target)?;
    has_files(calls, &found).await?;
    let found = calls.find_made(target).await?;
    // Its image may have come only now.
    has_files(calls, &found).await?;
    Ok((calls.context.engine.rootfs(&found.id).await?, found.container))
}

/// Refuses what can only be read: a mount that is so, or a root. `real` has no links and no `..` in it.
fn writable(container: &ContainerSpec, real: &Path) -> Result<()> {
    let over = container.mounts.iter().filter(|mount| real.starts_with(&mount.target));
    match over.max_by_key(|mount| Path::new(&mount.target).components().count()) {
        Some(mount) if mount.read_only => {
            Err(Error::invalid(format!("what is mounted at {} can only be read", mount.target))
                .coded(Code::VolumeReadOnly))
        }
        None if container.read_only => {
            Err(Error::invalid("the container's root can only be read").coded(Code::RootReadOnly))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses the files of a machine that has not run: those of its walls are not its own.
async fn has_files(calls: &Calls, found: &Found) -> Result<()> {
    let image = calls.context.images.local.find(&found.container.image).await?;
    if !found.is_machine() && image.is_none_or(|image| image.machine.is_none()) {
        return Ok(());
    }
    let name = &found.instance.meta.name;
    Err(Error::conflict(format!("machine {name:?} is not running: its files are on its disk"))
        .next(format!("hull start {name}")))
}

fn inner(path: &str) -> Result<PathBuf> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(format!("{path:?} is not a path")).at("path"));
    }
    Ok(Path::new("/").join(path))
}

/// Runs `work` in a thread of its own whose root is the container's.
async fn inside<T: Send + 'static>(
    root: Rootfs,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, outcome) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = done.send(confine(&root).map(|()| work()));
    });
    outcome.await.context(ErrorKind::Internal, || "a thread inside the container died".into())?
}

/// Makes the container's root this thread's root. The thread must end after its work.
fn confine(root: &Rootfs) -> Result<()> {
    let enter = || -> nix::Result<()> {
        nix::sched::unshare(CloneFlags::CLONE_FS)?;
        nix::unistd::fchdir(root.as_fd())?;
        nix::unistd::chroot(".")?;
        nix::unistd::chdir("/")
    };
    enter().context(ErrorKind::Internal, || "cannot enter the container's file system".into())
}

fn stat(path: &Path) -> Result<PathStat> {
    let meta = std::fs::symlink_metadata(path).map_err(|error| missing(path, error))?;
    let link = if meta.is_symlink() { std::fs::read_link(path).ok() } else { None };
    let nanos = i32::try_from(meta.mtime_nsec()).unwrap_or(0);
    Ok(PathStat {
        name: base_name(path),
        size: meta.len(),
        mode: meta.mode(),
        modified: Some(Time::from_unix(meta.mtime(), nanos)),
        link_target: link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default(),
    })
}

/// The last part of a path, as the writer of the path meant it: of `/etc/.` that is `.`, which stands for what is
/// in the directory.
fn base_name(path: &Path) -> String {
    if path.as_os_str().as_bytes().ends_with(b"/.") {
        return ".".into();
    }
    path.file_name().map_or("/".into(), |name| name.to_string_lossy().into_owned())
}

fn missing(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{} cannot be read in the container", path.display())).caused_by(error)
}

fn pack_in_thread(root: Rootfs, path: PathBuf, name: OsString, one_device: bool) -> ByteStream {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    std::thread::spawn(move || {
        let packed = confine(&root).and_then(|()| {
            let writer = ChunkWriter { sender: sender.clone(), buffer: Vec::with_capacity(CHUNK) };
            pack(&path, &name, one_device, writer).map_err(|error| missing(&path, error))
        });
        if let Err(error) = packed {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

/// Packs what is at `path` under `name`; with `one_device` without what is mounted below.
fn pack(path: &Path, name: &OsString, one_device: bool, writer: ChunkWriter) -> io::Result<()> {
    let mut builder = tar::Builder::new(writer);
    builder.follow_symlinks(false);
    let device = one_device.then(|| std::fs::symlink_metadata(path).map(|meta| meta.dev()));
    pack_one(&mut builder, path, Path::new(name), device.transpose()?)?;
    builder.into_inner()?.finish()
}

fn pack_one(
    builder: &mut tar::Builder<ChunkWriter>,
    path: &Path,
    name: &Path,
    device: Option<u64>,
) -> io::Result<()> {
    let meta = match std::fs::symlink_metadata(path) {
        // A file that went meanwhile is no failure of the archive.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let kind = meta.file_type();
    if kind.is_socket() {
        // Sockets have no place in a tar archive.
        return Ok(());
    }
    let root = name.as_os_str().is_empty();
    if !kind.is_dir() {
        keep_dot(builder, name, "")?;
        return match builder.append_path_with_name(path, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
    }
    if !root {
        keep_dot(builder, name, "/")?;
        let mut name = name.as_os_str().to_owned();
        name.push("/");
        builder.append_dir(name, path)?;
    }
    if device.is_some_and(|device| device != meta.dev()) {
        return Ok(());
    }
    let mut entries: Vec<OsString> =
        std::fs::read_dir(path)?.flatten().map(|entry| entry.file_name()).collect();
    entries.sort();
    for entry in entries {
        pack_one(builder, &path.join(&entry), &name.join(&entry), device)?;
    }
    Ok(())
}

/// A name in `.` keeps the dot, by which clients know what to rename: the writer would leave it out of the header, so
/// it is said in an extended one (POSIX.1-2001, pax, "path") before that.
fn keep_dot(builder: &mut tar::Builder<ChunkWriter>, name: &Path, end: &str) -> io::Result<()> {
    let bytes = name.as_os_str().as_bytes();
    if bytes != b"." && !bytes.starts_with(b"./") {
        return Ok(());
    }
    let rest = [b" path=", bytes, end.as_bytes(), b"\n"].concat();
    // A record begins with its own length, in which the digits of that length count.
    let length = (1..)
        .map(|digits| rest.len() + digits)
        .find(|sum| sum.to_string().len() + rest.len() == *sum);
    let record = [length.unwrap_or_default().to_string().as_bytes(), &rest].concat();
    let mut header = tar::Header::new_ustar();
    header.set_path("path")?;
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_mode(0o644);
    header.set_size(record.len() as u64);
    header.set_cksum();
    builder.append(&header, record.as_slice())
}

/// Unpacks into the directory `path`, which must exist.
fn unpack(
    root: &Rootfs,
    path: &str,
    keep_kinds: bool,
    chunks: mpsc::Receiver<Result<Bytes>>,
) -> Result<()> {
    if root.stat(path)?.kind != FileKind::Directory {
        return Err(Error::invalid(format!("{path} is not a directory")).at("path"));
    }
    let mut reader = ChunkReader { chunks, rest: Bytes::new() };
    let options = UnpackOptions { keep_kinds, keep_owners: true, ..UnpackOptions::default() };
    root.unpack(path, &options, &mut reader)?;
    // An archive is filled up with zeros. Who sends them must not find the door closed meanwhile.
    io::copy(&mut reader.take(LARGEST_PADDING), &mut io::sink())
        .map(drop)
        .context(ErrorKind::Invalid, || "the archive breaks off after its end".into())
}

struct ChunkWriter {
    sender: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct ChunkReader {
    chunks: mpsc::Receiver<Result<Bytes>>,
    rest: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path, name: &str) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(CHUNKS);
        let writer = ChunkWriter { sender, buffer: Vec::new() };
        pack(path, &name.into(), false, writer).unwrap();
        let mut bytes = Vec::new();
        while let Ok(chunk) = receiver.try_recv() {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let name = |entry: tar::Entry<'_, &[u8]>| {
            String::from_utf8_lossy(&entry.path_bytes()).into_owned()
        };
        archive.entries().unwrap().map(|entry| name(entry.unwrap())).collect()
    }

    #[test]
    fn entries_are_named_after_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(120);
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for file in ["file", ".hidden", "sub/deep", &long] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        let given = ["d/", "d/.hidden", "d/file", "d/sub/", "d/sub/deep", &format!("d/{long}")];
        assert_eq!(names(dir.path(), "d"), given);
        assert_eq!(names(dir.path(), "."), given.map(|name| name.replacen('d', ".", 1)));
        assert_eq!(
            names(dir.path(), ""),
            given[1..].iter().map(|name| &name[2..]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_can_only_be_read() {
        use model::instance::{Mount, MountKind};
        let mount = |target: &str, read_only| Mount {
            kind: MountKind::Tmpfs { size: None, mode: None, options: Vec::new() },
            target: target.into(),
            read_only,
            disk: None,
        };
        let mounts = vec![mount("/data", false), mount("/data/fixed", true), mount("/fix/", true)];
        let closed = ContainerSpec { read_only: true, mounts, ..ContainerSpec::default() };
        let open = ContainerSpec { read_only: false, ..closed.clone() };
        for (path, of_closed, of_open) in [
            ("/etc", Some(Code::RootReadOnly), None),
            ("/data", None, None),
            ("/data/x", None, None),
            ("/database", Some(Code::RootReadOnly), None),
            ("/data/fixed/x", Some(Code::VolumeReadOnly), Some(Code::VolumeReadOnly)),
            ("/fix", Some(Code::VolumeReadOnly), Some(Code::VolumeReadOnly)),
        ] {
            let code =
                |of: &ContainerSpec| writable(of, Path::new(path)).err().and_then(|it| it.code());
            assert_eq!((code(&closed), code(&open)), (of_closed, of_open), "{path}");
        }
    }

    #[test]
    fn last_parts_of_paths() {
        for (path, name) in
            [("/etc/passwd", "passwd"), ("/etc/.", "."), ("/etc/", "etc"), ("/", "/"), ("/.", ".")]
        {
            assert_eq!(base_name(Path::new(path)), name, "{path}");
        }
    }
}
