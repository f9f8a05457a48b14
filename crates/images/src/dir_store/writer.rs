//! Blobs in the making: one file an ingest, renamed into place when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::error::Context;
use model::{Error, ErrorKind, Result};

use super::{Inner, Lease, Meta, disk, file_names, remove, write_json};
use crate::content::{BlobWriter, Ingest, IngestInfo, Labels, WriteRequest};
use crate::digest::{Digest, Hasher};

/// Gives the ingest's name free when its writer is gone.
struct Hold {
    inner: Arc<Inner>,
    reference: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.lock().remove(&self.reference);
    }
}

struct Writer {
    /// Shared with a write under way, which may outlast a writer that was dropped.
    hold: Arc<Hold>,
    lease: Option<String>,
    /// Away only while a piece is written.
    open: Option<OpenFile>,
    offset: u64,
}

struct OpenFile {
    file: File,
    hasher: Hasher,
}

pub(super) fn open(
    inner: Arc<Inner>,
    lease: Option<&str>,
    request: WriteRequest,
) -> Result<Ingest> {
    let path = path(&inner, &request.reference)?;
    let mut held = inner.lock();
    if let Some(digest) = &request.digest {
        if let Some(lease) = lease {
            Lease::change(&inner, lease, |lease| lease.blobs.insert(digest.clone()))?;
        }
        if inner.blob(digest).exists() {
            return Ok(Ingest::Present);
        }
    }
    if !held.insert(request.reference.clone()) {
        let why = format!("blob {} is being written by another", request.reference);
        return Err(Error::conflict(why).next("wait for it to end"));
    }
    drop(held);
    let hold = Arc::new(Hold { inner, reference: request.reference });
    let (open, offset) = OpenFile::resume(&path)?;
    let lease = lease.map(str::to_owned);
    Ok(Ingest::Open(Box::new(Writer { hold, lease, open: Some(open), offset })))
}

pub(super) fn list(inner: &Inner) -> Result<Vec<IngestInfo>> {
    let directory = inner.root.join("ingest");
    let names = file_names(&directory)?.into_iter();
    let info = |reference: String| {
        let offset = fs::metadata(directory.join(&reference)).ok()?.len();
        Some(IngestInfo { reference, offset })
    };
    Ok(names.filter_map(info).collect())
}

pub(super) fn abort(inner: &Inner, reference: &str) -> Result<()> {
    remove(&path(inner, reference)?)
}

fn path(inner: &Inner, reference: &str) -> Result<PathBuf> {
    check_name(reference)?;
    Ok(inner.root.join("ingest").join(reference))
}

/// Names become file names: no `/`, no leading dot.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.:".contains(&c);
    if (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name:?} cannot name an ingest or a lease")))
}

impl OpenFile {
    /// Opens the file and hashes what is in it already.
    fn resume(path: &PathBuf) -> Result<(Self, u64)> {
        let resume = || -> std::io::Result<(Self, u64)> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let (mut hasher, mut offset) = (Hasher::new(), 0);
            let mut buffer = vec![0; 256 << 10];
            loop {
                let length = file.read(&mut buffer)?;
                if length == 0 {
                    return Ok((Self { file, hasher }, offset));
                }
                hasher.update(&buffer[..length]);
                offset += length as u64;
            }
        };
        resume().map_err(|error| disk(path, error))
    }

    fn append(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.file.write_all(data)?;
        self.hasher.update(data);
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::new();
        Ok(())
    }
}

impl Writer {
    async fn with_file(
        &mut self,
        work: impl FnOnce(&mut OpenFile) -> std::io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let lost = || Error::internal("the ingest's file was lost in a failed write");
        let mut open = self.open.take().ok_or_else(lost)?;
        let hold = self.hold.clone();
        let (open, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = work(&mut open);
            drop(hold);
            (open, outcome)
        })
        .await
        .context(ErrorKind::Internal, || "a task of the image directory died".to_owned())?;
        self.open = Some(open);
        outcome.map_err(|error| disk(&self.hold.inner.root, error))
    }
}

#[async_trait]
impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn append(&mut self, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        self.with_file(move |open| open.append(&data)).await?;
        self.offset += length;
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.with_file(OpenFile::restart).await?;
        self.offset = 0;
        Ok(())
    }

    async fn commit(self: Box<Self>, size: u64, digest: &Digest, labels: Labels) -> Result<()> {
        let digest = digest.clone();
        tokio::task::spawn_blocking(move || commit(*self, size, &digest, labels))
            .await
            .context(ErrorKind::Internal, || "a task of the image directory died".to_owned())?
    }
}

/// Labels first, then the rename that makes the blob visible: it is never seen without them.
fn commit(writer: Writer, size: u64, digest: &Digest, labels: Labels) -> Result<()> {
    let Writer { hold, lease, open, offset } = writer;
    let inner = &hold.inner;
    let path = path(inner, &hold.reference)?;
    let Some(OpenFile { file, hasher }) = open else {
        return Err(Error::internal("the ingest's file was lost in a failed write"));
    };
    let found = hasher.finish();
    if offset != size || found != *digest {
        remove(&path)?;
        return Err(Error::invalid(format!(
            "{offset} bytes with digest {found} were written where {size} with {digest} were expected"
        )));
    }
    file.sync_all().map_err(|error| disk(&path, error))?;
    let _held = inner.lock();
    if let Some(lease) = &lease
        && let Err(ended) = Lease::change(inner, lease, |lease| lease.blobs.insert(digest.clone()))
    {
        // Nobody waits for it any more.
        remove(&path)?;
        return Err(ended);
    }
    if let Some(mut info) = inner.info(digest)? {
        info.labels.extend(labels);
        write_json(&inner.meta(digest), &Meta { labels: info.labels })?;
        return remove(&path);
    }
    write_json(&inner.meta(digest), &Meta { labels })?;
    let placed = fs::rename(&path, inner.blob(digest))
        .and_then(|()| File::open(inner.root.join("blobs/sha256"))?.sync_all());
    placed.map_err(|error| {
        // As when the ingest was aborted in between. The first error is the one to be told.
        let _ = remove(&inner.meta(digest));
        disk(&path, error)
    })
    // `_held` goes before `hold`, which takes the same lock.
}
