//! Taking in an OCI layout that lies in a directory.

use std::fs::File;
use std::io::ErrorKind as Io;
use std::path::Path;

use bytes::Bytes;
use model::image::Image;
use model::{Error, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::io::AsyncReadExt;

use super::ImportOptions;
use super::import::{Import, unreadable};
use super::intake::Intake;
use crate::local::Images;

const BUFFER: usize = 256 << 10;
const BLOBS: &str = "blobs/sha256";

/// Imports the layout at `path` into the store of `images`.
pub(crate) async fn import_directory(
    images: &Images,
    path: &Path,
    options: ImportOptions,
) -> Result<Vec<Image>> {
    let import = Import::begin(images, options).await?;
    let mut intake = Intake::new(&*import.leased, import.limits(), &import.id);
    let read = read_files(path, &mut intake).await;
    let outcome = import.conclude(intake, read).await;
    import.end(outcome).await
}

async fn read_files(path: &Path, intake: &mut Intake<'_>) -> Result<()> {
    read_file(path, "index.json", intake).await?;
    for part in ["blobs", BLOBS] {
        let found = std::fs::symlink_metadata(path.join(part)).map_err(|e| unusable(part, e))?;
        if !found.is_dir() {
            return Err(not_plain(part));
        }
    }
    let entries = std::fs::read_dir(path.join(BLOBS)).map_err(|error| unusable(BLOBS, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unusable(BLOBS, error))?;
        let name = format!("{BLOBS}/{}", entry.file_name().to_string_lossy());
        read_file(path, &name, intake).await?;
    }
    Ok(())
}

/// A link is not followed: a layout has none.
async fn read_file(root: &Path, name: &str, intake: &mut Intake<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(CWD, root.join(name), flags, Mode::empty());
    let file = File::from(opened.map_err(|error| unusable(name, error.into()))?);
    let metadata = file.metadata().map_err(|error| unusable(name, error))?;
    if !metadata.is_file() {
        return Err(not_plain(name));
    }
    intake.begin(name.to_owned(), metadata.len()).await?;
    let mut file = tokio::fs::File::from_std(file);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = file.read(&mut buffer).await.map_err(unreadable)?;
        if length == 0 {
            return intake.end().await;
        }
        intake.data(Bytes::copy_from_slice(&buffer[..length])).await?;
    }
}

fn unusable(name: &str, error: std::io::Error) -> Error {
    match error.kind() {
        Io::NotFound => Error::invalid(format!("it has no {name}"))
            .next("give the directory of an OCI layout, which has an index.json"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            not_plain(name)
        }
        _ => Error::unavailable(format!("its {name} cannot be read")).caused_by(error),
    }
}

fn not_plain(name: &str) -> Error {
    Error::invalid(format!("its {name} is not a plain file or directory"))
}
