//! The init of containers that ask for one: process 1 that starts the program, passes signals on and
//! reaps what is left to it.
//!
//! It must run in any root, so it has to be a static program. One of the distribution's is used if
//! there is one, else one built together with this crate; `hull init` is the same code as a mode of
//! the program, for roots that can run it.

mod reaper;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result};

pub use reaper::run;

use crate::spec::Init;

/// The word that makes the program an init.
pub const MODE: &str = "init";

/// The program built with this crate; empty where that was not possible.
const OWN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Inits of distributions that take `-- program arguments`.
const KNOWN: [&str; 7] = [
    "/usr/bin/tini-static",
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
    "/usr/libexec/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/bin/tini",
    "/sbin/tini",
];

/// A static init: the distribution's, else our own put into `directory`, else `hull` itself if it is
/// a static program. `None` if there is none.
pub(crate) fn find(program: &Path, directory: &Path) -> Result<Option<Init>> {
    let known = KNOWN.iter().map(PathBuf::from).find(|path| is_static(path));
    if let Some(source) = known {
        return Ok(Some(Init { source }));
    }
    if !OWN.is_empty() {
        return put(directory).map(Some);
    }
    Ok(is_static(program).then(|| Init { source: program.to_owned() }))
}

/// Writes our own, unless it is there.
fn put(directory: &Path) -> Result<Init> {
    use std::os::unix::fs::PermissionsExt;
    let source = directory.join("init");
    if std::fs::read(&source).is_ok_and(|there| there == OWN) {
        return Ok(Init { source });
    }
    let failed = || format!("{} cannot be written", source.display());
    let file = tempfile::NamedTempFile::new_in(directory).context(ErrorKind::Exhausted, failed)?;
    std::fs::write(file.path(), OWN).context(ErrorKind::Exhausted, failed)?;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(file.path(), mode).context(ErrorKind::Exhausted, failed)?;
    file.persist(&source).context(ErrorKind::Exhausted, failed)?;
    Ok(Init { source })
}

/// Whether a file is a program that needs no other: 64-bit ELF without an interpreter (elf(5)).
fn is_static(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && interpreter(&head) == Some(false)
}

/// Whether a program names an interpreter; `None` for what is no 64-bit little-endian program.
fn interpreter(head: &[u8]) -> Option<bool> {
    const INTERP: u32 = 3;
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    if head.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let mut found = false;
    for i in 0..count {
        let at = usize::try_from(table + i * size).ok()?;
        found |= number(at, 4)? == u64::from(INTERP);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_with_and_without_an_interpreter() {
        assert!(!is_static(Path::new("/bin/sh")));
        assert!(!is_static(Path::new("/etc/passwd")));
        let directory = tempfile::tempdir().unwrap();
        if !OWN.is_empty() {
            let init = put(directory.path()).unwrap();
            assert!(is_static(&init.source));
        }
    }

    #[test]
    fn our_own_passes_the_exit_code_on() {
        let directory = tempfile::tempdir().unwrap();
        if OWN.is_empty() {
            return;
        }
        let init = put(directory.path()).unwrap();
        for (script, code) in [("exit 7", 7), ("kill -9 $$", 137), ("(sleep 0 &) ; exit 3", 3)] {
            let status = std::process::Command::new(&init.source)
                .args(["--", "sh", "-c", script])
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(code), "{script}");
        }
        let missing = std::process::Command::new(&init.source).args(["--", "/no"]).status();
        assert_eq!(missing.unwrap().code(), Some(127));
    }
}
