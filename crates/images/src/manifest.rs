//! Manifests and indexes (OCI image specification, `manifest.md` and `image-index.md`; Docker's
//! schema 2). Only what is needed is read; the bytes are stored as they came.

use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::limits::Limits;
use crate::media;
use crate::platform::Platform;

/// What a name can point at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Index {
    pub manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads `data`, which claims to be of `media_type` (empty if nothing was claimed).
    pub fn parse(media_type: &str, data: &[u8], limits: &Limits) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(data)
            .context(ErrorKind::Invalid, || "the manifest cannot be read".to_owned())?;
        let schema1 = [media::DOCKER_SCHEMA1, media::DOCKER_SCHEMA1_SIGNED];
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) || schema1.contains(&media_type)
        {
            return Err(schema1_refused());
        }
        raw.agree_with(media_type)?;
        match (raw.manifests, raw.config, raw.layers) {
            // One document that is two things lets two readers see two images (CVE-2021-41190).
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                Err(Error::invalid("the manifest claims to be an index and an image at once"))
            }
            (Some(manifests), None, None) => Ok(Self::Index(Index { manifests })),
            (None, Some(config), layers) => {
                Manifest::checked(config, layers.unwrap_or_default(), limits).map(Self::Manifest)
            }
            (None, None, _) => Err(Error::invalid("the manifest has neither images nor a config")),
        }
    }

    /// Descriptors of what it is made of.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Document::Index(index) => index.manifests.iter().collect(),
            Document::Manifest(manifest) => {
                [&manifest.config].into_iter().chain(&manifest.layers).collect()
            }
        }
    }

    /// Digests of what it is made of.
    pub fn child_digests(&self) -> impl Iterator<Item = &Digest> {
        self.children().into_iter().map(|child| &child.digest)
    }

    /// The OCI type of such a document that names none.
    pub fn default_type(&self) -> &'static str {
        match self {
            Document::Index(_) => media::INDEX,
            Document::Manifest(_) => media::MANIFEST,
        }
    }
}

impl Raw {
    fn agree_with(&self, claimed: &str) -> Result<()> {
        let inner = self.media_type.as_deref().unwrap_or(claimed);
        let index = media::is_index(inner) || media::is_index(claimed);
        let manifest = media::is_manifest(inner) || media::is_manifest(claimed);
        let shaped_as_index = self.manifests.is_some();
        if (index && !shaped_as_index) || (manifest && shaped_as_index) {
            return Err(Error::invalid(format!(
                "the manifest's type {inner:?} does not fit its content or {claimed:?}, as which it was sent"
            )));
        }
        Ok(())
    }
}

fn schema1_refused() -> Error {
    Error::unsupported("the image has a manifest of Docker's schema 1, which is no longer read")
        .next("push it again with a client of 2017 or later, or convert it with skopeo copy")
}

impl Manifest {
    fn checked(config: Descriptor, layers: Vec<Descriptor>, limits: &Limits) -> Result<Self> {
        if !media::is_config(&config.media_type) {
            let found = &config.media_type;
            return Err(Error::unsupported(format!(
                "this is not a container image: its configuration is of type {found:?}"
            )));
        }
        if layers.len() > limits.layers {
            return Err(Error::invalid(format!(
                "the image has {} layers, {} are allowed",
                layers.len(),
                limits.layers
            )));
        }
        if config.size > limits.config.0 {
            return Err(Error::invalid(format!(
                "the image's configuration has {} bytes, {} are allowed",
                config.size, limits.config.0
            )));
        }
        if let Some(layer) = layers.iter().find(|layer| !media::is_layer(&layer.media_type)) {
            return Err(Error::unsupported(format!(
                "layer {} is of type {:?}, which is no layer of a container image",
                layer.digest.short(),
                layer.media_type
            )));
        }
        Ok(Self { config, layers })
    }
}

impl Index {
    /// The image that runs best on `platform`.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor> {
        let candidates = self.images().filter_map(|descriptor| {
            let distance = platform.distance(descriptor.platform.as_ref()?)?;
            Some((distance, descriptor))
        });
        // `min_by_key` takes the first of equals: the publisher's order decides.
        if let Some((_, descriptor)) = candidates.min_by_key(|(distance, _)| *distance) {
            return Ok(descriptor);
        }
        match &self.manifests[..] {
            [only] if only.platform.is_none() => Ok(only),
            _ => Err(self.none_fits(platform)),
        }
    }

    /// Entries that are images; attestations are listed as `unknown/unknown`.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|descriptor| {
            descriptor.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
        })
    }

    fn none_fits(&self, platform: &Platform) -> Error {
        let mut there: Vec<String> = self
            .images()
            .filter_map(|descriptor| descriptor.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        there.sort();
        there.dedup();
        there.truncate(40);
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Error::unsupported(format!("the image is not made for {platform}; there is: {there}"))
            .coded(model::error::Code::PlatformMissing)
            .next("choose one of these with --platform if this machine can run it")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str, content: &str) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::of(content.as_bytes()), "size": 1 })
    }

    fn parse(media_type: &str, document: &Value) -> Result<Document> {
        Document::parse(media_type, document.to_string().as_bytes(), &Limits::default())
    }

    #[test]
    fn documents_that_are_refused() {
        let config = descriptor(media::CONFIG, "c");
        let layer = descriptor(media::LAYER_GZIP, "l");
        let many: Vec<Value> = (0..501).map(|_| layer.clone()).collect();
        let huge =
            json!({ "mediaType": media::CONFIG, "digest": Digest::of(b""), "size": 1u64 << 40 });
        for (media_type, document, expected) in [
            ("", json!({}), "neither"),
            ("", json!([]), "cannot be read"),
            ("", json!({ "schemaVersion": 1, "fsLayers": [] }), "schema 1"),
            (media::DOCKER_SCHEMA1_SIGNED, json!({}), "schema 1"),
            ("", json!({ "manifests": [], "config": config }), "at once"),
            ("", json!({ "manifests": [], "layers": [] }), "at once"),
            (media::INDEX, json!({ "config": config, "layers": [] }), "does not fit"),
            (media::MANIFEST, json!({ "manifests": [] }), "does not fit"),
            (
                media::MANIFEST,
                json!({ "mediaType": media::INDEX, "config": config }),
                "does not fit",
            ),
            ("", json!({ "config": layer }), "not a container image"),
            ("", json!({ "config": config, "layers": [config] }), "no layer"),
            ("", json!({ "config": config, "layers": many }), "501 layers"),
            ("", json!({ "config": huge }), "bytes"),
            (
                "",
                json!({ "config": { "mediaType": media::CONFIG, "digest": "../../x", "size": 1 } }),
                "read",
            ),
            (
                "",
                json!({ "config": { "mediaType": media::CONFIG, "digest": Digest::of(b""), "size": -1 } }),
                "read",
            ),
        ] {
            let error = parse(media_type, &document).unwrap_err();
            assert!(error.message().contains(expected), "{document}: {}", error.chain());
        }
    }

    fn index(platforms: &[&str]) -> Index {
        let entry = |name: &&str| {
            let mut entry = Descriptor::of(media::MANIFEST, name.as_bytes());
            let mut parts = name.split('/').map(str::to_owned);
            entry.platform = Some(Platform {
                os: parts.next().unwrap(),
                architecture: parts.next().unwrap(),
                variant: parts.next(),
            });
            entry
        };
        Index { manifests: platforms.iter().map(entry).collect() }
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let all =
            ["unknown/unknown", "linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"];
        for (platform, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v6"),
            ("linux/arm/v5", "linux/arm/v5"),
            ("arm64", "linux/arm64/v8"),
        ] {
            let chosen = index(&all).choose(&platform.parse().unwrap()).unwrap().digest.clone();
            assert_eq!(chosen, Digest::of(expected.as_bytes()), "{platform}");
        }
        let error = index(&all).choose(&"s390x".parse().unwrap()).unwrap_err();
        assert!(
            error.message().contains("linux/amd64, linux/arm/v5, linux/arm/v6, linux/arm64/v8")
        );
        assert!(!error.message().contains("unknown"));
    }
}
