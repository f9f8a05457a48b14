//! OCI artifacts that are a disk, as ORAS and others push them: no container's configuration, and one
//! layer whose type or title says that it is a disk.
//!
//! Such a disk becomes the image of a machine as it comes: its layer is wrapped in a tar, as
//! `/disk/disk.qcow2`. The same artifact always makes the same image. The image's names carry the
//! artifact's digest in a label, so that the next pull sees that nothing changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::sources::{Sources, wrong_digest};
use crate::archive::layer::{Checked, LayerCheck};
use crate::archive::manifest_of;
use crate::content::{BlobWriter, ContentStore, Ingest, Labels, Layer, WriteRequest};
use crate::descriptor::Descriptor;
use crate::digest::Hasher;
use crate::image_config::{ConfigFile, RootFs};
use crate::limits::Limits;
use crate::local::{open_ingest, put_document, put_small};
use crate::manifest::Document;
use crate::media;
use crate::platform::Platform;
use crate::registry::Remote;

/// Label of an image's name: digest of the artifact it was made of.
pub(super) const LABEL_ARTIFACT: &str = "hull.artifact";
const TITLE: &str = "org.opencontainers.image.title";
const CREATED: &str = "org.opencontainers.image.created";
/// Annotations that become labels of the image.
const OURS: &str = "io.monohull.machine.";
const BLOCK: u64 = 512;

/// An artifact that is a disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Artifact {
    disk: Descriptor,
    /// Name of the disk in the image: `disk.qcow2`.
    name: &'static str,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Artifact {
    /// The artifact that a manifest describes; `None` for all that is something else.
    pub fn of(manifest: &[u8]) -> Option<Self> {
        let Raw { config, layers, annotations } = serde_json::from_slice(manifest).ok()?;
        if media::is_config(&config?.media_type) {
            return None;
        }
        let mut disks = layers.into_iter().filter_map(|layer| Some((name_of(&layer)?, layer)));
        match (disks.next(), disks.next()) {
            (Some((name, disk)), None) => {
                Some(Self { disk, name, annotations: annotations.unwrap_or_default() })
            }
            _ => None,
        }
    }

    /// The blob, for those who tell how far it is.
    pub fn blob(&self) -> &Descriptor {
        &self.disk
    }

    /// Fetches the disk and makes the image of it; returns its manifest and what keeps it unpacked.
    pub async fn fetch(
        &self,
        store: &dyn ContentStore,
        sources: &Sources,
        limits: &Limits,
        platform: &Platform,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Descriptor> {
        let layer = self.layer(store, sources, limits, arrived).await?;
        let config = Bytes::from(self.config(&layer, platform).to_string());
        // What the annotations say must be as good as what an image's labels say.
        ConfigFile::parse(&config)?;
        let config_at = Descriptor::of(media::CONFIG, &config);
        let manifest =
            Bytes::from(manifest_of(&config_at, std::slice::from_ref(&layer.descriptor)));
        let document = Document::parse(media::MANIFEST, &manifest, limits)?;
        let target = Descriptor::of(media::MANIFEST, &manifest);
        put_small(store, &config_at.digest, config, Labels::new()).await?;
        put_document(store, &target.digest, manifest, &document).await?;
        let top = store.unpack(None, &layer).await?;
        store.bind_unpacked(&config_at.digest, &top).await?;
        Ok(target)
    }

    fn config(&self, layer: &Layer, platform: &Platform) -> serde_json::Value {
        let ours = self.annotations.iter().filter(|(key, _)| key.starts_with(OURS));
        let labels: BTreeMap<&String, &String> = ours.collect();
        let mut config = serde_json::json!(ConfigFile {
            created: self.annotations.get(CREATED).cloned(),
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![layer.diff_id.clone()] },
            ..ConfigFile::default()
        });
        config["config"]["Labels"] = serde_json::json!(labels);
        config
    }

    async fn layer(
        &self,
        store: &dyn ContentStore,
        sources: &Sources,
        limits: &Limits,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Layer> {
        if self.disk.size > limits.unpacked.0 {
            let (size, most) = (model::Bytes(self.disk.size), limits.unpacked);
            return Err(Error::invalid(format!("its disk has {size}, over {most}")));
        }
        let reference = format!("hull-artifact-{}", self.disk.digest.hex());
        let mut last = Error::internal("there is no registry to ask");
        for remote in &sources.remotes {
            let request = WriteRequest { reference: reference.clone(), size: None, digest: None };
            let Ingest::Open(mut writer) = open_ingest(store, &request).await? else {
                return Err(Error::internal("a blob of no digest is there"));
            };
            writer.restart().await?;
            match self.wrap(writer, remote, limits, arrived).await {
                Ok(layer) => return Ok(layer),
                Err(error) => last = error,
            }
        }
        store.abort(&reference).await?;
        Err(last)
    }

    /// One try: the blob between the head and the end of a tar.
    async fn wrap(
        &self,
        writer: Box<dyn BlobWriter>,
        remote: &Remote,
        limits: &Limits,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Layer> {
        let mut wrapping =
            Wrapping { writer, check: LayerCheck::start(limits), hasher: Hasher::new(), size: 0 };
        wrapping.append(self.head()?).await?;
        let mut own = Hasher::new();
        let mut came = 0;
        let mut download = remote.blob(&self.disk.digest, 0).await.map_err(|f| f.error)?;
        while let Some(piece) = download.bytes.next().await {
            let piece = piece.map_err(|failure| failure.error)?;
            came += piece.len() as u64;
            if came > self.disk.size {
                break;
            }
            own.update(&piece);
            wrapping.append(piece).await?;
            arrived(came);
        }
        if came != self.disk.size || own.finish() != self.disk.digest {
            return Err(wrong_digest(&remote.name(), &self.disk.digest));
        }
        let padding = came.next_multiple_of(BLOCK) - came;
        wrapping.append(vec![0; (padding + 2 * BLOCK) as usize].into()).await?;
        let (descriptor, checked) = wrapping.finish().await?;
        Ok(Layer { descriptor, diff_id: checked.diff_id })
    }

    fn head(&self) -> Result<Bytes> {
        let mut header = tar::Header::new_gnu();
        header
            .set_path(format!("disk/{}", self.name))
            .context(ErrorKind::Internal, || "its disk cannot be wrapped".to_owned())?;
        header.set_size(self.disk.size);
        header.set_mode(0o444);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        Ok(Bytes::copy_from_slice(header.as_bytes()))
    }
}

/// A layer in the making.
struct Wrapping {
    writer: Box<dyn BlobWriter>,
    check: LayerCheck,
    hasher: Hasher,
    size: u64,
}

impl Wrapping {
    fn append(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.hasher.update(&piece);
            self.size += piece.len() as u64;
            self.check.push(piece.clone()).await;
            self.writer.append(piece).await
        })
    }

    async fn finish(self) -> Result<(Descriptor, Checked)> {
        let checked = self.check.finish().await?;
        let digest = self.hasher.finish();
        self.writer.commit(self.size, &digest, checked.labels()).await?;
        Ok((Descriptor::new(media::LAYER, digest, self.size), checked))
    }
}

/// The name that a layer's disk gets; `None` if it is no disk.
fn name_of(layer: &Descriptor) -> Option<&'static str> {
    let title = layer.annotation(TITLE).unwrap_or_default().to_ascii_lowercase();
    let kind = layer.media_type.to_ascii_lowercase();
    let packed = title.ends_with(".gz") || kind.ends_with("+gzip");
    let bare = title.strip_suffix(".gz").unwrap_or(&title);
    let qcow2 = bare.ends_with(".qcow2") || kind.contains("qcow2") || kind.contains("qemu-disk");
    let raw = [".img", ".raw", ".iso"].iter().any(|ending| bare.ends_with(ending))
        || kind.contains("disk.raw")
        || kind.contains("raw-disk");
    match (qcow2, raw, packed) {
        (true, _, false) => Some("disk.qcow2"),
        (true, _, true) => Some("disk.qcow2.gz"),
        (false, true, false) => Some("disk.raw"),
        (false, true, true) => Some("disk.raw.gz"),
        (false, false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn layer(kind: &str, title: &str) -> Value {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut layer = json!({ "mediaType": kind, "digest": digest, "size": 9 });
        if !title.is_empty() {
            layer["annotations"] = json!({ TITLE: title });
        }
        layer
    }

    #[test]
    fn what_is_a_disk() {
        let empty = "application/vnd.oci.empty.v1+json";
        let tar = "application/vnd.oci.image.layer.v1.tar";
        for (config, layers, expected) in [
            (empty, vec![layer(tar, "debian.qcow2")], Some("disk.qcow2")),
            (empty, vec![layer("application/octet-stream", "a.IMG")], Some("disk.raw")),
            (empty, vec![layer("application/x-qemu-disk", "")], Some("disk.qcow2")),
            (empty, vec![layer("application/vnd.acme.disk.qcow2+gzip", "")], Some("disk.qcow2.gz")),
            (empty, vec![layer(tar, "readme.md"), layer(tar, "a.raw.gz")], Some("disk.raw.gz")),
            (empty, vec![layer(tar, "a.qcow2"), layer(tar, "b.qcow2")], None),
            (empty, vec![layer(tar, "chart.tgz")], None),
            (empty, vec![layer(tar, "")], None),
            (empty, vec![], None),
            (media::CONFIG, vec![layer(tar, "a.qcow2")], None),
        ] {
            let config = layer(config, "");
            let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
            let found = Artifact::of(manifest.to_string().as_bytes());
            assert_eq!(found.map(|artifact| artifact.name), expected, "{manifest}");
        }
        assert_eq!(Artifact::of(b"{}"), None);
        assert_eq!(Artifact::of(b"x"), None);
    }
}
