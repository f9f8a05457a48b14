//! Parts of images for those who fetch them from here as from a registry.

use bytes::Bytes;
use futures::TryStreamExt;
use model::{Error, Result};

use super::{Images, read_small};
use crate::content::ByteStream;
use crate::digest::Digest;
use crate::media;

/// A manifest with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes.
    pub data: Bytes,
}

impl Images {
    /// The manifest that the image called `name` is made by: where its name points at an index, the one
    /// chosen there, whose layers are here.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn manifest(&self, name: &str) -> Result<ServedManifest> {
        let at = self.group(name).await?.opened.manifest_at;
        let data = read_small(&*self.store, &at, self.limits.manifest.0).await?;
        let data = data.ok_or_else(|| {
            Error::not_found(format!("the manifest of {name} is not here")).next("pull it again")
        })?;
        Ok(ServedManifest { digest: at.digest, media_type: at.media_type, data })
    }

    /// The index or manifest of this digest; `None` if it is not here, or is neither.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn served(&self, digest: &Digest) -> Result<Option<ServedManifest>> {
        let Some((size, mut bytes)) = self.blob(digest).await? else { return Ok(None) };
        if size > self.limits.manifest.0 {
            return Ok(None);
        }
        let mut data = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            data.extend_from_slice(&piece);
        }
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&data) else {
            return Ok(None);
        };
        let media_type = match document["mediaType"].as_str() {
            Some(named) => named.to_owned(),
            None if document["manifests"].is_array() => media::INDEX.to_owned(),
            None if document["config"].is_object() => media::MANIFEST.to_owned(),
            None => return Ok(None),
        };
        Ok(Some(ServedManifest { digest: digest.clone(), media_type, data: data.into() }))
    }

    /// A blob with its size; `None` if it is not here.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<(u64, ByteStream)>> {
        let Some(info) = self.store.info(digest).await? else { return Ok(None) };
        Ok(Some((info.size, self.store.reader(digest, None).await?)))
    }
}
