//! What shares directories with guests: `virtiofsd`, of which there are two. The one that came with QEMU
//! to 7.2 takes its settings by `-o`; the one that took its place has words of its own. Which it is, the
//! program is asked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where distributions have it, the newer one first.
const PLACES: [&str; 4] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/libexec/qemu/virtiofsd",
];
/// Most that is read of what a program says of itself.
const LONGEST: u64 = 64 << 10;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// QEMU's own, to 7.2.
    Qemu,
    /// The one of the virtio-fs project, in Rust.
    VirtioFs,
}

/// A `virtiofsd` that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Virtiofsd {
    /// The program.
    pub program: PathBuf,
    /// How it is spoken to.
    pub dialect: Dialect,
}

/// Finds one; what is there and cannot be used is passed over.
#[must_use]
pub fn virtiofsd() -> Option<Virtiofsd> {
    let there = PLACES.iter().map(Path::new).filter(|place| place.is_file());
    there.into_iter().find_map(|program| {
        let dialect = dialect(&ask(program)?)?;
        Some(Virtiofsd { program: program.to_owned(), dialect })
    })
}

fn ask(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut asked = command.spawn().ok()?;
    let mut told = Vec::new();
    let read = asked.stdout.take()?.take(LONGEST).read_to_end(&mut told);
    let ended = asked.wait();
    read.ok()?;
    ended.ok()?;
    Some(String::from_utf8_lossy(&told).into_owned())
}

/// By the words it knows; all that are used must be among them.
fn dialect(help: &str) -> Option<Dialect> {
    let knows = |words: &[&str]| words.iter().all(|word| help.contains(word));
    if knows(&["--shared-dir", "--inode-file-handles", "--sandbox", "--modcaps", "--rlimit-nofile"])
    {
        Some(Dialect::VirtioFs)
    } else if knows(&["source=PATH", "--fd=", "sandbox=", "modcaps=", "--rlimit-nofile"]) {
        Some(Dialect::Qemu)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_apart_by_what_they_say() {
        let qemu = "usage: virtiofsd\n --fd=FDNUM\n -o sandbox=namespace|chroot\n \
                    -o modcaps=CAPLIST\n --rlimit-nofile=<num>\n -o source=PATH";
        let newer = "Usage: virtiofsd\n --shared-dir <SHARED_DIR>\n --inode-file-handles <H>\n --sandbox <S>\n \
                     --modcaps <MODCAPS>\n --rlimit-nofile <N>\n --readonly";
        for (help, expected) in [
            (qemu, Some(Dialect::Qemu)),
            (newer, Some(Dialect::VirtioFs)),
            ("usage: virtiofsd\n --fd=FDNUM\n -o source=PATH", None),
            ("", None),
        ] {
            assert_eq!(dialect(help), expected, "{help}");
        }
    }
}
