//! The program containerd: where it is, which version, how it is started.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::{Places, places};

/// Oldest version known to work.
const OLDEST: (u32, u32) = (1, 6);

/// A log larger than this is put aside at the next start.
const LOG_LIMIT: u64 = 4 << 20;

/// A version of containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The program as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Its file.
    pub(super) file: PathBuf,
    /// Where it looks for its shims, and they for `runc`.
    search: OsString,
}

/// Finds the program. One that is named by a path is taken with what stands beside it: a containerd
/// with the shims of another version works until it does not.
pub(super) fn find(name: &Path) -> Result<Program> {
    let missing = || {
        Error::unsupported(format!("there is no program {}", name.display()))
            .next("install the distribution's package containerd")
    };
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let search = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    if name.components().count() == 1 {
        let mut files = std::env::split_paths(&search).map(|path| path.join(name));
        let file = files.find(runs).ok_or_else(missing)?;
        return Ok(Program { file, search });
    }
    let file = Some(name.to_owned()).filter(runs).ok_or_else(missing)?;
    let beside = file.parent().map(Path::to_owned);
    let places = beside.into_iter().chain(std::env::split_paths(&search));
    let search = std::env::join_paths(places).map_err(|error| {
        Error::invalid(format!("{} is in a directory with a colon in its name", name.display()))
            .caused_by(error)
    })?;
    Ok(Program { file, search })
}

/// Where programs are looked for, here and by containerd for its shims and `runc`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// By how much containerd's heap may grow between two collections, in percent (Go's `GOGC`, 100 unless
/// told). Takes two to three MiB off an idle one; starts take as long as before.
const GROWTH: &str = "50";

/// A version found earlier, and the file it was found in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    program: PathBuf,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    version: Version,
}

/// The program's version. Asking takes some 40 ms, so the answer is kept for as long as the file
/// stays the same.
pub(super) async fn version(program: &Path, places: &Places) -> Result<Version> {
    let meta = program
        .metadata()
        .context(ErrorKind::Unsupported, || format!("{} cannot be read", program.display()))?;
    let known = |version| Known {
        program: program.to_owned(),
        inode: meta.ino(),
        size: meta.size(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        version,
    };
    let kept: Option<Known> = std::fs::read_to_string(&places.version)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    if let Some(kept) = kept.filter(|kept| *kept == known(kept.version)) {
        return Ok(kept.version);
    }
    let version = ask(program).await?;
    if let Ok(text) = serde_json::to_string(&known(version)) {
        places::write(&places.version, &text)?;
    }
    Ok(version)
}

async fn ask(program: &Path) -> Result<Version> {
    let output = tokio::process::Command::new(program)
        .arg("--version")
        .output()
        .await
        .context(ErrorKind::Unsupported, || format!("{} cannot be run", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = parse(&text).ok_or_else(|| {
        Error::unsupported(format!("{} does not tell its version: {text:?}", program.display()))
    })?;
    if (version.major, version.minor) < OLDEST {
        return Err(Error::unsupported(format!("containerd {version} is too old"))
            .next("install containerd 1.6 or newer"));
    }
    Ok(version)
}

/// Reads `containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3` and
/// `containerd github.com/containerd/containerd/v2 v2.0.4 …`.
fn parse(text: &str) -> Option<Version> {
    text.split_whitespace().skip(1).find_map(|word| {
        let mut numbers = word.strip_prefix('v').unwrap_or(word).split(['.', '~', '-', '+']);
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Version { major, minor })
    })
}

/// Starts it in a session of its own, with nothing of our environment, so that it and its shims
/// outlive us and carry no secret.
pub(super) fn spawn(program: &Program, places: &Places) -> Result<Identity> {
    let log = open_log(&places.log)?;
    let failed = || format!("{} cannot be started", program.file.display());
    let errors = log.try_clone().context(ErrorKind::Exhausted, failed)?;
    let mut command = Command::new(&program.file);
    command
        .args(["--config".as_ref(), places.configuration.as_os_str()])
        .current_dir("/")
        .env_clear()
        .env("PATH", &program.search)
        .env("GOGC", GROWTH)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    #[expect(unsafe_code, reason = "the standard library has no safe way to begin a session")]
    // SAFETY: between fork and exec only one system call is made; nothing is allocated or locked.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
    let mut child = command.spawn().context(ErrorKind::Unavailable, failed)?;
    let identity = Identity::of(child.id());
    // It is a child until we end, and must be waited for then: that is all this thread does.
    std::thread::Builder::new()
        .name("containerd-wait".to_owned())
        .stack_size(64 << 10)
        .spawn(move || drop(child.wait()))
        .context(ErrorKind::Exhausted, failed)?;
    identity.ok_or_else(|| {
        Error::unavailable("containerd ended at once").next(format!("see {}", places.log.display()))
    })
}

fn open_log(path: &Path) -> Result<File> {
    if path.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        // Should this fail, the log goes on growing in its place.
        let _ = std::fs::rename(path, path.with_extension("log.1"));
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .context(ErrorKind::Exhausted, || format!("{} cannot be opened", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_told() {
        for (text, expected) in [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n",
                Some((1, 6)),
            ),
            (
                "containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da",
                Some((1, 7)),
            ),
            ("containerd github.com/containerd/containerd/v2 v2.0.4 1a43cb6a", Some((2, 0))),
            ("containerd github.com/containerd/containerd/v2 2.2.0-rc.1 ", Some((2, 2))),
            ("containerd", None),
        ] {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_program_that_is_not_there() {
        let error = find(Path::new("/nowhere/containerd")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.next_step().is_some());
        assert!(find(Path::new("sh")).is_ok());
    }

    #[test]
    fn what_stands_beside_a_program_is_found_first() {
        let first = |program: Program| std::env::split_paths(&program.search).next();
        let beside = find(Path::new("/bin/sh")).unwrap();
        assert_eq!(first(beside), Some(PathBuf::from("/bin")));
        let usual = find(Path::new("sh")).unwrap();
        assert_eq!(Some(usual.search), std::env::var_os("PATH"));
    }
}
