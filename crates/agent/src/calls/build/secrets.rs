//! Secrets of a build by buildah: files in memory, as long as it lasts. BuildKit asks for them itself.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use link::build::BuildSecrets;
use model::error::Context as _;
use model::{Error, ErrorKind, Result};

use crate::places::Places;
use crate::steps::{memory, release_memory};

/// Room on the file system for each file beyond its data.
const SLACK: usize = 8 << 10;
/// Bytes of an id.
const LONGEST: usize = 128;

/// Refuses an id that a builder's words would be taken apart at.
pub(super) fn check(id: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !id.is_empty() && id.len() <= LONGEST && id.chars().all(good) {
        return Ok(());
    }
    Err(Error::invalid(format!("{id:?} cannot be the id of a build's secret"))
        .at("secrets")
        .next("letters, digits, '_', '.' and '-' can"))
}

/// The files of a build's secrets, until this is dropped.
pub(super) struct Files {
    directory: PathBuf,
    ids: Vec<String>,
}

impl Files {
    /// Writes them.
    pub(super) fn write(places: &Places, job: &str, secrets: &BuildSecrets) -> Result<Self> {
        let directory = places.build_secrets().join(job);
        let size = secrets.values().map(|data| data.len() + SLACK).sum();
        // What is written in part goes, too.
        let files = Self { directory, ids: secrets.keys().cloned().collect() };
        memory(&files.directory, size, secrets.len(), None)?;
        for ((_, path), data) in files.list().iter().zip(secrets.values()) {
            write(path, data.bytes())
                .context(ErrorKind::Unavailable, || "a secret cannot be kept".to_owned())?;
        }
        Ok(files)
    }

    /// Each with its id. No path tells one.
    pub(super) fn list(&self) -> Vec<(String, PathBuf)> {
        let path = |index: usize| self.directory.join(index.to_string());
        self.ids.iter().enumerate().map(|(index, id)| (id.clone(), path(index))).collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = release_memory(&self.directory) {
            tracing::warn!(error = error.chain(), "secrets of a build cannot be removed");
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Removes those of builds of a daemon that died.
pub(super) fn clear(places: &Places) {
    let Ok(entries) = std::fs::read_dir(places.build_secrets()) else { return };
    for entry in entries.flatten() {
        if let Err(error) = release_memory(&entry.path()) {
            tracing::warn!(error = error.chain(), "secrets of an old build cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_word() {
        for good in ["npm", "A.b-c_1"] {
            check(good).unwrap();
        }
        for bad in ["", "a,src=/etc/shadow", "a b", "a=b", "a\nb", &"x".repeat(LONGEST + 1)] {
            assert_eq!(check(bad).unwrap_err().field(), Some("secrets"), "{bad:?}");
        }
    }
}
