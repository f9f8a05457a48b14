//! Snapshots: a copy of a volume as it is now.

use std::fs::File;

use model::{Bytes, Error, Result, Time};

use super::core::{Core, describe_snapshot};
use super::origin::Origin;
use super::record::{Layout, SnapshotRecord};
use super::shelf::{self, Place};
use super::stats;
use crate::driver::{CreateSnapshot, Method, SnapshotInfo, Source};
use crate::durable;
use crate::fault::Fault;
use crate::kernel::btrfs;

impl Core {
    /// Takes a snapshot.
    pub fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        let place = self.shelf.snapshot(&request.id);
        if let Some(found) = shelf::record::<SnapshotRecord>(&place)? {
            return answer(found, &request);
        }
        let origin = self.origin(&Source::Volume(request.volume.clone()))?;
        let what = || format!("snapshot {:?} cannot be taken", request.name);
        let draft = self.shelf.draft(&place)?;
        self.steps.at("snapshot: begun");
        let taken = Time::now();
        let method = self.take(&origin, &draft.place)?;
        self.steps.at("snapshot: contents");
        let record = SnapshotRecord {
            id: request.id,
            name: request.name.clone(),
            volume: request.volume,
            layout: if origin.layout == Layout::Project {
                Layout::Directory
            } else {
                origin.layout
            },
            limit: origin.limit,
            laid: origin.laid,
            size: Some(needed(&origin, &draft.place)?),
            method,
            consistent: consistent(&origin),
            filled: origin.filled,
            taken,
        };
        durable::write(&draft.place.record(), &record).fault(what)?;
        self.steps.at("snapshot: recorded");
        draft.keep(&place).fault(what)?;
        self.steps.at("snapshot: done");
        Ok(describe_snapshot(record))
    }

    fn take(&self, origin: &Origin, place: &Place) -> Result<Method> {
        let what = || format!("{:?} cannot be copied", origin.name);
        match origin.layout {
            Layout::Image(_) => self.copy_image(origin, place),
            Layout::Subvolume => {
                // What was written but not yet sent to the disk belongs to this moment too.
                File::open(origin.place.data())
                    .and_then(|data| Ok(rustix::fs::syncfs(data)?))
                    .fault(what)?;
                btrfs::snapshot(&origin.place.data(), &place.data(), true).fault(what)?;
                Ok(Method::Btrfs)
            }
            Layout::Directory | Layout::Project => {
                std::fs::create_dir(place.data()).fault(what)?;
                self.copy_tree(origin, &place.data())
            }
        }
    }
}

/// Whether the copy shows one moment.
fn consistent(origin: &Origin) -> bool {
    match origin.layout {
        Layout::Image(_) | Layout::Subvolume => true,
        Layout::Directory | Layout::Project => !origin.live,
    }
}

/// Bytes a volume needs to hold the copy.
fn needed(origin: &Origin, place: &Place) -> Result<Bytes> {
    let what = || format!("the copy of {:?} cannot be measured", origin.name);
    match origin.layout {
        Layout::Image(_) => Ok(origin.limit.unwrap_or_default()),
        Layout::Subvolume => match btrfs::referenced(&place.data()).fault(what)? {
            Some(bytes) => Ok(Bytes(bytes)),
            None => Ok(stats::walk(&place.data()).fault(what)?.bytes),
        },
        Layout::Directory | Layout::Project => Ok(stats::walk(&place.data()).fault(what)?.bytes),
    }
}

fn answer(found: SnapshotRecord, request: &CreateSnapshot) -> Result<SnapshotInfo> {
    if found.volume == request.volume {
        return Ok(describe_snapshot(found));
    }
    Err(Error::exists(format!("snapshot {:?} exists and is of another volume", found.name))
        .next("use another name, or remove the snapshot first"))
}
