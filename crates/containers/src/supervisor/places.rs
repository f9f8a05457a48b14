//! Where containerd's files are.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result};
use sha2::Digest;

use super::Settings;

/// Longest path of a socket (unix(7), `sun_path`, with its end).
const LONGEST_SOCKET: usize = 107;

/// What containerd appends to its socket's path for a second one.
const SECOND: &str = ".ttrpc";

/// The files of one containerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Lasting state.
    pub state: PathBuf,
    /// Run-time files.
    pub run: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
    /// Its configuration.
    pub configuration: PathBuf,
    /// What it says.
    pub log: PathBuf,
    /// The record of its process.
    pub identity: PathBuf,
    /// The version found, by the program's file.
    pub version: PathBuf,
}

impl Places {
    /// Makes the directories, for root only.
    pub(super) fn prepare(settings: &Settings) -> Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .context(ErrorKind::Invalid, || format!("{} is not a path", path.display()))
        };
        let (state, run) = (absolute(&settings.state)?, absolute(&settings.run)?);
        let socket = socket(&run);
        private(&state, 0o700)?;
        // Passed through, not looked into, by containers with users of their own.
        private(&run, 0o711)?;
        if let Some(directory) = socket.parent().filter(|directory| *directory != run) {
            private(directory, 0o700)?;
        }
        Ok(Self {
            configuration: run.join("containerd.toml"),
            identity: run.join("containerd.json"),
            log: state.join("containerd.log"),
            version: state.join("version.json"),
            socket,
            state,
            run,
        })
    }
}

/// Beside the other run-time files, or where the path is too long for a socket, in a short place
/// of its own that the path determines.
fn socket(run: &Path) -> PathBuf {
    let usual = run.join("containerd.sock");
    if usual.as_os_str().len() + SECOND.len() <= LONGEST_SOCKET {
        return usual;
    }
    let digest = hex::encode(sha2::Sha256::digest(run.as_os_str().as_encoded_bytes()));
    PathBuf::from(format!("/run/hull-{}/containerd.sock", &digest[..12]))
}

fn private(directory: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
    let set = made
        .and_then(|()| std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)));
    set.context(ErrorKind::Unavailable, || {
        format!("directory {} cannot be made", directory.display())
    })
}

/// Puts a file in place, whole or not at all, readable by root only.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let file = tempfile::NamedTempFile::new_in(directory)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()).map(|()| file))
        .context(ErrorKind::Exhausted, failed)?;
    file.persist(path).context(ErrorKind::Exhausted, failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_fits_its_address() {
        assert_eq!(socket(Path::new("/run/hull")), Path::new("/run/hull/containerd.sock"));
        let long = PathBuf::from(format!("/{}", "x".repeat(200)));
        let short = socket(&long);
        assert!(short.starts_with("/run"), "{}", short.display());
        assert!(short.as_os_str().len() + SECOND.len() <= LONGEST_SOCKET);
        assert_eq!(short, socket(&long));
    }
}
