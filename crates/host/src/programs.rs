//! Programs the platform works with, and their versions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Longest a program may take to tell its version.
const DEADLINE: Duration = Duration::from_millis(1200);

/// A version, as far as it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// The first `a.b` or `a.b.c` in a text, e.g. in `mke2fs 1.47.0 (5-Feb-2023)`.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut parts = word.split('.').map(str::parse);
            let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
            Some(Self(major, minor, parts.next().and_then(Result::ok).unwrap_or(0)))
        })
    }
}

/// What a program is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The platform does not run without it.
    Always,
    /// Only this does not work without it.
    For(&'static str),
}

/// A program the platform works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What makes it tell its version.
    pub flag: &'static str,
    /// The oldest version that works.
    pub oldest: Version,
    /// What it is needed for.
    pub need: Need,
    /// The package of Debian and Ubuntu that has it.
    pub package: &'static str,
}

const fn program(
    name: &'static str,
    flag: &'static str,
    oldest: Version,
    need: Need,
    package: &'static str,
) -> Program {
    Program { name, flag, oldest, need, package }
}

/// The emulator of this architecture.
const QEMU: &str =
    if cfg!(target_arch = "aarch64") { "qemu-system-aarch64" } else { "qemu-system-x86_64" };
const QEMU_PACKAGE: &str =
    if cfg!(target_arch = "aarch64") { "qemu-system-arm" } else { "qemu-system-x86" };

/// All of them. Oldest versions: containerd and runc are what Debian 12 has, nft what has JSON sets
/// with intervals, the rest what Ubuntu 22.04 has.
pub const PROGRAMS: [Program; 11] = [
    program("containerd", "--version", Version(1, 6, 0), Need::Always, "containerd"),
    program("runc", "--version", Version(1, 1, 0), Need::Always, "runc"),
    program("nft", "--version", Version(1, 0, 0), Need::Always, "nftables"),
    program("ps", "--version", Version(3, 3, 0), Need::For("hull top"), "procps"),
    program("mkfs.ext4", "-V", Version(1, 46, 0), Need::For("volumes with a size"), "e2fsprogs"),
    program("mkfs.xfs", "-V", Version(5, 13, 0), Need::For("volumes of xfs"), "xfsprogs"),
    program("btrfs", "--version", Version(5, 16, 0), Need::For("repairing btrfs"), "btrfs-progs"),
    program(QEMU, "--version", Version(6, 2, 0), Need::For("virtual machines"), QEMU_PACKAGE),
    program("swtpm", "--version", Version(0, 6, 0), Need::For("machines with a TPM"), "swtpm"),
    program("buildah", "--version", Version(1, 23, 0), Need::For("docker build"), "buildah"),
    program("qemu-img", "--version", Version(6, 2, 0), Need::For("machine images"), "qemu-utils"),
];

/// What asking a program for its version gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is not installed.
    Absent,
    /// It is there and did not answer, for this reason.
    Silent(String),
    /// Its version; `None` when it could not be read from the text.
    Is(Option<Version>),
}

impl Program {
    /// Where it is: in `PATH`, or where system programs are.
    pub fn path(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system =
            ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];
        std::env::split_paths(&path)
            .chain(system.map(PathBuf::from))
            .map(|dir| dir.join(self.name))
            .find(|file| file.is_file())
    }

    /// Asks it for its version.
    pub async fn ask(&self) -> Answer {
        let Some(path) = self.path() else { return Answer::Absent };
        let mut command = Command::new(path);
        command.arg(self.flag).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(DEADLINE, command.output()).await {
            Err(_) => Answer::Silent(format!("it did not end in {} ms", DEADLINE.as_millis())),
            Ok(Err(error)) => Answer::Silent(error.to_string()),
            Ok(Ok(output)) => {
                let text = [output.stdout, output.stderr].concat();
                Answer::Is(Version::find(&String::from_utf8_lossy(&text)))
            }
        }
    }
}

/// Versions of the programs by name; those not installed are absent. Runs each of them once, at the
/// same time.
pub async fn programs() -> BTreeMap<String, String> {
    let mut tasks = tokio::task::JoinSet::new();
    for program in PROGRAMS {
        tasks.spawn(async move { (program.name, program.ask().await) });
    }
    let mut found = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        if let Ok((name, Answer::Is(Some(version)))) = done {
            found.insert(name.to_owned(), version.to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, version) in [
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1", (1, 6, 20)),
            ("runc version 1.1.5+ds1\ncommit: 1.1.5", (1, 1, 5)),
            ("nftables v1.0.6 (Lester Gooch #5)", (1, 0, 6)),
            ("mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS", (1, 47, 0)),
            ("btrfs-progs v6.2 ", (6, 2, 0)),
            ("QEMU emulator version 7.2.22 (Debian 1:7.2)", (7, 2, 22)),
        ] {
            let (a, b, c) = version;
            assert_eq!(Version::find(text), Some(Version(a, b, c)), "{text}");
        }
        assert_eq!(Version::find("no version"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        let none = program("no-such-program", "-V", Version(1, 0, 0), Need::Always, "none");
        assert_eq!(none.ask().await, Answer::Absent);
    }
}
