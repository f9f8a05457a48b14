//! Where things lie in the driver's directory.
//!
//! ```text
//! lock                       held by the one process that may touch any of this
//! new/                       being made; cleared when the directory is opened
//! trash/                     being removed; the same
//! volumes/<id>/record.json   what is remembered
//!              data/         contents of a directory or subvolume
//!              image         contents of an image
//!              mount/        where the image is mounted; refuses writes while it is not
//!              mount/data/   the image's contents, while mounted
//!              users/<name>  one empty file for each consumer
//! snapshots/<id>/…           record.json, and data/ or image
//! ```
//! A volume appears and disappears by one rename between `volumes/` and `new/` or `trash/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::{Error, Result};
use serde::de::DeserializeOwned;

use super::record::Layout;
use crate::driver::VolumeId;
use crate::durable;
use crate::fault::Fault;
use crate::remove;

/// The driver's directory.
#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
}

/// One volume's or snapshot's directory.
#[derive(Debug, Clone)]
pub struct Place(pub PathBuf);

impl Place {
    /// The record.
    pub fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    /// Contents of a directory or subvolume.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Contents of an image.
    pub fn image(&self) -> PathBuf {
        self.0.join("image")
    }

    /// Where the image is mounted.
    pub fn mount(&self) -> PathBuf {
        self.0.join("mount")
    }

    /// The directory of consumers.
    pub fn users(&self) -> PathBuf {
        self.0.join("users")
    }

    /// Where consumers find the contents. An image's lie one directory below its mount point: so the
    /// path does not exist while it is not mounted, and `lost+found` is not among them.
    pub fn contents(&self, layout: Layout) -> PathBuf {
        match layout {
            Layout::Directory | Layout::Project | Layout::Subvolume => self.data(),
            Layout::Image(_) => self.mount().join("data"),
        }
    }
}

impl Shelf {
    /// Lays out the directory `root`, which must exist.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(root: PathBuf) -> io::Result<Self> {
        let shelf = Self { root };
        for part in ["new", "trash", "volumes", "snapshots"] {
            fs::create_dir_all(shelf.root.join(part))?;
        }
        Ok(shelf)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A volume's place.
    pub fn volume(&self, id: &VolumeId) -> Place {
        Place(self.root.join("volumes").join(id.as_str()))
    }

    /// A snapshot's place.
    pub fn snapshot(&self, id: &VolumeId) -> Place {
        Place(self.root.join("snapshots").join(id.as_str()))
    }

    /// An empty place to make `final_place` in.
    ///
    /// # Errors
    /// The file system's.
    pub fn draft(&self, final_place: &Place) -> Result<Draft> {
        let path = self.moved("new", final_place);
        let what = || format!("{} cannot be made", path.display());
        remove::all(&path).fault(what)?;
        fs::create_dir(&path).fault(what)?;
        Ok(Draft { place: Place(path.clone()), kept: false })
    }

    /// Takes a place away in one step; what was in it is removed afterwards.
    ///
    /// # Errors
    /// The file system's.
    pub fn discard(&self, place: &Place, between: impl Fn()) -> io::Result<()> {
        let path = self.moved("trash", place);
        remove::all(&path)?;
        match durable::rename(&place.0, &path) {
            Err(error) if durable::absent(&error) => return Ok(()),
            other => other?,
        }
        between();
        remove::all(&path)
    }

    /// Removes what was being made or removed when the last process ended.
    ///
    /// # Errors
    /// The file system's.
    pub fn clear(&self) -> io::Result<()> {
        for part in ["new", "trash"] {
            for entry in fs::read_dir(self.root.join(part))? {
                remove::all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Ids of all volumes, sorted.
    ///
    /// # Errors
    /// The file system's.
    pub fn volumes(&self) -> Result<Vec<VolumeId>> {
        self.ids("volumes")
    }

    /// Ids of all snapshots, sorted.
    ///
    /// # Errors
    /// The file system's.
    pub fn snapshots(&self) -> Result<Vec<VolumeId>> {
        self.ids("snapshots")
    }

    fn ids(&self, part: &str) -> Result<Vec<VolumeId>> {
        let directory = self.root.join(part);
        let what = || format!("{} cannot be read", directory.display());
        let mut ids = Vec::new();
        for entry in fs::read_dir(&directory).fault(what)? {
            let name = entry.fault(what)?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        ids.sort();
        Ok(ids)
    }

    /// A name in `part` that is the place's alone: `new/volumes-<id>`.
    fn moved(&self, part: &str, place: &Place) -> PathBuf {
        let relative = place.0.strip_prefix(&self.root).unwrap_or(&place.0);
        self.root.join(part).join(relative.to_string_lossy().replace('/', "-"))
    }
}

/// Reads the record of a place; `None` when there is no such place.
///
/// # Errors
/// `Internal` when it cannot be understood.
pub fn record<T: DeserializeOwned>(place: &Place) -> Result<Option<T>> {
    durable::read(&place.record()).map_err(|error| {
        Error::internal(format!("{} cannot be read", place.record().display()))
            .next("restore it from a backup; the contents beside it are untouched")
            .caused_by(error)
    })
}

/// A place being made; removed again unless it is kept.
#[derive(Debug)]
pub struct Draft {
    /// Where it is being made.
    pub place: Place,
    kept: bool,
}

impl Draft {
    /// Moves it to its own place, complete.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep(mut self, place: &Place) -> io::Result<()> {
        durable::sync(&self.place.0)?;
        durable::rename(&self.place.0, &place.0)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = remove::all(&self.place.0)
        {
            let path = self.place.0.display();
            tracing::warn!(%error, %path, "leftover is removed at the next start");
        }
    }
}
