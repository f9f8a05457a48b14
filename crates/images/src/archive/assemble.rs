//! Images out of what an archive had in it.

use bytes::Bytes;
use model::error::Context;
use model::image::Reference;
use model::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::ImportOptions;
use super::contents::{Contents, missing};
use crate::content::Layer;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::image_config::ConfigFile;
use crate::limits::Limits;
use crate::manifest::{Document, Manifest};
use crate::media;
use crate::platform::Platform;

/// containerd's and Docker's annotation for a full name.
pub(super) const FULL_NAME: &str = "io.containerd.image.name";
/// OCI's annotation for a tag; some tools write a full name.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image, whole and checked.
#[derive(Debug)]
pub(super) struct Assembled {
    pub target: Descriptor,
    pub names: Vec<Reference>,
    /// Documents to be put, what is pointed at before what points.
    pub documents: Vec<(Digest, Bytes, Option<Document>)>,
    pub config: Digest,
    pub layers: Vec<Layer>,
}

/// One image of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) struct Assembler<'a> {
    pub contents: &'a Contents,
    pub limits: &'a Limits,
    pub platform: &'a Platform,
    pub options: &'a ImportOptions,
}

impl Assembler<'_> {
    /// All images. An archive that is both of Docker and OCI is read as OCI, which says more.
    pub fn run(&self) -> Result<Vec<Assembled>> {
        let documents = &self.contents.documents;
        let mut images = match (documents.get("index.json"), documents.get("manifest.json")) {
            (Some(index), _) => self.oci(index)?,
            (None, Some(manifest)) => self.docker(manifest)?,
            (None, None) => return Err(self.neither()),
        };
        if images.is_empty() {
            return Err(Error::invalid("it has no image in it"));
        }
        if let ([only], Some(name)) = (&mut images[..], &self.options.name)
            && only.names.is_empty()
        {
            only.names.push(name.clone());
        }
        Ok(images)
    }

    fn neither(&self) -> Error {
        if self.contents.documents.contains_key("repositories") {
            return Error::unsupported("it is of Docker before 1.10")
                .next("load it into a newer Docker and save it again");
        }
        Error::invalid("it has neither an index.json nor a manifest.json")
            .next("if it is a root file system, say so")
    }

    fn oci(&self, index: &Bytes) -> Result<Vec<Assembled>> {
        let Document::Index(index) = Document::parse(media::INDEX, index, self.limits)? else {
            return Err(Error::invalid("its index.json is no index"));
        };
        let mut images: Vec<Assembled> = Vec::new();
        for descriptor in index.images() {
            let names: Vec<Reference> = self.oci_name(descriptor)?.into_iter().collect();
            match images.iter_mut().find(|image| image.target.digest == descriptor.digest) {
                Some(known) => known.names.extend(names),
                None => images.push(self.target(descriptor, names)?),
            }
        }
        Ok(images)
    }

    fn oci_name(&self, descriptor: &Descriptor) -> Result<Option<Reference>> {
        if let Some(name) = descriptor.annotation(FULL_NAME) {
            return Reference::parse(name).map(Some);
        }
        match (descriptor.annotation(REF_NAME), &self.options.name) {
            (Some(name), _) if name.contains(['/', ':']) => Reference::parse(name).map(Some),
            (Some(tag), Some(name)) => {
                Reference::parse(&format!("{}:{tag}", name.name())).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What an entry of `index.json` points at.
    fn target(&self, at: &Descriptor, names: Vec<Reference>) -> Result<Assembled> {
        let data = self.contents.document(at)?.ok_or_else(|| missing(&at.digest))?;
        let document = Document::parse(&at.media_type, data, self.limits)?;
        let media_type = match at.media_type.as_str() {
            "" => document.default_type(),
            known => known,
        };
        let target = Descriptor::new(media_type, at.digest.clone(), at.size);
        let mut image = match &document {
            Document::Manifest(manifest) => self.image(target, manifest)?,
            Document::Index(index) => {
                let chosen = index.choose(self.platform)?;
                let mut image = self.child(chosen)?;
                for other in index.images().filter(|other| other.digest != chosen.digest) {
                    // Other platforms come along as far as the archive has them.
                    if let Ok(other) = self.child(other) {
                        image.documents.extend(other.documents);
                    }
                }
                Assembled { target, ..image }
            }
        };
        image.documents.push((at.digest.clone(), data.clone(), Some(document)));
        image.names = names;
        Ok(image)
    }

    fn child(&self, at: &Descriptor) -> Result<Assembled> {
        let data = self.contents.document(at)?.ok_or_else(|| missing(&at.digest))?;
        let document = Document::parse(&at.media_type, data, self.limits)?;
        let Document::Manifest(manifest) = &document else {
            return Err(Error::unsupported("its index leads to a further index"));
        };
        let mut image = self.image(at.clone(), manifest)?;
        image.documents.push((at.digest.clone(), data.clone(), Some(document)));
        Ok(image)
    }

    /// The image of one manifest; its own document is still to be added.
    fn image(&self, target: Descriptor, manifest: &Manifest) -> Result<Assembled> {
        let at = &manifest.config;
        let config = self.contents.document(at)?.ok_or_else(|| missing(&at.digest))?;
        let parsed = ConfigFile::parse(config)?;
        let diff_ids = parsed.diff_ids(manifest.layers.len())?;
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            same_diff(descriptor, &self.contents.layer(descriptor)?.diff_id, diff_id)?;
            layers.push(Layer { descriptor: descriptor.clone(), diff_id: diff_id.clone() });
        }
        let documents = vec![(at.digest.clone(), config.clone(), None)];
        Ok(Assembled { target, names: Vec::new(), documents, config: at.digest.clone(), layers })
    }

    fn docker(&self, manifest: &Bytes) -> Result<Vec<Assembled>> {
        let entries: Vec<DockerEntry> = serde_json::from_slice(manifest)
            .context(ErrorKind::Invalid, || "its manifest.json cannot be read".to_owned())?;
        entries.into_iter().map(|entry| self.docker_image(entry)).collect()
    }

    /// A Docker archive has no manifest of the registry's kind: one is made.
    fn docker_image(&self, entry: DockerEntry) -> Result<Assembled> {
        let bare = |name: &str| name.trim_start_matches("./").to_owned();
        let absent = |name: &str| Error::invalid(format!("it lacks its member {name:?}"));
        let config_name = bare(&entry.config);
        let config = self.contents.documents.get(&config_name);
        let config = config.ok_or_else(|| absent(&config_name))?;
        let mut descriptors = Vec::new();
        for name in entry.layers.unwrap_or_default().iter().map(|name| bare(name)) {
            let stored = self.contents.blobs.get(&name).ok_or_else(|| absent(&name))?;
            let media_type = stored.layer(&name)?.compression.layer_type();
            descriptors.push(Descriptor::new(media_type, stored.digest.clone(), stored.size));
        }
        let data: Bytes = manifest_of(&Descriptor::of(media::CONFIG, config), &descriptors).into();
        let document = Document::parse(media::MANIFEST, &data, self.limits)?;
        let Document::Manifest(manifest) = &document else {
            return Err(Error::internal("a manifest made here is none"));
        };
        let target = Descriptor::of(media::MANIFEST, &data);
        let mut image = self.image(target.clone(), manifest)?;
        image.documents.push((target.digest, data, Some(document)));
        let names = entry.repo_tags.unwrap_or_default();
        image.names = names.iter().map(|name| Reference::parse(name)).collect::<Result<_>>()?;
        Ok(image)
    }
}

fn same_diff(at: &Descriptor, found: &Digest, said: &Digest) -> Result<()> {
    match found == said {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "its layer {} unpacks to {found}, its configuration says {said}",
            at.digest
        ))),
    }
}

/// A manifest of the OCI kind.
pub(crate) fn manifest_of(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::MANIFEST,
        "config": config,
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}
