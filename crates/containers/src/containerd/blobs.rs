//! Content: blobs named by their digests. Half-written ones are kept under a name of their own and
//! can be gone on with.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use containerd_client::services::v1::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{Error, ErrorKind, Result, Time};
use prost_types::FieldMask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::leases::Lease;
use super::status::{self, Explain, gone};
use super::{Containerd, QUICK, SLOW, call, unbounded, wire};

/// Bytes sent in one message; containerd takes up to 16 MiB.
const PIECE: usize = 1 << 20;

/// Longest pause in waiting for containerd to close an ingest; twice that in all.
const CLOSING: Duration = Duration::from_secs(2);

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name: `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Labels; `containerd.io/gc.ref.…` ones keep what they name.
    pub labels: BTreeMap<String, String>,
    /// When it came.
    pub created: Option<Time>,
}

/// A blob on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// The name it is written under.
    pub name: String,
    /// Bytes that are there.
    pub offset: u64,
    /// Bytes it will have, if that was said.
    pub total: u64,
    /// When something last came.
    pub updated: Option<Time>,
}

impl Containerd {
    /// What is known of a blob; `None` when it is not there.
    pub async fn blob(&self, digest: &str) -> Result<Option<Blob>> {
        let request = call(InfoRequest { digest: digest.to_owned() }, QUICK);
        let found = gone(self.client().content().info(request).await)
            .explain(|| format!("blob {digest} cannot be looked up"))?;
        Ok(found.and_then(|answer| answer.into_inner().info).map(blob))
    }

    /// All blobs.
    pub async fn blobs(&self) -> Result<Vec<Blob>> {
        let failed = || "the blobs cannot be listed".to_owned();
        let request = call(ListContentRequest { filters: Vec::new() }, SLOW);
        let answer = self.client().content().list(request).await.explain(failed)?;
        let mut stream = answer.into_inner();
        let mut all = Vec::new();
        while let Some(some) = stream.message().await.explain(failed)? {
            all.extend(some.info.into_iter().map(blob));
        }
        Ok(all)
    }

    /// Removes a blob; one that is gone is removed.
    pub async fn delete_blob(&self, digest: &str) -> Result<()> {
        let request = call(DeleteContentRequest { digest: digest.to_owned() }, QUICK);
        gone(self.client().content().delete(request).await)
            .explain(|| format!("blob {digest} cannot be removed"))
            .map(drop)
    }

    /// Sets labels of a blob; an empty value takes one away. Others stay.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    pub async fn label_blob(
        &self,
        digest: &str,
        labels: impl IntoIterator<Item = (String, String)> + Send,
    ) -> Result<()> {
        let labels: HashMap<String, String> = labels.into_iter().collect();
        let paths = labels.keys().map(|name| format!("labels.{name}")).collect();
        let info = Info { digest: digest.to_owned(), labels, ..Info::default() };
        let request = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        let answer = self.client().content().update(call(request, QUICK)).await;
        answer.explain(|| format!("blob {digest} cannot be labelled")).map(drop)
    }

    /// The bytes of a blob from `offset`, in pieces; `size` of them, or all for 0.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    pub async fn read_blob(
        &self,
        digest: &str,
        offset: u64,
        size: u64,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let request = ReadContentRequest {
            digest: digest.to_owned(),
            offset: number(offset),
            size: number(size),
        };
        let what = format!("blob {digest} cannot be read");
        let answer = self.client().content().read(unbounded(request)).await;
        let stream = answer.explain(|| what.clone())?.into_inner();
        let pieces = stream
            .map_ok(|piece| Bytes::from(piece.data))
            .map_err(move |status| status::error(status, what.clone()));
        Ok(pieces.boxed())
    }

    /// All bytes of a blob, if there are at most `most`.
    ///
    /// # Errors
    /// `Exhausted` when it is larger.
    pub async fn read_whole_blob(&self, digest: &str, most: u64) -> Result<Vec<u8>> {
        let mut pieces = self.read_blob(digest, 0, 0).await?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece?);
            if all.len() as u64 > most {
                return Err(Error::exhausted(format!("blob {digest} has more than {most} bytes")));
            }
        }
        Ok(all)
    }

    /// Begins to write a blob under `name`, or goes on where the last writer of that name stopped:
    /// see [`BlobWriter::offset`]. `total` is 0 and `digest` empty if they are not known yet.
    ///
    /// # Errors
    /// `Exists` when the blob is there; `Unavailable` when another writes under that name now.
    pub async fn write_blob(
        &self,
        name: &str,
        total: u64,
        digest: &str,
        lease: Option<&Lease>,
    ) -> Result<BlobWriter> {
        let what =
            format!("blob {} cannot be written", if digest.is_empty() { name } else { digest });
        let (sender, receiver) = mpsc::channel(2);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: name.to_owned(),
            total: i64::try_from(total).unwrap_or(i64::MAX),
            expected: digest.to_owned(),
            ..WriteContentRequest::default()
        };
        // A channel just made has room for it.
        let _ = sender.send(first).await;
        let request = Lease::over(lease, unbounded(ReceiverStream::new(receiver)))
            .explain(|| what.clone())?;
        let answer = self.client().content().write(request).await.explain(|| what.clone())?;
        let mut writer = BlobWriter {
            name: name.to_owned(),
            what,
            sender,
            answers: answer.into_inner(),
            offset: 0,
            pending: Vec::new(),
        };
        let start = writer.answer().await?;
        writer.offset = u64::try_from(start.offset).unwrap_or(0);
        Ok(writer)
    }

    /// Writes a small blob at once; one that is there is written.
    pub async fn put_blob(
        &self,
        digest: &str,
        bytes: &[u8],
        labels: BTreeMap<String, String>,
        lease: Option<&Lease>,
    ) -> Result<()> {
        let total = bytes.len() as u64;
        let put = async {
            let mut writer =
                self.write_blob(&format!("put-{digest}"), total, digest, lease).await?;
            if writer.offset() > 0 {
                writer.restart().await?;
            }
            writer.write(bytes).await?;
            writer.commit(total, digest, labels.clone()).await
        };
        match put.await {
            // Labels must be there all the same: others may have written it for themselves.
            Err(error) if error.kind() == ErrorKind::Exists => {
                self.label_blob(digest, labels).await
            }
            other => other,
        }
    }

    /// Blobs on their way, or given up.
    pub async fn ingests(&self) -> Result<Vec<Ingest>> {
        let request = call(ListStatusesRequest { filters: Vec::new() }, QUICK);
        let answer = self.client().content().list_statuses(request).await;
        let statuses = answer.explain(|| "half-written blobs cannot be listed".to_owned())?;
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(statuses
            .into_inner()
            .statuses
            .into_iter()
            .map(|status| Ingest {
                name: status.r#ref,
                offset: number(status.offset),
                total: number(status.total),
                updated: wire::time(status.updated_at),
            })
            .collect())
    }

    /// Throws away what was written under a name. A writer of that name must be dropped before.
    pub async fn abort_ingest(&self, name: &str) -> Result<()> {
        let mut wait = Duration::from_millis(5);
        loop {
            let request = call(AbortRequest { r#ref: name.to_owned() }, QUICK);
            match gone(self.client().content().abort(request).await) {
                // containerd learns late that a writer is gone, and notes the time of its end
                // beside what is being removed.
                Err(status) if status.code() == Code::Unknown && wait < CLOSING => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                outcome => {
                    let failed = || format!("half-written blob {name} cannot be thrown away");
                    return outcome.explain(failed).map(drop);
                }
            }
        }
    }
}

fn blob(info: Info) -> Blob {
    Blob {
        digest: info.digest,
        size: u64::try_from(info.size).unwrap_or(0),
        labels: info.labels.into_iter().collect(),
        created: wire::time(info.created_at),
    }
}

/// Writes one blob. Dropped before [`BlobWriter::commit`], what was written stays to be gone on
/// with.
#[derive(Debug)]
pub struct BlobWriter {
    name: String,
    what: String,
    sender: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    offset: u64,
    pending: Vec<u8>,
}

impl BlobWriter {
    /// Bytes written by now; the next are those from here on.
    pub fn offset(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }

    /// Writes the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE - self.pending.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() == PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what is pending: it will be there for the next writer of this name.
    pub async fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.pending);
        let length = data.len() as u64;
        let request = self.request(WriteAction::Write, data);
        self.send(request).await?;
        self.offset += length;
        Ok(())
    }

    /// Throws away what was written and begins anew.
    pub async fn restart(&mut self) -> Result<()> {
        self.pending.clear();
        self.offset = 0;
        // Writing at 0 truncates (containerd's content service).
        let request = self.request(WriteAction::Write, Vec::new());
        self.send(request).await
    }

    /// Ends the blob and checks it. An empty digest or a size of 0 is not checked.
    ///
    /// # Errors
    /// `Invalid` when the digest or the size is another; `Exists` when the blob is there meanwhile.
    pub async fn commit(
        mut self,
        size: u64,
        digest: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<()> {
        self.flush().await?;
        let mut request = self.request(WriteAction::Commit, Vec::new());
        request.total = i64::try_from(size).unwrap_or(i64::MAX);
        request.expected = digest.to_owned();
        request.labels = labels.into_iter().collect();
        let sent = self.send(request).await;
        sent.map_err(|error| match error.kind() {
            // containerd says so of a blob that is not what it should be.
            ErrorKind::Conflict => {
                Error::invalid(format!("blob {digest} is not what it should be"))
                    .next("fetch it again; if that does not help, its source is broken")
                    .caused_by(error)
            }
            _ => error,
        })
    }

    fn request(&self, action: WriteAction, data: Vec<u8>) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            r#ref: self.name.clone(),
            offset: i64::try_from(self.offset).unwrap_or(i64::MAX),
            data,
            ..WriteContentRequest::default()
        }
    }

    async fn send(&mut self, request: WriteContentRequest) -> Result<()> {
        // A stream that ended says why when it is read.
        let _ = self.sender.send(request).await;
        self.answer().await.map(drop)
    }

    async fn answer(&mut self) -> Result<WriteContentResponse> {
        let answer = self.answers.message().await.explain(|| self.what.clone())?;
        answer.ok_or_else(|| Error::unavailable(format!("{}: containerd hung up", self.what)))
    }
}
