//! Writing images as one tar that is an OCI layout and a Docker archive at once, as Docker 25 and
//! later write it.

use std::collections::BTreeMap;

use async_stream::try_stream;
use bytes::Bytes;
use futures::TryStreamExt;
use model::image::Reference;
use model::{Error, Result};
use serde_json::{Value, json};

use super::assemble::{FULL_NAME, REF_NAME};
use crate::content::ByteStream;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::local::{Images, Opened};
use crate::manifest::Document;
use crate::media;
use crate::platform::Platform;

const BLOCK: u64 = 512;

/// What is written.
#[derive(Default)]
struct Plan {
    /// All blobs with their sizes, each once.
    blobs: BTreeMap<Digest, u64>,
    /// Entries of `index.json`.
    index: Vec<Descriptor>,
    /// Entries of `manifest.json`, by configuration.
    docker: BTreeMap<Digest, (Opened, Vec<String>)>,
}

/// One tar of the images called `names`.
pub(crate) async fn save(
    images: &Images,
    names: &[String],
    platform: Platform,
) -> Result<ByteStream> {
    if names.is_empty() {
        return Err(Error::invalid("no image is named").next("name the images to be saved"));
    }
    let mut plan = Plan::default();
    for name in names {
        add(images, &mut plan, name, &platform).await?;
    }
    Ok(stream(images.clone(), plan))
}

async fn add(images: &Images, plan: &mut Plan, name: &str, platform: &Platform) -> Result<()> {
    let group = images.group(name).await?;
    let opened = images.open(&group.opened.target, platform).await?;
    let absent = || Error::not_found(format!("image {name} is not here for {platform}"));
    let opened = opened.filter(|opened| opened.fits(platform)).ok_or_else(absent)?;
    if !opened.complete(&*images.store).await? {
        return Err(Error::not_found(format!("image {name} is not here with all its layers"))
            .next("pull it again"));
    }
    let reference = Reference::parse(name).ok();
    let named = reference.filter(|reference| group.names.contains(&reference.to_string()));
    let whole = whole_index(images, plan, &opened).await?;
    let target = if whole { opened.target.clone() } else { opened.manifest_at.clone() };
    plan.blobs.insert(target.digest.clone(), target.size);
    plan.image(&opened);
    plan.index.push(entry(&target, named.as_ref()));
    let (_, tags) =
        plan.docker.entry(opened.manifest.config.digest.clone()).or_insert((opened, Vec::new()));
    tags.extend(named.map(|name| name.familiar()));
    Ok(())
}

/// Adds all images of an index, if all are here.
async fn whole_index(images: &Images, plan: &mut Plan, opened: &Opened) -> Result<bool> {
    let Some(Document::Index(index)) = images.document(&opened.target).await? else {
        return Ok(true);
    };
    let mut blobs = BTreeMap::new();
    for child in &index.manifests {
        let Some(document) = images.document(child).await? else { return Ok(false) };
        blobs.insert(child.digest.clone(), child.size);
        for part in document.children() {
            if images.store.info(&part.digest).await?.is_none() {
                return Ok(false);
            }
            blobs.insert(part.digest.clone(), part.size);
        }
    }
    plan.blobs.extend(blobs);
    Ok(true)
}

fn entry(target: &Descriptor, name: Option<&Reference>) -> Descriptor {
    let Some(name) = name else { return target.clone() };
    let tag = name.tag.as_deref().unwrap_or("latest");
    target.clone().annotate(FULL_NAME, &name.to_string()).annotate(REF_NAME, tag)
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Plan {
    fn image(&mut self, opened: &Opened) {
        let manifest = &opened.manifest;
        let parts = [&opened.manifest_at, &manifest.config].into_iter().chain(&manifest.layers);
        self.blobs.extend(parts.map(|part| (part.digest.clone(), part.size)));
    }

    fn index_json(&self) -> Value {
        json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": self.index })
    }

    fn manifest_json(&self) -> Value {
        let image = |(config, (opened, tags)): (&Digest, &(Opened, Vec<String>))| {
            let layers = opened.manifest.layers.iter().map(|layer| path(&layer.digest));
            json!({
                "Config": path(config),
                "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
                "Layers": layers.collect::<Vec<_>>(),
            })
        };
        self.docker.iter().map(image).collect()
    }
}

fn stream(images: Images, plan: Plan) -> ByteStream {
    Box::pin(try_stream! {
        for directory in ["blobs/", "blobs/sha256/"] {
            yield header(directory, ::tar::EntryType::Directory, 0)?;
        }
        for (digest, size) in &plan.blobs {
            yield header(&path(digest), ::tar::EntryType::Regular, *size)?;
            let mut pieces = images.store.reader(digest, None).await?;
            let mut written = 0;
            while let Some(piece) = pieces.try_next().await? {
                written += piece.len() as u64;
                yield piece;
            }
            if written != *size {
                Err(Error::internal(format!("blob {digest} has {written} bytes, not {size}")))?;
            }
            yield padding(*size);
        }
        let layout = json!({ "imageLayoutVersion": "1.0.0" });
        let documents = [
            ("index.json", plan.index_json()),
            ("manifest.json", plan.manifest_json()),
            ("oci-layout", layout),
        ];
        for (name, document) in documents {
            let data = Bytes::from(document.to_string());
            let size = data.len() as u64;
            yield header(name, ::tar::EntryType::Regular, size)?;
            yield data;
            yield padding(size);
        }
        yield Bytes::from_static(&[0; 2 * BLOCK as usize]);
    })
}

/// Times are left at 1970, so that the same images make the same archive.
fn header(name: &str, kind: ::tar::EntryType, size: u64) -> Result<Bytes> {
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(kind);
    header
        .set_path(name)
        .map_err(|error| Error::internal(format!("{name} fits no tar header")).caused_by(error))?;
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn padding(size: u64) -> Bytes {
    static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    Bytes::from_static(&ZEROS[..(size.next_multiple_of(BLOCK) - size) as usize])
}
