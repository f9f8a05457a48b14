//! What a name means at its registry.

use model::image::Reference;
use model::{Error, Result};

use super::Shared;
use super::sources::{Sources, Top};
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::image_config::ConfigFile;
use crate::manifest::Document;
use crate::media;
use crate::platform::Platform;

/// A document at a registry and the platforms it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// For which platforms it is.
    pub platforms: Vec<Platform>,
}

pub(super) async fn tags(
    shared: &Shared,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<Vec<String>> {
    let remotes = shared.registries.remotes(reference, credentials)?;
    let transfer = shared.registries.settings.transfer.clone();
    Sources { remotes, transfer }.tags().await
}

pub(super) async fn look_up(
    shared: &Shared,
    reference: &Reference,
    credentials: Option<&Credentials>,
) -> Result<Listing> {
    let limits = &shared.registries.settings.limits;
    let remotes = shared.registries.remotes(reference, credentials)?;
    let mut sources = Sources { remotes, transfer: shared.registries.settings.transfer.clone() };
    let Top::Found(found) = sources.top(reference, None, limits).await? else {
        return Err(Error::internal("a manifest nobody knew is still the same"));
    };
    let document = Document::parse(&found.media_type, &found.data, limits)?;
    let media_type = match found.media_type.as_str() {
        known if media::is_index(known) || media::is_manifest(known) => known,
        _ => document.default_type(),
    };
    let platforms = match &document {
        Document::Index(index) => {
            index.images().filter_map(|child| child.platform.clone()).collect()
        }
        Document::Manifest(manifest) => {
            let config = sources.small_blob(&manifest.config).await?;
            ConfigFile::parse(&config)?.platform().into_iter().collect()
        }
    };
    let size = found.data.len() as u64;
    Ok(Listing { digest: found.digest, media_type: media_type.to_owned(), size, platforms })
}
