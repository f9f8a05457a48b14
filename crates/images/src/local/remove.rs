//! Taking names away, and images with their last name.

use model::{Bytes, Error, Result};

use super::summary::Group;
use super::{Images, PruneOptions, RemoveOptions, Removed};

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
        images.store.remove_image(&record).await?;
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
    delete(images, vec![group]).await
}

pub(super) async fn prune(images: &Images, options: PruneOptions<'_>) -> Result<Removed> {
    let doomed = |group: &Group| {
        let image = group.summary();
        let old = options.until.is_none_or(|until| image.created.is_some_and(|at| at < until));
        let labelled = options.labels.iter().all(|(key, value)| {
            image.config.labels.get(key).is_some_and(|own| value.is_empty() || own == value)
        });
        (options.all || group.dangling()) && old && labelled && group.user(options.in_use).is_none()
    };
    let groups = images.all().await?.into_iter().filter(doomed).collect();
    delete(images, groups).await
}

/// The name with tag or digest by which the image was named; `None` if by its id.
fn named(group: &Group, name: &str) -> Option<String> {
    let reference = model::image::Reference::parse(name).ok()?;
    let full = reference.to_string();
    group.names.iter().chain(&group.digests).find(|own| **own == full).cloned()
}

async fn delete(images: &Images, groups: Vec<Group>) -> Result<Removed> {
    let before = total(images).await?;
    let mut removed = Removed::default();
    for group in groups {
        for record in &group.records {
            images.store.remove_image(&record.name).await?;
        }
        removed.deleted.push(group.id().to_owned());
        removed.untagged.extend(group.names);
        removed.untagged.extend(group.digests);
    }
    images.kept.forget();
    images.store.collect().await?;
    removed.reclaimed = Bytes(before.saturating_sub(total(images).await?));
    Ok(removed)
}

async fn total(images: &Images) -> Result<u64> {
    Ok(images.store.list().await?.iter().map(|blob| blob.size).sum())
}
