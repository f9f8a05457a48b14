//! Removal of what nothing keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use model::Result;

use super::{Inner, LABEL_UNPACKED, Lease, Unpacked, file_names, names, read_json, remove};
use crate::content::{BlobInfo, LABEL_REFERENCE};
use crate::digest::Digest;

/// An ingest nobody has written to for this long is garbage: containerd's figure.
const INGEST_AGE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn collect(inner: &Inner) -> Result<()> {
    let open = inner.lock();
    let leases = Lease::live(inner)?;
    let blobs: BTreeMap<Digest, BlobInfo> =
        inner.list()?.into_iter().map(|blob| (blob.digest.clone(), blob)).collect();
    let named = names::read(inner)?.into_iter().map(|record| record.target.digest);
    let leased = leases.iter().flat_map(|lease| lease.blobs.iter().cloned());
    let kept = reach(named.chain(leased).collect(), &blobs);
    for digest in blobs.keys().filter(|digest| !kept.contains(*digest)) {
        inner.delete(digest)?;
    }
    collect_meta(inner)?;
    let tops = kept.iter().filter_map(|digest| blobs.get(digest)).filter_map(unpacked_of);
    let tops = tops.chain(leases.iter().flat_map(|lease| lease.unpacked.iter().cloned()));
    collect_unpacked(inner, tops.collect())?;
    collect_ingests(inner, |name| open.contains(name))
}

/// Labels of blobs that never came to be, because their writer was killed.
fn collect_meta(inner: &Inner) -> Result<()> {
    for name in file_names(&inner.root.join("meta"))? {
        let hex = name.strip_suffix(".json").unwrap_or(&name);
        if !inner.root.join("blobs/sha256").join(hex).exists() {
            remove(&inner.root.join("meta").join(&name))?;
        }
    }
    Ok(())
}

/// All blobs that can be reached from `roots`.
fn reach(roots: Vec<Digest>, blobs: &BTreeMap<Digest, BlobInfo>) -> BTreeSet<Digest> {
    let (mut reached, mut left) = (BTreeSet::new(), roots);
    while let Some(digest) = left.pop() {
        if let Some(blob) = blobs.get(&digest).filter(|_| reached.insert(digest)) {
            let labels = blob.labels.iter().filter(|(key, _)| key.starts_with(LABEL_REFERENCE));
            left.extend(labels.filter_map(|(_, value)| Digest::parse(value).ok()));
        }
    }
    reached
}

fn unpacked_of(blob: &BlobInfo) -> Option<Digest> {
    Digest::parse(blob.labels.get(LABEL_UNPACKED)?).ok()
}

fn collect_unpacked(inner: &Inner, tops: Vec<Digest>) -> Result<()> {
    let (mut kept, mut left) = (BTreeSet::new(), tops);
    while let Some(chain) = left.pop() {
        let unpacked: Option<Unpacked> = read_json(&inner.unpacked(&chain))?;
        if kept.insert(chain) {
            left.extend(unpacked.and_then(|unpacked| unpacked.parent));
        }
    }
    for name in file_names(&inner.root.join("unpacked"))? {
        let hex = name.strip_suffix(".json").unwrap_or(&name);
        if !kept.iter().any(|chain| chain.hex() == hex) {
            remove(&inner.root.join("unpacked").join(&name))?;
        }
    }
    Ok(())
}

fn collect_ingests(inner: &Inner, is_open: impl Fn(&str) -> bool) -> Result<()> {
    let directory = inner.root.join("ingest");
    for name in file_names(&directory)?.into_iter().filter(|name| !is_open(name)) {
        let path = directory.join(name);
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|written| written.elapsed().ok()).unwrap_or_default();
        if age > INGEST_AGE {
            remove(&path)?;
        }
    }
    Ok(())
}
