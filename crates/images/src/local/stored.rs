//! Small documents in the store.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use model::{Error, ErrorKind, Result};

use crate::content::{ContentStore, Ingest, Labels, WriteRequest, reference_labels};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::manifest::Document;

/// The waits for an ingest double up to this: some ten seconds in all.
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// The bytes of a small blob; `None` if it is not here.
pub(crate) async fn read_small(
    store: &dyn ContentStore,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Option<Bytes>> {
    let Some(info) = store.info(&descriptor.digest).await? else { return Ok(None) };
    if info.size > limit {
        let short = descriptor.digest.short();
        return Err(Error::invalid(format!("document {short} has {} bytes: too many", info.size)));
    }
    let mut stream = store.reader(&descriptor.digest, None).await?;
    let mut data = BytesMut::with_capacity(info.size as usize);
    while let Some(piece) = stream.try_next().await? {
        data.extend_from_slice(&piece);
    }
    Ok(Some(data.freeze()))
}

/// Opens an ingest. One that another writes is waited for: two pulls may share a document, and a
/// store may learn late that a writer is gone.
pub(crate) async fn open_ingest(
    store: &dyn ContentStore,
    request: &WriteRequest,
) -> Result<Ingest> {
    let mut wait = Duration::from_millis(5);
    loop {
        match store.writer(request).await {
            Err(error) if error.kind() == ErrorKind::Conflict && wait < LONGEST_WAIT => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            opened => return opened,
        }
    }
}

/// Puts a small blob, if it is not here.
pub(crate) async fn put_small(
    store: &dyn ContentStore,
    digest: &Digest,
    data: Bytes,
    labels: Labels,
) -> Result<()> {
    let size = data.len() as u64;
    let request = WriteRequest {
        reference: format!("hull-{}", digest.hex()),
        size: Some(size),
        digest: Some(digest.clone()),
    };
    let mut writer = match open_ingest(store, &request).await? {
        Ingest::Open(writer) => writer,
        Ingest::Present if labels.is_empty() => return Ok(()),
        Ingest::Present => return store.set_labels(digest, labels).await,
    };
    if writer.offset() > 0 {
        writer.restart().await?;
    }
    writer.append(data).await?;
    writer.commit(size, digest, labels).await
}

/// Puts a manifest or index, which keeps what it is made of.
pub(crate) async fn put_document(
    store: &dyn ContentStore,
    digest: &Digest,
    data: Bytes,
    document: &Document,
) -> Result<()> {
    put_small(store, digest, data, reference_labels(document.child_digests())).await
}
