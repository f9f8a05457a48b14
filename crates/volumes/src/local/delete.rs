//! Delete: a volume disappears in one step, its contents afterwards.

use model::{ErrorKind, Result};

use super::core::Core;
use super::image;
use super::publish;
use super::record::Layout;
use crate::driver::VolumeId;
use crate::fault::Fault;

impl Core {
    /// Removes a volume.
    pub fn delete(&self, id: &VolumeId) -> Result<()> {
        let (place, record) = match self.volume(id) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        publish::refuse_used(&place, &record, "removed")?;
        if let Layout::Image(_) = record.layout
            && image::mounted(&place)?
        {
            image::unmount(&place)?;
            self.steps.at("delete: unmounted");
        }
        self.shelf
            .discard(&place, || self.steps.at("delete: gone"))
            .fault(|| format!("volume {:?} cannot be removed", record.name))
    }

    /// Removes a snapshot.
    pub fn delete_snapshot(&self, id: &VolumeId) -> Result<()> {
        self.shelf
            .discard(&self.shelf.snapshot(id), || self.steps.at("delete: gone"))
            .fault(|| format!("snapshot {id} cannot be removed"))
    }
}
