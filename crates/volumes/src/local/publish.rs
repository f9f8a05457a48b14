//! Publish and unpublish: who uses a volume.
//!
//! A consumer is an empty file in `users/`. It is not written out with care: after a power cut whoever
//! keeps the instances publishes again.

use std::fs::{self, File};
use std::path::PathBuf;

use model::{Error, ErrorKind, Result};

use super::core::Core;
use super::record::VolumeRecord;
use super::shelf::Place;
use crate::driver::{Publish, VolumeId};
use crate::durable::absent;
use crate::fault::Fault;

impl Core {
    /// Counts a consumer and answers where the contents are.
    pub fn publish(&self, request: &Publish) -> Result<PathBuf> {
        let (place, record) = self.volume(&request.volume)?;
        let consumer = consumer(&request.consumer)?;
        let contents = place.contents(record.layout);
        if !self.ready(&place, &record)? || !contents.is_dir() {
            return Err(Error::conflict(format!("volume {:?} is not mounted", record.name))
                .next("stage it first"));
        }
        if record.filled.is_interrupted() {
            return Err(Error::conflict(format!(
                "the copy of an image's files into volume {:?} was interrupted",
                record.name
            ))
            .next("start the instance whose image it is filled from"));
        }
        File::create(place.users().join(consumer.as_str()))
            .fault(|| format!("volume {:?} cannot be given to {consumer}", record.name))?;
        Ok(contents)
    }

    /// Takes a consumer away.
    pub fn unpublish(&self, id: &VolumeId, name: &str) -> Result<()> {
        let file = self.shelf.volume(id).users().join(consumer(name)?.as_str());
        match fs::remove_file(file) {
            Err(error) if absent(&error) => Ok(()),
            other => other.fault(|| format!("volume {id} cannot be taken from {name}")),
        }
    }
}

/// A consumer's name becomes a file's, so it has the rules of an id.
fn consumer(name: &str) -> Result<VolumeId> {
    name.parse().map_err(|error: Error| {
        Error::new(ErrorKind::Invalid, format!("{name:?} cannot be a volume's consumer"))
            .at("consumer")
            .caused_by(error)
    })
}

/// The consumers of a volume, sorted.
pub(super) fn users(place: &Place) -> Result<Vec<String>> {
    let what = || format!("{} cannot be read", place.users().display());
    let entries = match fs::read_dir(place.users()) {
        Err(error) if absent(&error) => return Ok(Vec::new()),
        other => other.fault(what)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.fault(what)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Refuses what must not happen to a volume in use.
pub(super) fn refuse_used(place: &Place, record: &VolumeRecord, verb: &str) -> Result<()> {
    let users = users(place)?;
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "volume {:?} is used by {} and cannot be {verb}",
        record.name,
        users.join(", ")
    ))
    .next("stop or remove what uses it"))
}
