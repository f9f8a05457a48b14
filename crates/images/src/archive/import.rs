//! Taking in a stream: all of it, or nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use model::image::{Image, Reference};
use model::{Error, ErrorKind, Result, Time};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader, ReadBuf};

use super::assemble::{Assembled, Assembler};
use super::budget::Budget;
use super::compression::{Compression, MAGIC_LENGTH};
use super::contents::Contents;
use super::intake::Intake;
use super::sniff::{PREFIX, sniff};
use super::tar::{Ending, Event, Scanner};
use super::{ImportKind, ImportOptions, rootfs};
use crate::content::{ContentStore, Labels, reference_labels};
use crate::failure;
use crate::limits::Limits;
use crate::local::{Images, put_small};
use crate::platform::Platform;

/// An import that dies is forgotten after this time.
const KEEP: Duration = Duration::from_secs(3600);
const BUFFER: usize = 256 << 10;

/// Imports `source` into the store of `images`.
pub(crate) async fn import(
    images: &Images,
    mut source: impl AsyncRead + Send + Unpin,
    options: ImportOptions,
) -> Result<Vec<Image>> {
    let mut prefix = Vec::with_capacity(PREFIX);
    let read = (&mut source).take(PREFIX as u64).read_to_end(&mut prefix).await;
    read.map_err(unreadable)?;
    let kind = match options.kind {
        ImportKind::Auto => sniff(&prefix)?,
        kind => kind,
    };
    let compression = Compression::sniff(&prefix)?;
    let source = std::io::Cursor::new(prefix).chain(source);
    let import = Import::begin(images, options).await?;
    let outcome = match kind {
        ImportKind::RootFs => rootfs::take_in(&import, source).await,
        ImportKind::Archive | ImportKind::Auto => import.archive(source, compression).await,
    };
    import.end(outcome).await
}

/// One import under its lease.
pub(super) struct Import<'a> {
    pub images: &'a Images,
    pub options: ImportOptions,
    pub platform: Platform,
    /// Names the lease and its ingests.
    pub id: String,
    pub leased: Arc<dyn ContentStore>,
}

impl<'a> Import<'a> {
    pub async fn begin(images: &'a Images, options: ImportOptions) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = Time::now().0.as_microsecond();
        let id = format!("hull-import-{}-{count}-{now}", std::process::id());
        let leased = images.store.lease(&id, KEEP).await?;
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        Ok(Self { images, options, platform, id, leased })
    }

    pub fn limits(&self) -> &Limits {
        &self.images.limits
    }

    /// Stores what was assembled, or clears away what was written.
    pub async fn end(self, outcome: Result<Vec<Assembled>>) -> Result<Vec<Image>> {
        let outcome = match outcome {
            Ok(assembled) => self.store(&assembled).await,
            Err(error) => Err(error),
        };
        let store = &self.images.store;
        store.release(&self.id).await?;
        // Also after success: members that no image uses go.
        store.collect().await?;
        outcome.map_err(|error| match error.kind() {
            ErrorKind::Invalid | ErrorKind::Unsupported => {
                failure::about("the archive is refused", error)
            }
            _ => failure::about("import", error),
        })
    }

    async fn archive(
        &self,
        source: impl AsyncRead + Send + Unpin,
        compression: Compression,
    ) -> Result<Vec<Assembled>> {
        let mut intake = Intake::new(&*self.leased, self.limits(), &self.id);
        let read = read_members(source, compression, &mut intake, self.limits()).await;
        self.conclude(intake, read).await
    }

    /// All members were read, or not.
    pub async fn conclude(
        &self,
        mut intake: Intake<'_>,
        read: Result<()>,
    ) -> Result<Vec<Assembled>> {
        let contents = match read {
            Ok(()) => intake.finish().await,
            Err(error) => Err(error),
        };
        match contents {
            Ok(contents) => self.assemble(&contents),
            Err(error) => {
                intake.abort().await;
                Err(error)
            }
        }
    }

    fn assemble(&self, contents: &Contents) -> Result<Vec<Assembled>> {
        let (limits, platform, options) = (self.limits(), &self.platform, &self.options);
        Assembler { contents, limits, platform, options }.run()
    }

    /// Documents, then unpacked layers, then names: an image is seen when it can be run.
    async fn store(&self, all: &[Assembled]) -> Result<Vec<Image>> {
        let store = &*self.leased;
        for image in all {
            for (digest, data, document) in &image.documents {
                let children = document.iter().flat_map(|document| document.child_digests());
                put_small(store, digest, data.clone(), reference_labels(children)).await?;
            }
            let mut chain = None;
            for layer in &image.layers {
                chain = Some(store.unpack(chain.as_ref(), layer).await?);
            }
            if let Some(top) = chain {
                store.bind_unpacked(&image.config, &top).await?;
            }
        }
        let mut shown = Vec::with_capacity(all.len());
        for image in all {
            let names = self.put_names(image).await?;
            let known = self.images.show(image.target.digest.as_str()).await?;
            shown.push(Image { names, ..known });
        }
        Ok(shown)
    }

    /// The bare digest is a name too: it keeps the image when a tag moves on. Returns the names that
    /// people use.
    async fn put_names(&self, image: &Assembled) -> Result<Vec<String>> {
        let store = &self.images.store;
        store.put_image(image.target.digest.as_str(), &image.target, Labels::new()).await?;
        let full = |name: &Reference| {
            format!("{}:{}", name.name(), name.tag.as_deref().unwrap_or("latest"))
        };
        let names: Vec<String> = image.names.iter().map(full).collect();
        for name in &names {
            store.put_image(name, &image.target, Labels::new()).await?;
        }
        Ok(names)
    }
}

/// Feeds all members of the outer tar to `intake`.
async fn read_members(
    source: impl AsyncRead + Send + Unpin,
    compression: Compression,
    intake: &mut Intake<'_>,
    limits: &Limits,
) -> Result<()> {
    let packed = Arc::new(AtomicU64::new(0));
    let source = BufReader::new(Counted { source, count: packed.clone() });
    let mut reader = unpacked(source, compression);
    let (mut scanner, mut budget) = (Scanner::new(), Budget::new(limits));
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = reader.read(&mut buffer).await.map_err(unreadable)?;
        if length == 0 {
            break;
        }
        budget.unpacked(length as u64, packed.load(Ordering::Relaxed))?;
        let mut data = &buffer[..length];
        while let Some(event) = scanner.next(&mut data).map_err(no_tar)? {
            match event {
                Event::Entry(entry) => {
                    budget.entry(entry.unpacked)?;
                    intake.entry(&entry).await?;
                }
                Event::Data(data) => intake.data(Bytes::copy_from_slice(data)).await?,
            }
        }
    }
    match scanner.finish().map_err(no_tar)? {
        Ending::Marked => Ok(()),
        Ending::Bare => Err(Error::invalid("it is cut off")),
    }
}

/// Whether an archive that begins so is compressed, by whatever.
pub fn is_compressed(start: &[u8]) -> bool {
    !matches!(Compression::sniff(start), Ok(Compression::None))
}

/// What `source` unpacks to, if it is compressed; told by its beginning.
///
/// # Errors
/// `Unsupported` for a compression that is not known.
pub async fn decompressed(
    mut source: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
    let mut start = Vec::with_capacity(MAGIC_LENGTH);
    let read = (&mut source).take(MAGIC_LENGTH as u64).read_to_end(&mut start).await;
    read.map_err(unreadable)?;
    let compression = Compression::sniff(&start)?;
    Ok(unpacked(BufReader::new(std::io::Cursor::new(start).chain(source)), compression))
}

/// What `source` unpacks to.
pub(crate) fn unpacked<'a>(
    source: BufReader<impl AsyncRead + Send + Unpin + 'a>,
    compression: Compression,
) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
    match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(source);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(source);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    }
}

fn no_tar(fault: super::tar::Fault) -> Error {
    Error::invalid(format!("it is not a sound tar: {fault}"))
}

/// Damaged data, or a source that failed.
pub(super) fn unreadable(error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::InvalidData | Io::UnexpectedEof | Io::InvalidInput | Io::Other => {
            Error::invalid("it is damaged or cut off").caused_by(error)
        }
        _ => Error::unavailable("the archive cannot be read").caused_by(error),
    }
}

/// Counts what is read.
struct Counted<R> {
    source: R,
    count: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.source).poll_read(context, buffer);
        let read = (buffer.filled().len() - before) as u64;
        self.count.fetch_add(read, Ordering::Relaxed);
        polled
    }
}
