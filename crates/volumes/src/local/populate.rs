//! Populate: the files of an image become the first contents of a volume.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use model::{Bytes, Error, Result};

use super::core::Core;
use super::record::{Layout, VolumeRecord};
use super::shelf::Place;
use crate::copy::{self, LOST_AND_FOUND, Tally};
use crate::driver::{Populate, Populated, VolumeId};
use crate::fault::Fault;
use crate::filled::Filled;
use crate::kernel::btrfs;

impl Core {
    /// Fills a volume.
    pub fn populate(&self, id: &VolumeId, source: &Populate) -> Result<Populated> {
        let (place, mut record) = self.volume(id)?;
        if record.filled == Filled::Done {
            return Ok(Populated::InUse);
        }
        let contents = place.contents(record.layout);
        if !self.ready(&place, &record)? || !contents.is_dir() {
            return Err(Error::conflict(format!("volume {:?} is not mounted", record.name))
                .next("stage it first"));
        }
        let what = || format!("volume {:?} cannot be filled", record.name);
        if record.filled.is_interrupted() {
            clear(&contents).fault(what)?;
        } else if !copy::is_empty(&contents).fault(what)? {
            self.mark(&place, &mut record, Filled::Done)?;
            return Ok(Populated::InUse);
        }
        let Some(from) = copy::open_inside(&source.root, &source.path)? else {
            if let Some((user, group)) = source.owner {
                std::os::unix::fs::chown(&contents, Some(user), Some(group)).fault(what)?;
            }
            self.mark(&place, &mut record, Filled::No)?;
            return Ok(Populated::NothingToCopy);
        };
        self.fill(&place, &mut record, &from, &contents)
    }

    fn fill(
        &self,
        place: &Place,
        record: &mut VolumeRecord,
        from: &File,
        contents: &Path,
    ) -> Result<Populated> {
        let what = format!("volume {:?} cannot be filled", record.name);
        let with_root = !record.options.choose_root();
        let to = File::open(contents).fault(|| what.clone())?;
        self.mark(place, record, Filled::Copying)?;
        self.steps.at("populate: begun");
        let copied = copy::tree(from, &to, with_root, &|| self.steps.at("populate: file"))
            .and_then(|tally| {
                rustix::fs::syncfs(&to).fault(|| what.clone())?;
                refuse_overfull(record, contents)?;
                Ok(tally)
            });
        match copied {
            Ok(tally) => {
                self.steps.at("populate: copied");
                self.filled(place, record, tally)
            }
            Err(error) => {
                clear(contents).fault(|| what.clone())?;
                self.mark(place, record, Filled::No)?;
                let next = error.next_step().unwrap_or("look at the cause").to_owned();
                Err(Error::new(error.kind(), what).next(next).caused_by(error))
            }
        }
    }

    fn filled(&self, place: &Place, record: &mut VolumeRecord, tally: Tally) -> Result<Populated> {
        let Tally { files, shared, written } = tally;
        if files == 0 {
            self.mark(place, record, Filled::No)?;
            return Ok(Populated::NothingToCopy);
        }
        self.mark(place, record, Filled::Done)?;
        self.steps.at("populate: done");
        Ok(Populated::Filled { files, bytes: Bytes(shared + written) })
    }

    fn mark(&self, place: &Place, record: &mut VolumeRecord, filled: Filled) -> Result<()> {
        if record.filled != filled {
            record.filled = filled;
            self.save(place, record)?;
        }
        Ok(())
    }
}

/// Refuses more than the size. The kernel does when bytes are written, but reflinks write none.
fn refuse_overfull(record: &VolumeRecord, contents: &Path) -> Result<()> {
    let (Layout::Subvolume, Some(size)) = (record.layout, record.size) else { return Ok(()) };
    let what = || format!("volume {:?} cannot be measured", record.name);
    match btrfs::referenced(contents).fault(what)?.map(Bytes) {
        Some(used) if used > size => {
            Err(Error::exhausted(format!("{used} do not fit into {size}"))
                .next("make the volume larger"))
        }
        _ => Ok(()),
    }
}

/// Removes the contents of a directory, not the directory.
fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == LOST_AND_FOUND {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
