//! Expand: the size is raised, also while the volume is in use.

use model::{Bytes, Error, Result};

use super::core::Core;
use super::image;
use super::options::Filesystem;
use super::publish;
use super::record::{Layout, VolumeRecord};
use super::shelf::Place;
use crate::driver::{Expanded, VolumeId};
use crate::fault::Fault;
use crate::kernel::{btrfs, project};

impl Core {
    /// Raises the size of a volume, and of its file system when that is mounted.
    pub fn expand(&self, id: &VolumeId, size: Bytes) -> Result<Expanded> {
        let (place, mut record) = self.volume(id)?;
        refuse_smaller(&record, size)?;
        if record.size == Some(size) {
            self.expand_image(&place, &mut record)?;
            return Ok(Expanded { size, node_expansion_required: false });
        }
        self.refuse_larger_than_disk(&record.name, size)?;
        let what = || format!("volume {:?} cannot be grown", record.name);
        match record.layout {
            Layout::Subvolume => btrfs::limit(&place.data(), Some(size.0)).fault(what)?,
            Layout::Project => project::limit(&place.data(), Some(size.0)).fault(what)?,
            Layout::Image(filesystem) => self.lengthen(&place, &record, filesystem, size)?,
            Layout::Directory => {}
        }
        self.steps.at("expand: longer");
        record.size = Some(size);
        self.save(&place, &record)?;
        self.steps.at("expand: recorded");
        self.expand_image(&place, &mut record)?;
        self.steps.at("expand: done");
        Ok(Expanded { size, node_expansion_required: false })
    }

    /// Gives a staged volume the size it should have.
    pub fn expand_staged(&self, id: &VolumeId) -> Result<()> {
        let (place, mut record) = self.volume(id)?;
        self.expand_image(&place, &mut record)
    }

    fn expand_image(&self, place: &Place, record: &mut VolumeRecord) -> Result<()> {
        match record.layout {
            Layout::Image(filesystem) if record.laid != record.size && image::mounted(place)? => {
                self.grow_staged(place, record, filesystem)
            }
            _ => Ok(()),
        }
    }

    /// Gives the image's file its new length. An ext4 that this process may not grow while it is
    /// mounted is unmounted first when nobody uses it, and grows when it is staged again.
    fn lengthen(
        &self,
        place: &Place,
        record: &VolumeRecord,
        filesystem: Filesystem,
        size: Bytes,
    ) -> Result<()> {
        let offline = filesystem == Filesystem::Ext4 && !self.ground.grows_ext4;
        if offline && image::mounted(place)? {
            if !publish::users(place)?.is_empty() {
                return Err(Error::unsupported(format!(
                    "volume {:?} cannot be grown while it is used: it holds an ext4 file system, and \
                     the platform lacks CAP_SYS_RESOURCE, which growing that while it is mounted takes",
                    record.name
                ))
                .next(
                    "stop the instances that use it: it grows then. Volumes from 300 MiB on are made \
                     with xfs here and grow while they are used",
                ));
            }
            image::unmount(place)?;
        }
        let longer = VolumeRecord { size: Some(size), ..record.clone() };
        self.fit(place, &longer)
    }

    /// Refuses a size that the disk could never hold.
    pub(super) fn refuse_larger_than_disk(&self, name: &str, size: Bytes) -> Result<()> {
        let disk = self.capacity()?.total;
        if size <= disk {
            return Ok(());
        }
        Err(Error::exhausted(format!(
            "volume {name:?} cannot have {size}: the disk below has {disk}"
        ))
        .at("size")
        .next("ask for less, or choose another storage service"))
    }
}

fn refuse_smaller(record: &VolumeRecord, size: Bytes) -> Result<()> {
    match record.size {
        None => Err(Error::invalid(format!(
            "volume {:?} has no size to raise: it has as much as the disk",
            record.name
        ))
        .at("size")),
        Some(now) if size < now => Err(Error::invalid(format!(
            "volume {:?} has {now} and cannot be made smaller",
            record.name
        ))
        .at("size")),
        Some(_) => Ok(()),
    }
}
