//! A disk for one test: a file system in a sparse file, mounted in a directory of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use model::Bytes;
use rustix::mount::UnmountFlags;

const PREFIX: &str = "hull-volumes-test";

/// The disk's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Btrfs,
    Xfs,
}

/// A mounted disk; taken away when dropped.
#[derive(Debug)]
pub struct Disk {
    base: PathBuf,
}

impl Disk {
    /// A disk of `size`; `None` without root.
    pub fn new(kind: Kind, size: Bytes) -> Option<Self> {
        static SWEEP: Once = Once::new();
        if !rustix::process::geteuid().is_root() {
            println!("not root: skipped");
            return None;
        }
        SWEEP.call_once(sweep);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}", std::process::id());
        let base = std::env::temp_dir().join(name);
        fs::create_dir_all(base.join("disk")).unwrap();
        let image = base.join("disk.img");
        File::create(&image).unwrap().set_len(size.0).unwrap();
        let (mkfs, options): (_, &[&str]) = match kind {
            Kind::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0"]),
            Kind::Btrfs => ("mkfs.btrfs", &["-q"]),
            Kind::Xfs => ("mkfs.xfs", &["-q"]),
        };
        run(Command::new(mkfs).args(options).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(base.join("disk")));
        Some(Self { base })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.base.join("disk")
    }

    /// A directory beside it, on the machine's own disk.
    pub fn beside(&self) -> &Path {
        &self.base
    }

    /// Mounts of this disk and of what is on it, as mountinfo tells.
    pub fn mounts(&self) -> Vec<PathBuf> {
        below(&self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        clear(&self.base);
    }
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let targets = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut found: Vec<PathBuf> = targets.filter(|path| path.starts_with(directory)).collect();
    found.reverse();
    found
}

fn clear(base: &Path) {
    for mount in below(base) {
        let _ = rustix::mount::unmount(&mount, UnmountFlags::DETACH);
    }
    let _ = fs::remove_dir_all(base);
}

/// Takes away the disks of processes that no longer exist.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let process = rest.split('-').nth(1).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            clear(&path);
        }
    }
}
