//! Images of machines: those that carry a disk, as KubeVirt's container disks (a file in `/disk/`) and
//! RancherVM's (`/base_image/*.qcow2[.gz]`) do.
//!
//! The layer check sees every file of a layer pass by and notes its disk in a label of the layer's
//! blob. An image is a machine's if a disk is left when its layers lie on each other: no file system
//! is looked at, and images of containers cost a look at labels. What else a machine needs to start
//! stands in labels of the image's configuration.

use std::collections::{BTreeMap, BTreeSet};

use model::image::MachineImage;
use model::instance::FirmwareKind;
use model::{Error, Result};

use crate::archive::tar::{Entry, Kind};
use crate::content::Labels;

/// Label of a layer that puts a disk into its image; the value is the disk's path.
pub const LABEL_DISK: &str = "hull.disk";
/// Label of a layer that takes away disks of layers below it; the value has a path a line.
const LABEL_HIDDEN: &str = "hull.disk.hidden";

/// Label of an image's configuration that says what starts before its disk: `bios`, `uefi` or
/// `secureBoot`.
pub const LABEL_FIRMWARE: &str = "io.monohull.machine.firmware";
const FIRMWARE: &str = LABEL_FIRMWARE;
const KERNEL: &str = "io.monohull.machine.kernel";
const INITRD: &str = "io.monohull.machine.initrd";
const COMMAND_LINE: &str = "io.monohull.machine.command-line";

/// Where disks lie: any kind of disk, or qcow2 alone.
const DISK_DIRECTORY: &str = "disk";
const RANCHER_DIRECTORY: &str = "base_image";
const COMPRESSED: &str = ".gz";
const DISK_NAMES: [&str; 4] = [".qcow2", ".img", ".raw", ".iso"];
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// A raw disk without a telling name has whole sectors, and room for something that boots.
const SECTOR: u64 = 512;
const LEAST_RAW: u64 = 1 << 20;
/// Disks below that one layer can take away by name; with more, it takes away all.
const MOST_HIDDEN: usize = 8;
/// Linux takes no longer command line (`COMMAND_LINE_SIZE` on x86).
const LONGEST_COMMAND_LINE: usize = 2048;
const LONGEST_PATH: usize = 1024;

/// What one layer does to its image's disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LayerDisk {
    /// Path of the disk it puts there.
    puts: Option<String>,
    /// Paths of what it takes away: disks, or the directories they lie in.
    hides: BTreeSet<String>,
    /// A file that is a disk if its first bytes say so.
    unsure: Option<Unsure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsure {
    path: String,
    size: u64,
    start: Vec<u8>,
}

impl LayerDisk {
    /// An entry passes.
    pub fn entry(&mut self, entry: &Entry) {
        self.unsure = None;
        let Ok(path) = std::str::from_utf8(&entry.path) else { return };
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        match (parts.next(), parts.next(), parts.next()) {
            (Some(directory), None, None) => self.top(directory, entry.kind),
            (Some(directory @ (DISK_DIRECTORY | RANCHER_DIRECTORY)), Some(name), None) => {
                self.inside(directory, name, entry);
            }
            _ => {}
        }
    }

    /// Bytes of the last entry pass.
    pub fn data(&mut self, data: &[u8]) {
        let Some(unsure) = &mut self.unsure else { return };
        let wanted = QCOW2_MAGIC.len() - unsure.start.len();
        unsure.start.extend_from_slice(&data[..wanted.min(data.len())]);
        if unsure.start.len() == QCOW2_MAGIC.len() {
            self.decide();
        }
    }

    fn decide(&mut self) {
        if let Some(Unsure { path, size, start }) = self.unsure.take()
            && (start == QCOW2_MAGIC || (size >= LEAST_RAW && size.is_multiple_of(SECTOR)))
        {
            self.put(path);
        }
    }

    fn top(&mut self, name: &str, kind: Kind) {
        let bare = name.strip_prefix(".wh.").unwrap_or(name);
        let gone = bare != name || kind != Kind::Directory;
        if gone && matches!(bare, DISK_DIRECTORY | RANCHER_DIRECTORY) {
            self.hide(format!("/{bare}"));
        }
    }

    fn inside(&mut self, directory: &str, name: &str, entry: &Entry) {
        if name.contains(|c: char| c.is_control()) {
            return;
        }
        if name == ".wh..wh..opq" {
            return self.hide(format!("/{directory}"));
        }
        if let Some(name) = name.strip_prefix(".wh.") {
            return self.hide(format!("/{directory}/{name}"));
        }
        let path = format!("/{directory}/{name}");
        let rest = name.strip_suffix(COMPRESSED).unwrap_or(name);
        let named = match directory {
            RANCHER_DIRECTORY => rest.ends_with(".qcow2"),
            _ => DISK_NAMES.iter().any(|ending| rest.ends_with(ending)),
        };
        match entry.kind {
            Kind::File if name.starts_with('.') || entry.size == 0 => self.hide(path),
            Kind::File if named => self.put(path),
            Kind::File if directory == DISK_DIRECTORY => {
                self.hide(path.clone());
                self.unsure = Some(Unsure { path, size: entry.unpacked, start: Vec::new() });
            }
            Kind::File
            | Kind::HardLink
            | Kind::Symlink
            | Kind::Device
            | Kind::Directory
            | Kind::Fifo => self.hide(path),
        }
    }

    /// Of several the first by name is the disk.
    fn put(&mut self, path: String) {
        if self.puts.as_ref().is_none_or(|known| path < *known) {
            self.puts = Some(path);
        }
    }

    fn hide(&mut self, path: String) {
        self.hides.insert(path);
        if self.hides.len() > MOST_HIDDEN {
            let all = [DISK_DIRECTORY, RANCHER_DIRECTORY];
            self.hides = all.map(|directory| format!("/{directory}")).into();
        }
    }

    /// The labels that keep it.
    pub fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        if let Some(disk) = &self.puts {
            labels.insert(LABEL_DISK.to_owned(), disk.clone());
        }
        if !self.hides.is_empty() {
            let hidden: Vec<&str> = self.hides.iter().map(String::as_str).collect();
            labels.insert(LABEL_HIDDEN.to_owned(), hidden.join("\n"));
        }
        labels
    }
}

/// The disk that is left when layers with these labels, lowest first, lie on each other. Where
/// several layers bring one it is the uppermost's.
pub(crate) fn disk_of<'a>(layers: impl IntoIterator<Item = &'a Labels>) -> Option<String> {
    let mut disk: Option<String> = None;
    for labels in layers {
        let hides = |path: &String| {
            let hidden = labels.get(LABEL_HIDDEN).map(String::as_str).unwrap_or_default();
            hidden.lines().any(|line| {
                path.strip_prefix(line).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        disk = labels.get(LABEL_DISK).cloned().or_else(|| disk.filter(|path| !hides(path)));
    }
    disk
}

/// What a configuration with these labels says about starting `disk`. Other keys than ours mean
/// nothing here.
pub(crate) fn machine_of(disk: String, labels: &BTreeMap<String, String>) -> Result<MachineImage> {
    let compressed = disk.ends_with(COMPRESSED);
    let firmware = match labels.get(FIRMWARE).map(String::as_str) {
        None | Some("bios") => FirmwareKind::Bios,
        Some("uefi") => FirmwareKind::Uefi,
        Some("secureBoot") => FirmwareKind::SecureBoot,
        Some(_) => return Err(refuse(FIRMWARE, "is not bios, uefi or secureBoot")),
    };
    let [kernel, initrd] = [path_in(labels, KERNEL)?, path_in(labels, INITRD)?];
    let command_line = labels.get(COMMAND_LINE).cloned().unwrap_or_default();
    if kernel.is_empty() && !(initrd.is_empty() && command_line.is_empty()) {
        return Err(refuse(KERNEL, "is missing beside what else the kernel is given"));
    }
    if command_line.len() > LONGEST_COMMAND_LINE || command_line.contains(char::is_control) {
        return Err(refuse(COMMAND_LINE, "is too long, or has control characters"));
    }
    Ok(MachineImage { disk, compressed, firmware, kernel, initrd, command_line })
}

/// A path in the image; empty if none is given.
fn path_in(labels: &BTreeMap<String, String>, key: &str) -> Result<String> {
    let Some(path) = labels.get(key) else { return Ok(String::new()) };
    let sound = |part: &str| !matches!(part, "" | "." | "..");
    let inner = path.strip_prefix('/').filter(|rest| rest.split('/').all(sound));
    match inner {
        Some(_) if path.len() <= LONGEST_PATH && !path.contains(char::is_control) => {
            Ok(path.clone())
        }
        Some(_) | None => Err(refuse(key, "is not an absolute path without '..'")),
    }
}

fn refuse(key: &str, why: &str) -> Error {
    Error::invalid(format!("the image's label {key} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, Kind, u64, &[u8])]) -> Labels {
        let mut disk = LayerDisk::default();
        for (path, kind, size, data) in entries {
            let (path, link) = (path.as_bytes().to_vec(), Vec::new());
            disk.entry(&Entry { path, link, kind: *kind, size: *size, unpacked: *size });
            data.iter().for_each(|byte| disk.data(&[*byte]));
            disk.data(QCOW2_MAGIC);
        }
        disk.labels()
    }

    fn file(path: &str) -> Labels {
        layer(&[(path, Kind::File, 512, b"")])
    }

    #[test]
    fn what_is_a_disk() {
        let whole = 2 << 20;
        for (path, kind, size, data, expected) in [
            ("disk/disk.qcow2", Kind::File, 9, &b""[..], Some("/disk/disk.qcow2")),
            ("./disk//a.img", Kind::File, 9, b"", Some("/disk/a.img")),
            ("/disk/a.raw", Kind::File, 9, b"", Some("/disk/a.raw")),
            ("disk/a.qcow2.gz", Kind::File, 9, b"", Some("/disk/a.qcow2.gz")),
            ("disk/downloaded", Kind::File, 9, b"QFI\xfb\0", Some("/disk/downloaded")),
            ("disk/cirros", Kind::File, whole, b"\xeb<\x90", Some("/disk/cirros")),
            ("base_image/u.qcow2.gz", Kind::File, 9, b"", Some("/base_image/u.qcow2.gz")),
            ("disk/readme", Kind::File, 700, b"text", None),
            ("disk/log", Kind::File, whole + 1, b"text", None),
            ("disk/.hidden.qcow2", Kind::File, 9, b"", None),
            ("disk/empty.qcow2", Kind::File, 0, b"", None),
            ("disk/dir/a.qcow2", Kind::File, 9, b"", None),
            ("disk/a.qcow2", Kind::Symlink, 0, b"", None),
            ("disk/a\n.qcow2", Kind::File, 9, b"", None),
            ("disk.qcow2", Kind::File, 9, b"", None),
            ("srv/disk/a.qcow2", Kind::File, 9, b"", None),
            ("base_image/readme", Kind::File, 9, b"QFI\xfb", None),
        ] {
            let labels = layer(&[(path, kind, size, data)]);
            assert_eq!(disk_of([&labels]).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn upper_layers_take_disks_away_and_bring_others() {
        let (a, b) = (file("disk/a.qcow2"), file("disk/b.qcow2"));
        let removes = |path: &str| layer(&[(path, Kind::File, 0, b"")]);
        let many: Vec<String> = (0..20).map(|n| format!("disk/.wh.{n}")).collect();
        let many: Vec<_> = many.iter().map(|path| (&**path, Kind::File, 0, &b""[..])).collect();
        let renamed = layer(&[
            ("disk/.wh.a.qcow2", Kind::File, 0, b""),
            ("disk/c.qcow2", Kind::File, 9, b""),
        ]);
        for (layers, expected) in [
            (vec![&a, &b], Some("/disk/b.qcow2")),
            (vec![&b, &a], Some("/disk/a.qcow2")),
            (vec![&a, &removes("etc/.wh.disk")], Some("/disk/a.qcow2")),
            (vec![&a, &removes("disk/.wh.a")], Some("/disk/a.qcow2")),
            (vec![&a, &removes("disk/.wh.a.qcow2")], None),
            (vec![&a, &removes("disk/.wh..wh..opq")], None),
            (vec![&a, &removes(".wh.disk")], None),
            (vec![&a, &removes(".wh.disk"), &b], Some("/disk/b.qcow2")),
            (vec![&a, &renamed], Some("/disk/c.qcow2")),
            (vec![&a, &layer(&many)], None),
            (vec![&a, &layer(&[("disk", Kind::Symlink, 0, b"")])], None),
            (vec![&a, &layer(&[("disk", Kind::Directory, 0, b"")])], Some("/disk/a.qcow2")),
            (vec![&a, &layer(&[("disk/a.qcow2", Kind::Directory, 0, b"")])], None),
            (vec![], None),
        ] {
            assert_eq!(disk_of(layers.clone()).as_deref(), expected, "{layers:?}");
        }
        let two = layer(&[("disk/b.img", Kind::File, 9, b""), ("disk/a.img", Kind::File, 9, b"")]);
        assert_eq!(two[LABEL_DISK], "/disk/a.img");
        assert_eq!(file("etc/passwd"), Labels::new());
    }

    #[test]
    fn labels_of_the_configuration() {
        let long = "x".repeat(LONGEST_COMMAND_LINE + 1);
        for (pairs, refused) in [
            (&[][..], None),
            (&[(FIRMWARE, "uefi"), ("io.monohull.machine.other", "x")], None),
            (&[(KERNEL, "/boot/vmlinuz"), (INITRD, "/i"), (COMMAND_LINE, "quiet")], None),
            (&[(FIRMWARE, "efi")], Some("bios, uefi")),
            (&[(KERNEL, "boot/vmlinuz")], Some("absolute")),
            (&[(KERNEL, "/boot/../../etc/shadow")], Some("absolute")),
            (&[(KERNEL, "/a//b")], Some("absolute")),
            (&[(KERNEL, "")], Some("absolute")),
            (&[(INITRD, "/i")], Some("missing")),
            (&[(KERNEL, "/k"), (COMMAND_LINE, "a\nb")], Some("control")),
            (&[(KERNEL, "/k"), (COMMAND_LINE, &long)], Some("too long")),
        ] {
            let labels =
                pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            match (machine_of("/disk/a.qcow2".into(), &labels), refused) {
                (Ok(_), None) => {}
                (Err(error), Some(why)) => assert!(error.message().contains(why), "{error}"),
                (outcome, _) => panic!("{pairs:?}: {outcome:?}"),
            }
        }
        let machine = machine_of("/base_image/a.qcow2.gz".into(), &BTreeMap::new()).unwrap();
        assert!(machine.compressed);
    }
}
