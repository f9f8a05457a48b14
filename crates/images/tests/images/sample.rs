//! Images made in memory.

use std::io::Read;

use images::{Descriptor, Digest, Platform, media};
use serde_json::{Value, json};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer: its tar, and the blob.
#[derive(Clone)]
pub struct SampleLayer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: &'static str,
}

/// An image with all its documents.
#[derive(Clone)]
pub struct Sample {
    pub config: Vec<u8>,
    pub layers: Vec<SampleLayer>,
    pub manifest: Vec<u8>,
    pub manifest_type: &'static str,
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(length);
    data
}

pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let level = flate2::Compression::fast();
    flate2::read::GzEncoder::new(data, level).read_to_end(&mut packed).unwrap();
    packed
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

impl SampleLayer {
    pub fn of_tar(tar: Vec<u8>, packing: Packing) -> Self {
        let (blob, media_type) = match packing {
            Packing::Plain => (tar.clone(), media::LAYER),
            Packing::Gzip => (gzip(&tar), media::LAYER_GZIP),
            Packing::Zstd => (zstd(&tar), media::LAYER_ZSTD),
        };
        Self { tar, blob, media_type }
    }

    pub fn noisy(seed: u64, length: usize) -> Self {
        let name = format!("file-{seed}");
        Self::of_tar(tar_of(&[(&name, &noise(seed, length))]), Packing::Gzip)
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }

    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type, &self.blob)
    }
}

impl Sample {
    /// For this machine.
    pub fn new(layers: Vec<SampleLayer>) -> Self {
        let tars: Vec<Digest> = layers.iter().map(|layer| Digest::of(&layer.tar)).collect();
        Self::with_config(layers, config_of(&Platform::host(), &tars))
    }

    pub fn for_platform(platform: &str, layers: Vec<SampleLayer>) -> Self {
        let tars: Vec<Digest> = layers.iter().map(|layer| Digest::of(&layer.tar)).collect();
        Self::with_config(layers, config_of(&platform.parse().unwrap(), &tars))
    }

    pub fn with_config(layers: Vec<SampleLayer>, config: Value) -> Self {
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "config": Descriptor::of(media::CONFIG, &config),
            "layers": layers.iter().map(SampleLayer::descriptor).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        Self { config, layers, manifest, manifest_type: media::MANIFEST }
    }

    /// The same in Docker's types.
    pub fn docker(mut self) -> Self {
        let text = String::from_utf8(self.manifest).unwrap();
        let text = text
            .replace(media::MANIFEST, media::DOCKER_MANIFEST)
            .replace(media::CONFIG, media::DOCKER_CONFIG)
            .replace(media::LAYER_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip");
        self.manifest = text.into_bytes();
        self.manifest_type = media::DOCKER_MANIFEST;
        self
    }

    /// One small layer and one of `length` bytes.
    pub fn of_size(seed: u64, length: usize) -> Self {
        Self::new(vec![SampleLayer::noisy(seed, 300), SampleLayer::noisy(seed + 1, length)])
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.manifest_type, &self.manifest)
    }

    /// Config and layers.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        [self.config.clone()]
            .into_iter()
            .chain(self.layers.iter().map(|l| l.blob.clone()))
            .collect()
    }
}

pub fn config_of(platform: &Platform, diff_ids: &[Digest]) -> Value {
    json!({
        "created": "2026-01-02T03:04:05Z",
        "architecture": platform.architecture,
        "os": platform.os,
        "variant": platform.variant,
        "config": { "Cmd": ["/bin/true"], "Env": ["A=b"], "Labels": { "kind": "sample" } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": diff_ids.iter().map(|_| json!({ "created_by": "ADD file" })).collect::<Vec<_>>(),
        "x-unknown": { "kept": true },
    })
}

/// An index of samples, each for its platform.
pub fn index_of(samples: &[(&str, &Sample)]) -> Vec<u8> {
    let entry = |(platform, sample): &(&str, &Sample)| {
        let mut entry = sample.descriptor();
        entry.platform = Some(platform.parse().unwrap());
        json!(entry)
    };
    let mut manifests: Vec<Value> = samples.iter().map(entry).collect();
    manifests.push(json!({
        "mediaType": media::MANIFEST, "digest": Digest::of(b"an attestation"), "size": 14,
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
    }));
    json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests })
        .to_string()
        .into_bytes()
}
