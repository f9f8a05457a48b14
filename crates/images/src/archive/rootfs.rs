//! A root file system as an image of one layer.

use bytes::Bytes;
use model::{Error, Result, Time};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::assemble::{Assembled, manifest_of};
use super::import::{Import, unreadable};
use super::intake::forget;
use super::layer::{Checked, LayerCheck};
use crate::content::{BlobWriter, Ingest, Layer, WriteRequest};
use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::image_config::{ConfigFile, HistoryEntry, RootFs, RunConfig};
use crate::manifest::Document;
use crate::media;

const BUFFER: usize = 256 << 10;

/// Stores `source` as it is, checked as a layer, and assembles its image.
pub(super) async fn take_in(
    import: &Import<'_>,
    source: impl AsyncRead + Send + Unpin,
) -> Result<Vec<Assembled>> {
    let reference = format!("{}-rootfs", import.id);
    let request = WriteRequest { reference: reference.clone(), size: None, digest: None };
    let Ingest::Open(writer) = import.leased.writer(&request).await? else {
        return Err(Error::internal("an ingest without a digest exists already"));
    };
    match write(import, source, writer).await {
        Ok((layer, checked)) => assemble(import, layer, &checked).map(|image| vec![image]),
        Err(error) => {
            forget(&*import.leased, &reference).await;
            Err(error)
        }
    }
}

async fn write(
    import: &Import<'_>,
    mut source: impl AsyncRead + Send + Unpin,
    mut writer: Box<dyn BlobWriter>,
) -> Result<(Descriptor, Checked)> {
    let check = LayerCheck::start(import.limits());
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = source.read(&mut buffer).await.map_err(unreadable)?;
        let piece = Bytes::copy_from_slice(&buffer[..length]);
        if length == 0 || !check.push(piece.clone()).await {
            break;
        }
        hasher.update(&piece);
        size += length as u64;
        writer.append(piece).await?;
    }
    let checked = check.finish().await?;
    if checked.entries == 0 {
        return Err(Error::invalid("it is empty"));
    }
    let digest = hasher.finish();
    writer.commit(size, &digest, checked.labels()).await?;
    Ok((Descriptor::new(checked.compression.layer_type(), digest, size), checked))
}

fn assemble(import: &Import<'_>, descriptor: Descriptor, checked: &Checked) -> Result<Assembled> {
    let config = Bytes::from(config_of(import, &checked.diff_id).to_string());
    let config_at = Descriptor::of(media::CONFIG, &config);
    let data = Bytes::from(manifest_of(&config_at, std::slice::from_ref(&descriptor)));
    let document = Document::parse(media::MANIFEST, &data, import.limits())?;
    let target = Descriptor::of(media::MANIFEST, &data);
    let documents = vec![
        (config_at.digest.clone(), config, None),
        (target.digest.clone(), data, Some(document)),
    ];
    let layers = vec![Layer { descriptor, diff_id: checked.diff_id.clone() }];
    let names = import.options.name.iter().cloned().collect();
    Ok(Assembled { target, names, documents, config: config_at.digest, layers })
}

fn config_of(import: &Import<'_>, diff_id: &Digest) -> serde_json::Value {
    let created = Some(Time::now().to_string());
    let comment = match import.options.comment.as_str() {
        "" => "imported from a root file system".to_owned(),
        comment => comment.to_owned(),
    };
    let entry = HistoryEntry { created: created.clone(), comment, ..HistoryEntry::default() };
    let platform = import.platform.clone();
    let config = ConfigFile {
        created,
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        config: RunConfig::from_model(&import.options.config),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id.clone()] },
        history: vec![entry],
    };
    serde_json::json!(config)
}
