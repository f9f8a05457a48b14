//! The disk of the state directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use model::Bytes;

use super::{Finding, Settings};
use crate::facts::Disk;
use crate::proc;

/// Below this not even the platform's own state is safe.
const LEAST_SPACE: Bytes = Bytes::gib(1);
/// Below this a few images fill it.
const GOOD_SPACE: Bytes = Bytes::gib(10);
/// Files an image's layers have; below this, inodes are used up before space.
const GOOD_INODES: u64 = 100_000;
/// etcd's advice for the 99th percentile of its log's fdatasync, its hardware page.
const SLOW: Duration = Duration::from_millis(10);
/// Writes measured, and the time they may take together.
const WRITES: usize = 25;
const BUDGET: Duration = Duration::from_millis(700);

/// File systems that are refused: no locks or no overlay that can be trusted.
const REFUSED: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "vboxsf", "virtiofs"];
/// File systems that forget.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// Kind of file system.
pub fn file_system(settings: &Settings) -> Finding {
    let disk = Disk::of(&settings.state_dir);
    judge_kind(&disk.filesystem, &disk.mounted_at)
}

fn judge_kind(kind: &str, at: &str) -> Finding {
    if REFUSED.contains(&kind) {
        return Finding::fail(
            format!("{} is on {kind} (mounted at {at})", "the state directory"),
            "put it on a disk of this machine: ext4, xfs or btrfs",
        );
    }
    if VOLATILE.contains(&kind) {
        return Finding::warn(
            format!("the state directory is on {kind} (mounted at {at}): all is lost at a reboot"),
            "put it on ext4, xfs or btrfs, unless that is wanted",
        );
    }
    match kind {
        "btrfs" => Finding::pass("btrfs: volumes have quotas and snapshots at once"),
        "ext4" | "xfs" => Finding::pass(kind),
        other => Finding::warn(
            format!("{other} is not tested"),
            "put the state directory on ext4, xfs or btrfs",
        ),
    }
}

/// Room.
pub fn space(settings: &Settings) -> Finding {
    judge_space(&Disk::of(&settings.state_dir))
}

fn judge_space(disk: &Disk) -> Finding {
    let text = format!("{} of {} free at {}", disk.available, disk.total, disk.mounted_at);
    if disk.available < LEAST_SPACE {
        return Finding::fail(text, format!("free {LEAST_SPACE} at least"));
    }
    if disk.available < GOOD_SPACE {
        return Finding::warn(text, format!("{GOOD_SPACE} leave room for images and volumes"));
    }
    if disk.inodes_available < GOOD_INODES {
        return Finding::warn(
            format!("only {} inodes are left at {}", disk.inodes_available, disk.mounted_at),
            "remove small files, or make the file system with more inodes",
        );
    }
    Finding::pass(text)
}

/// How long an acknowledged write takes.
pub fn latency(settings: &Settings) -> Finding {
    let remedy = "use a disk with a cache that survives a power cut (an SSD with capacitors)";
    match measure(&proc::existing(&settings.state_dir)) {
        Err(error) => Finding::fail(
            format!("the disk of the state directory cannot be written: {error}"),
            "make it writable for root",
        ),
        Ok((median, longest)) => {
            let text = format!("fdatasync takes {median:.1?}, {longest:.1?} at worst");
            if median > SLOW { Finding::warn(text, remedy) } else { Finding::pass(text) }
        }
    }
}

/// Median and longest of some small synchronous writes, appended as a log's are.
fn measure(dir: &Path) -> io::Result<(Duration, Duration)> {
    let path = dir.join(format!(".hull-check-latency-{}", std::process::id()));
    let times = File::create_new(&path).and_then(|file| timed_writes(&file));
    let _ = fs::remove_file(&path);
    let mut times = times?;
    times.sort();
    let longest = times.last().copied().unwrap_or_default();
    Ok((times.get(times.len() / 2).copied().unwrap_or_default(), longest))
}

fn timed_writes(mut file: &File) -> io::Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(WRITES);
    while times.len() < WRITES && begun.elapsed() < BUDGET {
        let started = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// How the size of a volume will be enforced there.
pub fn volume_sizes(settings: &Settings) -> Finding {
    let disk = Disk::of(&settings.state_dir);
    match disk.filesystem.as_str() {
        "btrfs" => Finding::pass("by btrfs quota groups"),
        _ if !Path::new("/dev/loop-control").exists() => Finding::warn(
            "not at all: there are no loop devices and the disk is not btrfs",
            "modprobe loop",
        ),
        _ => {
            Finding::pass("by a file-system image for each volume, or project quota where it is on")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn kinds_of_file_systems() {
        for (kind, outcome) in [
            ("ext4", Outcome::Pass),
            ("btrfs", Outcome::Pass),
            ("nfs4", Outcome::Fail),
            ("tmpfs", Outcome::Warn),
            ("reiserfs", Outcome::Warn),
        ] {
            assert_eq!(judge_kind(kind, "/").outcome, outcome, "{kind}");
        }
    }

    #[test]
    fn amounts_of_room() {
        let disk = |available, inodes_available| Disk {
            total: Bytes::gib(100),
            available,
            inodes_available,
            ..Disk::default()
        };
        assert_eq!(judge_space(&disk(Bytes::mib(100), u64::MAX)).outcome, Outcome::Fail);
        assert_eq!(judge_space(&disk(Bytes::gib(5), u64::MAX)).outcome, Outcome::Warn);
        assert_eq!(judge_space(&disk(Bytes::gib(50), 10)).outcome, Outcome::Warn);
        assert_eq!(judge_space(&disk(Bytes::gib(50), u64::MAX)).outcome, Outcome::Pass);
    }
}
