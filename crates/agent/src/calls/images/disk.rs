//! Disks: taken in as images of machines, and given out.
//!
//! A disk lies in a directory of its own while it is looked at and written anew; whatever ends that,
//! the directory goes with it. Nothing is visible before the image is whole.

use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use images::{ImportKind, ImportOptions};
use link::image::{DiskImport, ImportRequest, Progress};
use link::{ByteStream, ResultStream};
use machines::disk::packed::{room_at, write_sparse};
use machines::disk::tool::DiskFile;
use machines::disk::{DiskFormat, DiskTool, unpacked};
use model::error::Context as _;
use model::image::{Image, ImageConfig, Reference};
use model::instance::FirmwareKind;
use model::{Error, ErrorKind, Result};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::{Calls, WAITING, changes, tell};
use crate::context::Context;

const PIECE: usize = 256 << 10;
/// KubeVirt's user of disks.
const OWNER: u64 = 107;
const BLOCK: u64 = 512;

/// Takes a disk in.
pub fn import(
    calls: &Calls,
    request: &ImportRequest,
    asked: DiskImport,
    disk: ByteStream,
) -> Result<ResultStream<Progress>> {
    if request.name.is_empty() {
        return Err(Error::invalid("the image has no name").at("name").next("give one by --name"));
    }
    let name = Reference::parse(&request.name).map_err(|error| error.at("name"))?;
    let format = match asked.format.as_str() {
        "" => None,
        text => Some(DiskFormat::parse(text).map_err(|error| error.at("format"))?),
    };
    let mut config = changes(&request.changes)?;
    if let Some(firmware) = asked.firmware {
        label(&mut config, firmware);
    }
    let work = Work { context: calls.context.clone(), tool: DiskTool::find()?, name, config };
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let taken = tokio::select! {
            taken = work.take_in(disk, format, &sender) => taken,
            () = sender.closed() => return,
        };
        let done = taken.map(|images| {
            for image in &images {
                let name = image.names.first().unwrap_or(&image.id);
                tell(&work.context, "import", name, &image.id);
            }
            Progress::Done { images, unchanged: false }
        });
        let _ = sender.send(done).await;
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

fn label(config: &mut ImageConfig, firmware: FirmwareKind) {
    let word = match firmware {
        FirmwareKind::Bios => "bios",
        FirmwareKind::Uefi => "uefi",
        FirmwareKind::SecureBoot => "secureBoot",
    };
    config.labels.insert(images::LABEL_FIRMWARE.to_owned(), word.to_owned());
}

struct Work {
    context: Arc<Context>,
    tool: DiskTool,
    name: Reference,
    config: ImageConfig,
}

impl Work {
    async fn take_in(
        &self,
        disk: ByteStream,
        format: Option<DiskFormat>,
        told: &mpsc::Sender<Result<Progress>>,
    ) -> Result<Vec<Image>> {
        let room = Room::new(&self.context)?;
        let title = self.name.repository.rsplit('/').next().unwrap_or("disk");
        let (source, target) =
            (room.file(title, &self.tool)?, room.file("disk.qcow2", &self.tool)?);
        let size =
            receive(disk, &source).await.map_err(|error| error.about(format!("disk {title}")))?;
        let size = model::Bytes(size);
        say(told, format!("checking {size}")).await;
        let info = self.tool.inspect(&source, format).await?;
        let source = DiskFile::alone(&source, info.format);
        self.tool.check(source).await?;
        let (kind, virtual_size) = (info.format.as_str(), model::Bytes(info.virtual_size));
        say(told, format!("writing a disk of {virtual_size} anew from {kind}")).await;
        let qcow2 = DiskFile::alone(&target, DiskFormat::Qcow2);
        self.tool.convert(source, qcow2, true, room.left()?).await?;
        fs::remove_file(source.path).context(ErrorKind::Internal, || cannot(source.path))?;
        say(told, "making the image".to_owned()).await;
        let options = ImportOptions {
            kind: ImportKind::RootFs,
            name: Some(self.name.clone()),
            config: self.config.clone(),
            comment: format!("imported from a disk, {kind}"),
            ..ImportOptions::default()
        };
        let layer = layer_of(&target, Vec::new()).await?;
        let images = self.context.images.local.import(layer, options).await;
        self.context.images.forget();
        images
    }
}

async fn say(told: &mpsc::Sender<Result<Progress>>, text: String) {
    // Whoever does not listen any more has ended this.
    let _ = told.send(Ok(Progress::Message { text })).await;
}

fn cannot(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

/// A directory for one disk's way in or out.
pub struct Room(TempDir);

impl Room {
    /// Makes one.
    pub fn new(context: &Context) -> Result<Self> {
        let place = context.places.passing();
        fs::create_dir_all(&place).context(ErrorKind::Internal, || cannot(&place))?;
        let made = tempfile::Builder::new().prefix("disk-").tempdir_in(&place);
        made.map(Self).context(ErrorKind::Internal, || cannot(&place))
    }

    /// A file, empty, that belongs to the tool's user.
    pub fn file(&self, name: &str, tool: &DiskTool) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        File::create_new(&path).context(ErrorKind::Internal, || cannot(&path))?;
        let (user, group) = tool.user();
        chown(&path, Some(user), Some(group)).context(ErrorKind::Internal, || cannot(&path))?;
        Ok(path)
    }

    /// Bytes that may still be written.
    pub fn left(&self) -> Result<u64> {
        room_at(self.0.path())
    }
}

/// Writes what comes, unpacked, to `path`; returns its size.
pub async fn receive(disk: ByteStream, path: &Path) -> Result<u64> {
    let target = File::options().write(true).open(path);
    let target = target.context(ErrorKind::Internal, || cannot(path))?;
    let reader = StreamReader::new(disk.map_err(broken_off));
    let bridge = SyncIoBridge::new(reader);
    let directory = path.parent().unwrap_or(path).to_owned();
    let work = move || {
        let (mut reader, _) = unpacked(bridge)?;
        write_sparse(&mut reader, &target, || room_at(&directory))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.context(ErrorKind::Internal, || "could not be taken in".to_owned())?
}

fn broken_off(error: Error) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, error)
}

/// A layer with the disk where KubeVirt looks for it, as a tar that is not compressed: the disk is. With
/// these files besides, by their paths.
pub async fn layer_of(
    disk: &Path,
    besides: Vec<(String, File)>,
) -> Result<impl AsyncRead + Send + Unpin + use<>> {
    let failed = || format!("{} cannot be read", disk.display());
    let mut files = vec![("disk/disk.qcow2".to_owned(), open(disk)?)];
    files.extend(besides);
    let mut whole: Box<dyn AsyncRead + Send + Unpin> =
        Box::new(Cursor::new(head("disk/", tar::EntryType::Directory, 0)?));
    for (path, file) in files {
        let size = file.metadata().context(ErrorKind::Internal, failed)?.len();
        let padding = vec![0; (size.next_multiple_of(BLOCK) - size) as usize];
        let head = Cursor::new(head(&path, tar::EntryType::Regular, size)?);
        let file = tokio::fs::File::from_std(file).take(size);
        whole = Box::new(whole.chain(head).chain(file).chain(Cursor::new(padding)));
    }
    Ok(whole.chain(Cursor::new(vec![0; 2 * BLOCK as usize])))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).context(ErrorKind::Internal, || format!("{} cannot be read", path.display()))
}

fn head(path: &str, kind: tar::EntryType, size: u64) -> Result<Vec<u8>> {
    let mode = if kind == tar::EntryType::Directory { 0o755 } else { 0o444 };
    let mut header = tar::Header::new_gnu();
    header
        .set_path(path.trim_start_matches('/'))
        .context(ErrorKind::Internal, || format!("{path:?} cannot stand in an archive"))?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(OWNER);
    header.set_gid(OWNER);
    header.set_size(size);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// Gives the disk of an image out, in the format called so; as it is when that is empty.
pub async fn export(calls: &Calls, name: &str, format: &str) -> Result<ByteStream> {
    let wanted = match format {
        "" => None,
        text => Some(DiskFormat::parse(text).map_err(|error| error.at("format"))?),
    };
    let tool = DiskTool::find()?;
    let (_, disk) = calls.context.images.local.disk(name).await?;
    let room = Room::new(&calls.context)?;
    let source = room.file("source", &tool)?;
    receive(disk, &source).await.map_err(|error| error.about(format!("the disk of {name}")))?;
    let info = tool.inspect(&source, None).await?;
    let given = match wanted.filter(|wanted| *wanted != info.format) {
        None => source,
        Some(wanted) => {
            let target = room.file("target", &tool)?;
            let from = DiskFile::alone(&source, info.format);
            let to = DiskFile::alone(&target, wanted);
            tool.convert(from, to, wanted == DiskFormat::Vmdk, room.left()?).await?;
            target
        }
    };
    let failed = || format!("{} cannot be read", given.display());
    let file = tokio::fs::File::open(&given).await.context(ErrorKind::Internal, failed)?;
    let pieces = ReaderStream::with_capacity(file, PIECE);
    let failed = |error| Error::internal("the disk cannot be read").caused_by(error);
    // The room goes when the last piece is given, or nobody wants more.
    let kept = pieces.map(move |piece| {
        let _room = &room;
        piece.map_err(failed)
    });
    Ok(kept.boxed())
}

/// Forgets what a daemon that died was at.
pub fn clear(place: &Path) {
    if let Err(error) = fs::remove_dir_all(place)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %place.display(), %error, "disks on their way stay");
    }
}
