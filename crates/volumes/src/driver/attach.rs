//! The usual sequence of node verbs as one call.

use std::path::PathBuf;

use model::{ErrorKind, Result};

use super::{Driver, Populate, Populated, Publish};
use crate::driver::VolumeId;

/// Times two verbs are tried when those of another consumer come between them.
const ATTEMPTS: u32 = 8;

/// A volume given to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where its contents are.
    pub path: PathBuf,
    /// What filling it did; absent when it was not asked for.
    pub populated: Option<Populated>,
}

/// Stages and claims a volume, fills it when `populate` is given, and publishes it. Safe to repeat.
///
/// # Errors
/// Those of the three verbs.
pub async fn attach(
    driver: &dyn Driver,
    request: Publish,
    populate: Option<Populate>,
) -> Result<Attachment> {
    let mut attempt = 1;
    loop {
        match once(driver, &request, populate.as_ref()).await {
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

async fn once(
    driver: &dyn Driver,
    request: &Publish,
    populate: Option<&Populate>,
) -> Result<Attachment> {
    driver.node_stage(&request.volume).await?;
    driver.node_claim(request).await?;
    let populated = match populate {
        Some(source) => Some(driver.populate(&request.volume, source.clone()).await?),
        None => None,
    };
    let path = driver.node_publish(request.clone()).await?;
    Ok(Attachment { path, populated })
}

/// Takes a consumer away and unstages the volume when it was the last. Safe to repeat.
///
/// # Errors
/// Those of the two verbs, except that a volume others still use is left staged.
pub async fn detach(driver: &dyn Driver, id: &VolumeId, consumer: &str) -> Result<()> {
    driver.node_unpublish(id, consumer).await?;
    let mut attempt = 1;
    while !used(driver, id).await? {
        match driver.node_unstage(id).await {
            // Another consumer came between; the next look tells whether it stayed.
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
    Ok(())
}

/// Whether a volume has consumers; one that does not exist has none.
async fn used(driver: &dyn Driver, id: &VolumeId) -> Result<bool> {
    match driver.show(id).await {
        Ok(volume) => Ok(!volume.published.is_empty()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
