//! Names: `index.json`, with the name and labels of each as annotations.

use model::{Result, Time};
use serde::{Deserialize, Serialize};

use super::{Inner, read_json, write_json};
use crate::content::{ImageRecord, Labels};
use crate::descriptor::Descriptor;
use crate::media;

/// containerd's annotation for a full name.
const NAME: &str = "io.containerd.image.name";
const CREATED: &str = "hull.created";
const UPDATED: &str = "hull.updated";
const LABEL: &str = "hull.label.";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile {
    schema_version: u8,
    media_type: String,
    manifests: Vec<Descriptor>,
}

/// All records, sorted by name.
pub(super) fn read(inner: &Inner) -> Result<Vec<ImageRecord>> {
    let file: Option<IndexFile> = read_json(&inner.root.join("index.json"))?;
    let manifests = file.map(|file| file.manifests).unwrap_or_default();
    let mut records: Vec<ImageRecord> = manifests.into_iter().filter_map(record).collect();
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

pub(super) fn write(inner: &Inner, records: &[ImageRecord]) -> Result<()> {
    let manifests = records.iter().map(descriptor).collect();
    let media_type = media::INDEX.to_owned();
    let file = IndexFile { schema_version: 2, media_type, manifests };
    write_json(&inner.root.join("index.json"), &file)
}

pub(super) fn put(inner: &Inner, name: String, target: Descriptor, labels: Labels) -> Result<()> {
    let _held = inner.lock();
    let mut records = read(inner)?;
    let updated = Time::now();
    let created = records.iter().find(|record| record.name == name).map(|record| record.created);
    records.retain(|record| record.name != name);
    let created = created.unwrap_or(updated);
    records.push(ImageRecord { name, target, labels, created, updated });
    write(inner, &records)
}

pub(super) fn remove(inner: &Inner, name: &str) -> Result<()> {
    let _held = inner.lock();
    let mut records = read(inner)?;
    records.retain(|record| record.name != name);
    write(inner, &records)
}

fn descriptor(record: &ImageRecord) -> Descriptor {
    let mut descriptor = record
        .target
        .clone()
        .annotate(NAME, &record.name)
        .annotate(CREATED, &record.created.to_string())
        .annotate(UPDATED, &record.updated.to_string());
    for (key, value) in &record.labels {
        descriptor = descriptor.annotate(&format!("{LABEL}{key}"), value);
    }
    descriptor
}

/// An entry without a name is none of ours.
fn record(mut descriptor: Descriptor) -> Option<ImageRecord> {
    let mut annotations = descriptor.annotations.take()?;
    let name = annotations.remove(NAME)?;
    let mut time = |key| annotations.remove(key).and_then(|text| text.parse().ok());
    let created = time(CREATED).unwrap_or(Time::from_unix(0, 0));
    let updated = time(UPDATED).unwrap_or(created);
    let label = |key: &String| key.strip_prefix(LABEL).map(str::to_owned);
    let labels = annotations.iter().filter_map(|(key, value)| Some((label(key)?, value.clone())));
    let labels = labels.collect();
    annotations.retain(|key, _| !key.starts_with(LABEL));
    descriptor.annotations = (!annotations.is_empty()).then_some(annotations);
    Some(ImageRecord { name, target: descriptor, labels, created, updated })
}
