//! Populate: what an image has becomes the first contents of a plugin's volume.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use model::{Bytes, Error, Result};

use super::looks::{Looks, apart};
use super::record::{Record, Shelf, blocking};
use crate::copy::{self, Tally};
use crate::driver::{Populate, Populated};
use crate::fault::Fault;
use crate::filled::Filled;

/// Fills the volume that is mounted at `path`.
pub async fn fill(
    shelf: &Shelf,
    looks: &Looks,
    mut record: Record,
    path: PathBuf,
    source: Populate,
) -> Result<Populated> {
    if record.filled == Filled::Done {
        return Ok(Populated::InUse);
    }
    let begun = record.filled.is_interrupted();
    let name = record.name.clone();
    let (looked, asked) = (path.clone(), source.clone());
    if !begun {
        let what = format!("volume {name:?} cannot be read");
        let look = move || copy::is_empty(&looked).fault(|| what);
        let storage = || format!("the storage of volume {name:?}");
        let empty = looks.look(&record.id, storage, look).await?;
        if !empty {
            record.filled = Filled::Done;
            shelf.put(&record).await?;
            return Ok(Populated::InUse);
        }
    }
    let from = blocking(move || copy::open_inside(&asked.root, &asked.path)).await?;
    let Some(from) = from else {
        if let Some((user, group)) = source.owner {
            let what = format!("volume {name:?} cannot be given to its owner");
            let chown = move || std::os::unix::fs::chown(&path, Some(user), Some(group));
            apart(move || chown().fault(|| what)).await?;
        }
        return Ok(Populated::NothingToCopy);
    };
    record.filled = Filled::Copying;
    shelf.put(&record).await?;
    let tally = apart(move || copy_in(&name, &from, &path, begun)).await?;
    record.filled = if tally.files == 0 { Filled::No } else { Filled::Done };
    shelf.put(&record).await?;
    Ok(match tally {
        Tally { files: 0, .. } => Populated::NothingToCopy,
        Tally { files, shared, written } => {
            Populated::Filled { files, bytes: Bytes(shared + written) }
        }
    })
}

fn copy_in(name: &str, from: &File, path: &Path, begun: bool) -> Result<Tally> {
    let what = || format!("volume {name:?} cannot be filled");
    if begun {
        clear_copies(from, path).fault(what)?;
    }
    let to = File::open(path).fault(what)?;
    let copied = copy::tree(from, &to, true, &|| {}).and_then(|tally| {
        rustix::fs::syncfs(&to).fault(what)?;
        Ok(tally)
    });
    copied.map_err(|error| {
        let next = error.next_step().unwrap_or("look at the cause").to_owned();
        Error::new(error.kind(), what()).next(next).caused_by(error)
    })
}

/// Removes what an interrupted copy may have made. Others may use the storage, too: what the image does
/// not have is left alone.
fn clear_copies(from: &File, path: &Path) -> std::io::Result<()> {
    for entry in rustix::fs::Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let copy = path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
        let removed = match fs::symlink_metadata(&copy) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&copy),
            Ok(_) => fs::remove_file(&copy),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
