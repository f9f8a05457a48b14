//! What is mounted: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// The directory of the file system that is seen here; `/` unless it is a bind mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// The type of file system.
    pub filesystem: String,
    /// What was mounted, e.g. `/dev/loop3`.
    pub source: OsString,
}

/// All mounts this process sees, in the order they were made.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn all() -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The uppermost mount exactly at `target`.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn at(target: &Path) -> io::Result<Option<Mount>> {
    Ok(all()?.into_iter().rev().find(|mount| mount.target == target))
}

/// The mounts at `directory` and below it, the last made first: the order to take them away in.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn below(directory: &Path) -> io::Result<Vec<Mount>> {
    let mut found = all()?;
    found.retain(|mount| mount.target.starts_with(directory));
    found.reverse();
    Ok(found)
}

/// A process in whose mount namespace the device with these numbers is mounted.
pub fn holder(device: (u32, u32)) -> Option<u32> {
    let wanted = |line: &[u8]| parse(line).is_some_and(|mount| mount.device == device);
    let pids = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        // A process that has ended meanwhile has nothing mounted.
        let text = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        text.split(|&byte| byte == b'\n').any(wanted)
    })
}

/// Reads one line: `36 35 98:0 /root /target options [tags] - type source options`.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ').skip(2);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(fields.next()?).into();
    let target = unescape(fields.next()?).into();
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root,
        target,
        filesystem: String::from_utf8_lossy(rest.next()?).into_owned(),
        source: unescape(rest.next()?),
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match after.get(..3).filter(|_| byte == b'\\').and_then(octal) {
            Some(value) => {
                text.push(value);
                rest = &after[3..];
            }
            None => {
                text.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(text)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(text, 8).ok()
}

/// `path` without symbolic links in it, as mountinfo writes mount points.
///
/// # Errors
/// When it does not exist.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(path)?;
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.device, (98, 0));
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.target, Path::new("/a b\\c"));
        assert_eq!((mount.filesystem.as_str(), mount.source.to_str()), ("ext3", Some("/dev/root")));

        let untagged = parse(b"1 0 0:22 / /x rw - tmpfs none rw").unwrap();
        assert_eq!(untagged.filesystem, "tmpfs");
        for bad in [&b""[..], b"1 2", b"1 0 x:y / / rw - a b c"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).unwrap().is_some());
        assert!(at(Path::new("/no/such/place")).unwrap().is_none());
    }
}
