//! Taking names away, and images with their last name.

use std::collections::BTreeSet;

use model::{Bytes, Error, Result};

use super::summary::Group;
use super::usage::blobs_of;
use super::{Images, PruneOptions, RemoveOptions, Removed};
use crate::digest::Digest;

pub(super) async fn remove(
    images: &Images,
    name: &str,
    options: RemoveOptions<'_>,
) -> Result<Removed> {
    let group = images.group(name).await?;
    let named = named(&group, name);
    // Of a tag and its digest, the tag is what people know: the digest goes alone, the tag does not.
    let others = |own: &String| group.names.iter().any(|other| other != own);
    if let Some(record) = named.clone().filter(others) {
        if !options.plan {
            images.store.remove_image(&record).await?;
        }
        return Ok(Removed { untagged: vec![record], ..Removed::default() });
    }
    if named.is_none() && group.names.len() > 1 && !options.force {
        let names = group.names.join(", ");
        return Err(Error::conflict(format!("image {name} has several names: {names}"))
            .next("remove it by each name, or by force"));
    }
    if let Some(user) = group.user(options.in_use) {
        return Err(Error::conflict(format!("image {name} is in use by {user}"))
            .next("remove what uses it first"));
    }
    delete(images, vec![group], options.plan).await
}

pub(super) async fn prune(images: &Images, options: PruneOptions<'_>) -> Result<Removed> {
    let doomed = |group: &Group| {
        let image = group.summary();
        let old = options.until.is_none_or(|until| image.created.is_some_and(|at| at < until));
        let has = |(key, value): (&String, &String)| {
            image.config.labels.get(key).is_some_and(|own| value.is_empty() || own == value)
        };
        let labelled = options.labels.iter().all(has) && !options.unlabelled.iter().any(has);
        (options.all || group.dangling()) && old && labelled && group.user(options.in_use).is_none()
    };
    let groups = images.all().await?.into_iter().filter(doomed).collect();
    delete(images, groups, options.plan).await
}

impl Group {
    /// Whether the record is the one people mean by this name.
    pub(super) fn is_called(&self, name: &str, record: &str) -> bool {
        named(self, name).is_some_and(|own| own == record)
    }
}

/// The name with tag or digest by which the image was named; `None` if by its id.
fn named(group: &Group, name: &str) -> Option<String> {
    let reference = model::image::Reference::parse(name).ok()?;
    let full = reference.to_string();
    group.names.iter().chain(&group.digests).find(|own| **own == full).cloned()
}

async fn delete(images: &Images, groups: Vec<Group>, plan: bool) -> Result<Removed> {
    let mut removed = Removed::default();
    for group in &groups {
        removed.deleted.push(group.id().to_owned());
        removed.untagged.extend(group.names.iter().chain(&group.digests).cloned());
    }
    removed.reclaimed = match plan {
        true => alone(images, &groups).await?,
        false => clear(images, &groups).await?,
    };
    Ok(removed)
}

/// Takes all names away and lets the store collect; how much that gave back.
async fn clear(images: &Images, groups: &[Group]) -> Result<Bytes> {
    let before = total(images).await?;
    for record in groups.iter().flat_map(|group| &group.records) {
        images.store.remove_image(&record.name).await?;
    }
    images.kept.forget();
    images.store.collect().await?;
    Ok(Bytes(before.saturating_sub(total(images).await?)))
}

/// Bytes that these have and no other image.
async fn alone(images: &Images, groups: &[Group]) -> Result<Bytes> {
    let all = images.all().await?;
    let doomed = |group: &&Group| groups.iter().any(|doomed| doomed.id() == group.id());
    let kept: BTreeSet<&Digest> =
        all.iter().filter(|group| !doomed(group)).flat_map(blobs_of).collect();
    let gone: BTreeSet<&Digest> =
        groups.iter().flat_map(blobs_of).filter(|digest| !kept.contains(digest)).collect();
    let blobs = images.store.list().await?;
    Ok(Bytes(blobs.iter().filter(|blob| gone.contains(&blob.digest)).map(|blob| blob.size).sum()))
}

async fn total(images: &Images) -> Result<u64> {
    Ok(images.store.list().await?.iter().map(|blob| blob.size).sum())
}
