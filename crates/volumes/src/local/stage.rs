//! Stage and unstage: an image's file system appears and disappears.

use std::fs::File;

use model::{Error, Result};

use super::core::Core;
use super::image;
use super::options::Filesystem;
use super::publish;
use super::record::{Layout, VolumeRecord};
use super::shelf::Place;
use crate::driver::VolumeId;
use crate::fault::Fault;

impl Core {
    /// Makes the contents reachable.
    pub fn stage(&self, id: &VolumeId) -> Result<()> {
        let (place, mut record) = self.volume(id)?;
        if let Layout::Image(filesystem) = record.layout {
            self.stage_image(&place, &mut record, filesystem)?;
        }
        if place.contents(record.layout).is_dir() {
            return Ok(());
        }
        Err(Error::internal(format!("the contents of volume {:?} are gone", record.name))
            .next("restore a snapshot or a backup"))
    }

    fn stage_image(
        &self,
        place: &Place,
        record: &mut VolumeRecord,
        filesystem: Filesystem,
    ) -> Result<()> {
        let online = filesystem == Filesystem::Xfs || self.ground.grows_ext4;
        if record.laid != record.size && !image::mounted(place)? {
            self.fit(place, record)?;
            if !online {
                image::grow_unmounted(place)?;
                self.laid(place, record)?;
            }
        }
        image::mount(place, filesystem, record.options.full)?;
        self.steps.at("stage: mounted");
        if record.laid != record.size && online {
            self.grow_staged(place, record, filesystem)?;
        }
        Ok(())
    }

    /// Gives a mounted file system the size of the record.
    pub(super) fn grow_staged(
        &self,
        place: &Place,
        record: &mut VolumeRecord,
        filesystem: Filesystem,
    ) -> Result<()> {
        if let Some(size) = record.size {
            image::grow_mounted(place, filesystem, size)?;
        }
        self.laid(place, record)
    }

    /// Gives the image's file the length of the record.
    pub(super) fn fit(&self, place: &Place, record: &VolumeRecord) -> Result<()> {
        let Some(size) = record.size else { return Ok(()) };
        let what = || format!("volume {:?} cannot have {size}", record.name);
        let file = File::options().read(true).write(true).open(place.image()).fault(what)?;
        image::lengthen(&file, size, record.options.full).fault(what)
    }

    fn laid(&self, place: &Place, record: &mut VolumeRecord) -> Result<()> {
        record.laid = record.size;
        self.save(place, record)
    }

    /// Undoes [`Core::stage`].
    pub fn unstage(&self, id: &VolumeId) -> Result<()> {
        let (place, record) = match self.volume(id) {
            Err(error) if error.kind() == model::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        publish::refuse_used(&place, &record, "unmounted")?;
        if let Layout::Image(_) = record.layout
            && image::mounted(&place)?
        {
            image::unmount(&place)?;
            self.steps.at("unstage: unmounted");
        }
        Ok(())
    }
}
