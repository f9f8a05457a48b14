//! What a new volume or snapshot is copied from.

use std::fs::File;
use std::time::Duration;

use model::{Bytes, Error, Result};

use super::core::Core;
use super::image;
use super::publish;
use super::record::Layout;
use super::shelf::Place;
use crate::copy;
use crate::driver::{Method, Source};
use crate::fault::Fault;
use crate::filled::Filled;
use crate::kernel::freeze::Frozen;

/// Longest a volume in use is held still for its snapshot.
const HOLD: Duration = Duration::from_secs(10);
/// Times that is tried.
const ATTEMPTS: u32 = 3;

/// What is copied.
#[derive(Debug)]
pub struct Origin {
    /// Its place.
    pub place: Place,
    /// What people call it.
    pub name: String,
    /// Where its contents are.
    pub layout: Layout,
    /// The size limit it has.
    pub limit: Option<Bytes>,
    /// The size of its file system, when it is an image.
    pub laid: Option<Bytes>,
    /// How far its copy from an image had come.
    pub filled: Filled,
    /// It may be written to while it is copied.
    pub live: bool,
}

impl Core {
    /// What `source` names.
    ///
    /// # Errors
    /// `NotFound` with the field.
    pub(super) fn origin(&self, source: &Source) -> Result<Origin> {
        match source {
            Source::Snapshot(id) => {
                let (place, record) = self.snapshot(id).map_err(|error| error.at("source"))?;
                Ok(Origin {
                    place,
                    name: record.name,
                    layout: record.layout,
                    limit: record.limit,
                    laid: record.laid,
                    filled: record.filled,
                    live: false,
                })
            }
            Source::Volume(id) => {
                let (place, record) = self.volume(id).map_err(|error| error.at("source"))?;
                let live = match record.layout {
                    Layout::Image(_) => image::mounted(&place)?,
                    _ => !publish::users(&place)?.is_empty(),
                };
                Ok(Origin {
                    place,
                    name: record.name,
                    layout: record.layout,
                    limit: record.size,
                    laid: record.laid,
                    filled: record.filled,
                    live,
                })
            }
        }
    }

    /// Copies an image's file into `target`. One that is mounted is held still for the moment that
    /// takes: at once where files can share contents; else it is copied first while it is written to,
    /// and only what changed meanwhile is copied again while it is still.
    pub(super) fn copy_image(&self, origin: &Origin, target: &Place) -> Result<Method> {
        let what = || format!("{:?} cannot be copied", origin.name);
        let from = File::open(origin.place.image()).fault(what)?;
        let to = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(target.image())
            .fault(what)?;
        let method = if !origin.live {
            image::await_gone(&origin.place)?;
            let mut contents = copy::Contents::default();
            contents.copy(&from, &to).fault(what)?;
            if contents.shared > 0 { Method::Reflink } else { Method::Copy }
        } else if self.ground.reflink {
            self.held(origin, || Ok(rustix::fs::ioctl_ficlone(&to, &from)?))?;
            Method::Reflink
        } else {
            copy::Contents::default().copy(&from, &to).fault(what)?;
            self.steps.at("copy: first pass");
            self.held(origin, || copy::renew(&from, &to).map(drop))?;
            Method::Copy
        };
        to.sync_all().fault(what)?;
        Ok(method)
    }

    /// Does `work` while the origin's file system is held still; again when it was let go meanwhile,
    /// as the guard of a process that died a moment ago does.
    fn held(&self, origin: &Origin, mut work: impl FnMut() -> std::io::Result<()>) -> Result<()> {
        let what = || format!("{:?} cannot be copied while it is used", origin.name);
        for _ in 0..ATTEMPTS {
            let frozen = Frozen::new(&origin.place.mount(), HOLD).fault(what)?;
            self.steps.at("copy: frozen");
            let done = work();
            let held = frozen.release().fault(what)?;
            self.steps.at("copy: thawed");
            done.fault(what)?;
            if held {
                return Ok(());
            }
        }
        Err(Error::unavailable(format!(
            "{:?} could not be held still long enough to be copied ({} s at most)",
            origin.name,
            HOLD.as_secs()
        ))
        .next("stop the instances that use it and try again"))
    }

    /// Copies a tree of files.
    pub(super) fn copy_tree(&self, origin: &Origin, target: &std::path::Path) -> Result<Method> {
        let what = || format!("{:?} cannot be copied", origin.name);
        let from = File::open(origin.place.data()).fault(what)?;
        let to = File::open(target).fault(what)?;
        let tally = copy::tree(&from, &to, true, &|| self.steps.at("copy: file"))?;
        rustix::fs::syncfs(&to).fault(what)?;
        let shared = tally.written == 0 && tally.shared > 0;
        Ok(if shared { Method::Reflink } else { Method::Copy })
    }
}
