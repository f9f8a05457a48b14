//! What images take on the disk.

use std::collections::{BTreeMap, BTreeSet};

use model::{Bytes, Result};

use super::summary::Group;
use super::{Images, InUse, Usage, UsageRow};
use crate::digest::Digest;

pub(super) async fn usage(images: &Images, in_use: InUse<'_>) -> Result<Usage> {
    let sizes: BTreeMap<Digest, u64> =
        images.store.list().await?.into_iter().map(|blob| (blob.digest, blob.size)).collect();
    let groups = images.all().await?;
    let blobs: Vec<BTreeSet<&Digest>> = groups.iter().map(blobs_of).collect();
    let mut holders: BTreeMap<&Digest, u32> = BTreeMap::new();
    for digest in blobs.iter().flatten() {
        *holders.entry(digest).or_default() += 1;
    }
    let sum = |digests: &mut dyn Iterator<Item = &Digest>| {
        Bytes(digests.filter_map(|digest| sizes.get(digest)).sum())
    };
    let mut needed = BTreeSet::new();
    let mut rows = Vec::with_capacity(groups.len());
    for (group, own) in groups.iter().zip(&blobs) {
        let in_use = group.user(in_use).is_some();
        if in_use {
            needed.extend(own.iter().copied());
        }
        let shared = own.iter().copied().filter(|digest| holders.get(digest) > Some(&1));
        rows.push(UsageRow {
            id: group.id().to_owned(),
            names: group.names.clone(),
            size: sum(&mut own.iter().copied()),
            shared: sum(&mut shared.into_iter()),
            in_use,
        });
    }
    let total = Bytes(sizes.values().sum());
    let needed = sum(&mut needed.into_iter());
    Ok(Usage { total, reclaimable: Bytes(total.0.saturating_sub(needed.0)), images: rows })
}

/// Everything an image consists of, under all its names.
pub(super) fn blobs_of(group: &Group) -> BTreeSet<&Digest> {
    let opened = &group.opened;
    let documents = [&opened.manifest_at.digest, &opened.manifest.config.digest];
    let targets = group.records.iter().map(|record| &record.target.digest);
    let layers = opened.manifest.layers.iter().map(|layer| &layer.digest);
    documents.into_iter().chain(targets).chain(layers).collect()
}
