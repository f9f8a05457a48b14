//! Takes in members of an archive as they pass: documents into memory, all else into the store, with
//! the layer check beside it. Nothing is known yet of what belongs to what.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use model::{Error, Result};

use super::contents::{Contents, Stored};
use super::layer::{Checked, LayerCheck};
use super::tar::{Entry, Kind};
use crate::content::{BlobWriter, ContentStore, Ingest, WriteRequest};
use crate::digest::{Digest, Hasher};
use crate::limits::Limits;

/// Bytes of all documents of one archive together.
const DOCUMENTS: u64 = 64 << 20;
/// Documents that must be JSON whatever they begin with.
const JSON_NAMES: [&str; 4] = ["oci-layout", "index.json", "manifest.json", "repositories"];

pub(super) struct Intake<'a> {
    /// Under the import's lease.
    store: &'a dyn ContentStore,
    limits: &'a Limits,
    /// Names this import's ingests.
    id: &'a str,
    contents: Contents,
    names: HashSet<String>,
    document_bytes: u64,
    current: Option<Member>,
    /// The ingest that is not committed.
    ingest: Option<String>,
}

/// The member that passes now.
struct Member {
    name: String,
    size: u64,
    hasher: Hasher,
    sink: Option<Sink>,
}

enum Sink {
    Document(BytesMut),
    /// A writer, unless the blob is in the store already.
    Blob {
        writer: Option<Box<dyn BlobWriter>>,
        check: LayerCheck,
    },
}

impl<'a> Intake<'a> {
    pub fn new(store: &'a dyn ContentStore, limits: &'a Limits, id: &'a str) -> Self {
        let contents = Contents::default();
        let names = HashSet::new();
        Self { store, limits, id, contents, names, document_bytes: 0, current: None, ingest: None }
    }

    /// A member of a tar begins; the one before has ended.
    pub async fn entry(&mut self, entry: &Entry) -> Result<()> {
        let name = member_name(entry)?;
        match entry.kind {
            Kind::Directory => self.end().await,
            Kind::File if entry.size == entry.unpacked => self.begin(name, entry.size).await,
            Kind::File => Err(refuse(&name, "is a sparse file")),
            Kind::HardLink | Kind::Symlink => Err(refuse(&name, "is a link")
                .next("save the image again with a tool that writes files: Docker 25 or later")),
            Kind::Device | Kind::Fifo => Err(refuse(&name, "is not a file")),
        }
    }

    /// A file begins; the one before has ended.
    pub async fn begin(&mut self, name: String, size: u64) -> Result<()> {
        self.end().await?;
        if !self.names.insert(name.clone()) {
            return Err(refuse(&name, "is there twice"));
        }
        if JSON_NAMES.contains(&&*name) || name.ends_with(".json") {
            self.admit_document(&name, size)?;
        }
        self.current = Some(Member { name, size, hasher: Hasher::new(), sink: None });
        Ok(())
    }

    /// Bytes of the current member.
    pub async fn data(&mut self, data: Bytes) -> Result<()> {
        let Some(mut member) = self.current.take() else { return Ok(()) };
        if member.sink.is_none() {
            let sink = self.sink(&member.name, member.size, &data).await?;
            member.sink = Some(sink);
        }
        member.hasher.update(&data);
        member.write(data).await?;
        self.current = Some(member);
        Ok(())
    }

    /// The current member has ended.
    pub async fn end(&mut self) -> Result<()> {
        let Some(mut member) = self.current.take() else { return Ok(()) };
        let sink = match member.sink.take() {
            Some(sink) => sink,
            None => self.sink(&member.name, member.size, &[]).await?,
        };
        let Member { name, size, hasher, sink: _ } = member;
        let digest = hasher.finish();
        check_name(&name, &digest)?;
        match sink {
            Sink::Document(data) => self.contents.add_document(name, digest, data.freeze()),
            Sink::Blob { writer, check } => {
                let checked = check.finish().await;
                let labels = checked.as_ref().map(Checked::labels).unwrap_or_default();
                match writer {
                    Some(writer) => writer.commit(size, &digest, labels).await?,
                    None => self.store.set_labels(&digest, labels).await?,
                }
                self.ingest = None;
                self.contents.add_blob(name, Stored { digest, size, checked });
            }
        }
        Ok(())
    }

    /// All members have passed.
    pub async fn finish(&mut self) -> Result<Contents> {
        self.end().await?;
        Ok(std::mem::take(&mut self.contents))
    }

    /// The import failed: what is half written goes.
    pub async fn abort(mut self) {
        self.current = None;
        if let Some(reference) = &self.ingest {
            forget(self.store, reference).await;
        }
    }

    async fn sink(&mut self, name: &str, size: u64, start: &[u8]) -> Result<Sink> {
        let json = JSON_NAMES.contains(&name) || name.ends_with(".json");
        if json || (start.first() == Some(&b'{') && size <= self.limits.config.0) {
            self.document_bytes += size;
            if self.document_bytes > DOCUMENTS {
                return Err(Error::invalid("its documents are too many or too large"));
            }
            return Ok(Sink::Document(BytesMut::new()));
        }
        let reference = format!("{}-{}", self.id, self.names.len());
        let (size, digest) = (Some(size), claimed(name));
        self.ingest = Some(reference.clone());
        let writer = match self.store.writer(&WriteRequest { reference, size, digest }).await? {
            Ingest::Present => None,
            Ingest::Open(writer) => Some(writer),
        };
        Ok(Sink::Blob { writer, check: LayerCheck::start(self.limits) })
    }

    fn admit_document(&self, name: &str, size: u64) -> Result<()> {
        match size <= self.limits.config.0 {
            true => Ok(()),
            false => Err(refuse(name, &format!("has {size} bytes, too many for a document"))),
        }
    }
}

impl Member {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        match &mut self.sink {
            Some(Sink::Document(document)) => document.extend_from_slice(&data),
            Some(Sink::Blob { writer, check, .. }) => {
                check.push(data.clone()).await;
                if let Some(writer) = writer {
                    writer.append(data).await?;
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// Throws away what is half written. Why the import failed counts for more than why this does: then
/// it goes with the lease.
pub(super) async fn forget(store: &dyn ContentStore, reference: &str) {
    if let Err(error) = store.abort(reference).await {
        let cause = error.chain();
        tracing::warn!(reference, cause, "an ingest could not be aborted");
    }
}

fn refuse(name: &str, why: &str) -> Error {
    let shown: String = name.chars().take(200).collect();
    Error::invalid(format!("its member {shown:?} {why}"))
}

/// The name without `./`, if it stays inside.
fn member_name(entry: &Entry) -> Result<String> {
    let lossy = String::from_utf8_lossy(&entry.path);
    let name = std::str::from_utf8(&entry.path).map_err(|_| refuse(&lossy, "has no UTF-8 name"))?;
    let mut rest = name;
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner;
    }
    let bare = rest.strip_suffix('/').unwrap_or(rest);
    let root = matches!(bare, "" | ".") && entry.kind == Kind::Directory;
    let sound = |part: &str| !matches!(part, "" | "." | "..");
    if name.starts_with('/') || !(root || bare.split('/').all(sound)) {
        return Err(refuse(name, "has a name that leads elsewhere"));
    }
    Ok(bare.to_owned())
}

/// The digest a member's name claims.
fn claimed(name: &str) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", name.strip_prefix("blobs/sha256/")?)).ok()
}

/// A name that claims a digest must be right: in a layout by path, in a Docker archive the
/// configuration's.
fn check_name(name: &str, digest: &Digest) -> Result<()> {
    let config = name.strip_suffix(".json").map(|stem| format!("sha256:{stem}"));
    let config = config.or(name.starts_with("sha256:").then(|| name.to_owned()));
    let config = config.and_then(|text| Digest::parse(&text).ok());
    match claimed(name).or(config) {
        Some(claimed) if claimed != *digest => {
            Err(refuse(name, &format!("has the digest {digest}, not that of its name")))
        }
        _ => Ok(()),
    }
}
