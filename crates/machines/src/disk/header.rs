//! The first bytes of a disk: which format it has, and whether it refers to other files.
//!
//! QEMU's own probing is never used: a guest with a raw disk can write another format's header into
//! it, and have the host open what that names (CVE-2008-1945 and its kin).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use model::error::Context;
use model::{Bytes, Error, ErrorKind, Result};

use super::DiskFormat;

/// The largest disk: what ext4 takes as one file, with blocks of 4 KiB.
pub const MOST: u64 = 16 << 40;
const SECTOR: u64 = 512;
/// Bytes looked at: up to the superblock of btrfs, the last of those that are known.
const HEAD: usize = 68 << 10;

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its format, settled here.
    pub format: DiskFormat,
    /// Bytes the guest sees; absent where only QEMU can tell.
    pub virtual_size: Option<u64>,
}

/// Bytes that the guest sees of a qcow2 of our own making, which may lie on another disk (qcow2
/// specification, "Header").
///
/// # Errors
/// `Invalid` for what is no qcow2.
pub fn size_of_layer(file: &File) -> Result<u64> {
    let mut head = [0; 32];
    file.read_exact_at(&mut head, 0)
        .context(ErrorKind::Unavailable, || "cannot be read".to_owned())?;
    if sniff(&head)? != Some(DiskFormat::Qcow2) {
        return Err(Error::invalid("is no qcow2"));
    }
    Ok(u64::from_be_bytes(head[24..].try_into().expect("eight bytes")))
}

/// Reads the header of a disk. `format` is what somebody said it is; without, a raw disk must be known
/// by its partitions or its file system.
///
/// # Errors
/// `Invalid` for what is no disk, is cut off, or refers to another file; `Unsupported` for formats and
/// features that are not taken. The message goes on from the disk's name: `is …`.
pub fn look(file: &File, format: Option<DiskFormat>) -> Result<Header> {
    let size = file
        .metadata()
        .and_then(|meta| file_size(file, &meta))
        .context(ErrorKind::Unavailable, || "cannot be read".to_owned())?;
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    file.read_exact_at(&mut head, 0)
        .context(ErrorKind::Unavailable, || "cannot be read".to_owned())?;
    let found = sniff(&head)?;
    let format = match (format, found) {
        (Some(said), Some(found)) if said == found => said,
        (Some(DiskFormat::Raw), None) => DiskFormat::Raw,
        (Some(said), Some(found)) => {
            let (said, found) = (said.as_str(), found.as_str());
            return Err(Error::invalid(format!("is {found}, not {said} as was said")));
        }
        (Some(said), None) => {
            return Err(Error::invalid(format!("is not {}", said.as_str())));
        }
        (None, Some(found)) => found,
        (None, None) if is_bare_disk(&head) => DiskFormat::Raw,
        (None, None) => return Err(no_disk()),
    };
    let virtual_size = match format {
        DiskFormat::Qcow2 => Some(qcow2(&head, size)?),
        DiskFormat::Raw => Some(raw(&head, size)?),
        DiskFormat::Vmdk | DiskFormat::Vhdx | DiskFormat::Vdi => None,
    };
    if let Some(bytes) = virtual_size {
        check_size(bytes)?;
    }
    Ok(Header { format, virtual_size })
}

fn file_size(file: &File, meta: &std::fs::Metadata) -> io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    use std::os::unix::fs::FileTypeExt;
    if meta.file_type().is_block_device() {
        let mut file = file;
        return file.seek(SeekFrom::End(0));
    }
    Ok(meta.len())
}

/// The bounds every disk keeps to.
pub(super) fn check_size(bytes: u64) -> Result<()> {
    match bytes {
        0 => Err(Error::invalid("has no room for anything: its size is 0")),
        bytes if bytes > MOST => Err(Error::invalid(format!(
            "claims a size of {}; {} is the most",
            Bytes(bytes),
            Bytes(MOST)
        ))),
        _ => Ok(()),
    }
}

fn no_disk() -> Error {
    Error::invalid("is not a disk: it is neither qcow2, vmdk, vhdx nor vdi, and has neither partitions nor a file system")
        .next("if it is a raw disk all the same, say --format raw")
}

/// The format that a magic tells; `None` may be raw.
fn sniff(head: &[u8]) -> Result<Option<DiskFormat>> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    };
    let unsupported = |what: &str, next: &str| {
        Err(Error::unsupported(format!("is {what}, which is not taken")).next(next.to_owned()))
    };
    if at(0, b"QFI\xfb") {
        return Ok(Some(DiskFormat::Qcow2));
    }
    if at(0, b"KDMV") {
        return Ok(Some(DiskFormat::Vmdk));
    }
    if at(0, b"vhdxfile") {
        return Ok(Some(DiskFormat::Vhdx));
    }
    if at(0x40, &0xbeda_107f_u32.to_le_bytes()) {
        return Ok(Some(DiskFormat::Vdi));
    }
    let convert = "convert it first: qemu-img convert -O qcow2 FILE disk.qcow2";
    if at(0, b"# Disk DescriptorFile") || at(0, b"COWD") {
        return unsupported("a vmdk of several files, or of an old kind", convert);
    }
    if at(0, b"conectix") || at(0, b"QED\0") || at(0, b"Parallels") || at(0, b"WithouFreSpac") {
        return unsupported("a disk of a kind (vhd, qed, parallels)", convert);
    }
    if at(0, b"LUKS\xba\xbe") {
        return unsupported("encrypted as a whole", "unlock it first, or say --format raw");
    }
    if at(0, b"PK\x03\x04") || at(257, b"ustar") {
        return unsupported("an archive", "unpack it, and import the disk in it");
    }
    Ok(None)
}

/// Partitions, or a file system that is known.
fn is_bare_disk(head: &[u8]) -> bool {
    let magics: [(usize, &[u8]); 8] = [
        (510, b"\x55\xaa"),
        (512, b"EFI PART"),
        (1080, b"\x53\xef"),
        (0, b"XFSB"),
        (32769, b"CD001"),
        (65600, b"_BHRfS_M"),
        (536, b"LVM2 001"),
        (4096, b"\xfc\x4e\x2b\xa9"),
    ];
    magics.iter().any(|(at, magic)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
}

/// A raw disk: what its partition table says must be there.
fn raw(head: &[u8], size: u64) -> Result<u64> {
    let cut_off = |needed: u64| {
        let (has, needed) = (Bytes(size), Bytes(needed));
        Error::invalid(format!("is cut off: it has {has}, its partitions need {needed}"))
    };
    if !size.is_multiple_of(SECTOR) {
        return Err(Error::invalid(
            "is not a raw disk: its size is not whole sectors of 512 bytes",
        ));
    }
    if head.get(512..520) == Some(b"EFI PART") {
        let last = little(head, 544, 8).saturating_add(1).saturating_mul(SECTOR);
        return if last > size { Err(cut_off(last)) } else { Ok(size) };
    }
    let is_disc = head.get(32769..32774) == Some(b"CD001");
    if head.get(510..512) == Some(b"\x55\xaa") && !is_disc {
        for entry in (446..510).step_by(16) {
            let (kind, start, count) =
                (head[entry + 4], little(head, entry + 8, 4), little(head, entry + 12, 4));
            // A file system's own boot sector has code or text here.
            let sound = matches!(head[entry], 0 | 0x80) && start > 0 && count > 0;
            let end = (start + count) * SECTOR;
            if kind != 0 && sound && end > size {
                return Err(cut_off(end));
            }
        }
    }
    Ok(size)
}

fn little(data: &[u8], at: usize, length: usize) -> u64 {
    let bytes = data.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn big(data: &[u8], at: usize, length: usize) -> u64 {
    let bytes = data.get(at..at + length).unwrap_or_default();
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Reads a qcow2 header (QEMU's `docs/interop/qcow2.txt`); returns the size the guest sees.
fn qcow2(head: &[u8], size: u64) -> Result<u64> {
    if head.len() < 104 {
        return Err(Error::invalid("is cut off inside its header"));
    }
    let (version, cluster_bits) = (big(head, 4, 4), big(head, 20, 4));
    if !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
        return Err(Error::unsupported("is a qcow2 of a kind that is not known"));
    }
    if big(head, 8, 8) != 0 || big(head, 16, 4) != 0 {
        return Err(Error::invalid("needs another file, its backing file")
            .next("make it whole first: qemu-img convert -O qcow2 FILE disk.qcow2"));
    }
    if big(head, 32, 4) != 0 {
        return Err(Error::unsupported("is encrypted")
            .next("decrypt it first: qemu-img convert -O qcow2 FILE disk.qcow2"));
    }
    let (tables, table_entries) = (big(head, 40, 8), big(head, 36, 4));
    if tables.saturating_add(table_entries.saturating_mul(8)) > size {
        return Err(Error::invalid("is cut off: its tables are past its end"));
    }
    if version == 3 {
        features(head, cluster_bits)?;
    }
    Ok(big(head, 24, 8))
}

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const SUBCLUSTERS: u64 = 1 << 4;

fn features(head: &[u8], cluster_bits: u64) -> Result<()> {
    let incompatible = big(head, 72, 8);
    if incompatible & EXTERNAL_DATA != 0 {
        return Err(Error::invalid("needs another file, in which its data is")
            .next("make it whole first: qemu-img convert -O qcow2 FILE disk.qcow2"));
    }
    if incompatible & CORRUPT != 0 {
        return Err(Error::invalid("is marked as damaged").next("try: qemu-img check -r all FILE"));
    }
    if incompatible & !(DIRTY | COMPRESSION | SUBCLUSTERS) != 0 {
        return Err(Error::unsupported("has features of a newer QEMU"));
    }
    let end = head.len().min(1 << cluster_bits);
    let mut at = usize::try_from(big(head, 100, 4)).unwrap_or(end);
    while at + 8 <= end {
        let (kind, length) = (big(head, at, 4), big(head, at + 4, 4));
        match kind {
            0 => return Ok(()),
            0x4441_5441 => return Err(Error::invalid("names another file for its data")),
            0x0537_be77 => return Err(Error::unsupported("is encrypted")),
            _ => {}
        }
        at = at.saturating_add(8).saturating_add(length.next_multiple_of(8) as usize);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(data: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file
    }

    /// A version 3 header with `edit`s: offset and bytes.
    fn header(edits: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 1 << 16];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[7] = 3;
        head[23] = 16;
        head[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        head[100..104].copy_from_slice(&104_u32.to_be_bytes());
        for (at, bytes) in edits {
            head[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn with(length: usize, edits: &[(usize, &[u8])]) -> Vec<u8> {
        let mut data = vec![0; length];
        for (at, bytes) in edits {
            data[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        data
    }

    #[test]
    fn qcow2_headers() {
        let huge = (MOST + 512).to_be_bytes();
        for (edits, expected) in [
            (&[][..], "ok"),
            (&[(7, &[2][..])], "ok"),
            (&[(79, &[1])], "ok"),
            (&[(7, &[9])], "not known"),
            (&[(23, &[63])], "not known"),
            (&[(15, &[200]), (19, &[9])], "backing file"),
            (&[(15, &[200])], "backing file"),
            (&[(19, &[9])], "backing file"),
            (&[(35, &[1])], "encrypted"),
            (&[(35, &[2])], "encrypted"),
            (&[(79, &[2])], "damaged"),
            (&[(79, &[4])], "its data"),
            (&[(72, &[1])], "newer QEMU"),
            (&[(104, b"DATA\0\0\0\x01x")], "another file"),
            (&[(104, b"\xe2\x79\x2a\xca\0\0\0\x03raw"), (120, b"DATA\0\0\0\x01x")], "another file"),
            (&[(104, b"\xe2\x79\x2a\xca\xff\xff\xff\xff")], "ok"),
            (&[(104, b"\x05\x37\xbe\x77\0\0\0\x10")], "encrypted"),
            (&[(24, &huge)], "is the most"),
            (&[(24, &[0; 8])], "size is 0"),
            (&[(24, &[0xff; 8])], "is the most"),
            (&[(36, &[0xff; 4])], "past its end"),
            (&[(40, &[0xff; 8])], "past its end"),
        ] {
            match look(&file(&header(edits)), None) {
                Ok(found) => {
                    assert_eq!(expected, "ok", "{edits:?}");
                    let virtual_size = Some(1 << 30);
                    assert_eq!(found, Header { format: DiskFormat::Qcow2, virtual_size });
                }
                Err(error) => assert!(error.message().contains(expected), "{edits:?}: {error}"),
            }
        }
        let error = look(&file(&header(&[])[..60]), None).unwrap_err();
        assert!(error.message().contains("cut off"), "{error}");
    }

    #[test]
    fn other_files() {
        let megabyte = 1 << 20;
        let gpt = |last: u64| {
            with(
                megabyte,
                &[(512, &b"EFI PART"[..]), (544, &last.to_le_bytes()), (510, b"\x55\xaa")],
            )
        };
        let mbr = |count: u32| {
            let entry =
                [&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0][..], &count.to_le_bytes()].concat();
            with(megabyte, &[(446, &entry), (510, b"\x55\xaa")])
        };
        for (name, data, format, expected) in [
            ("ext4", with(megabyte, &[(1080, b"\x53\xef")]), None, "Raw"),
            ("iso", with(megabyte, &[(32769, b"CD001")]), None, "Raw"),
            ("gpt", gpt(2047), None, "Raw"),
            ("gpt cut off", gpt(2048), None, "cut off"),
            ("gpt absurd", gpt(u64::MAX), None, "cut off"),
            ("mbr", mbr(2040), None, "Raw"),
            ("mbr cut off", mbr(2041), None, "cut off"),
            ("odd size", with(megabyte + 1, &[(1080, b"\x53\xef")]), None, "whole sectors"),
            ("vmdk", with(megabyte, &[(0, b"KDMV")]), None, "Vmdk"),
            ("vhdx", with(megabyte, &[(0, b"vhdxfile")]), None, "Vhdx"),
            ("vdi", with(megabyte, &[(0x40, &[0x7f, 0x10, 0xda, 0xbe])]), None, "Vdi"),
            ("vmdk descriptor", b"# Disk DescriptorFile\n".to_vec(), None, "several files"),
            ("vhd", with(512, &[(0, b"conectix")]), None, "vhd"),
            ("luks", with(512, &[(0, b"LUKS\xba\xbe")]), None, "encrypted"),
            ("ova", with(512, &[(257, b"ustar")]), None, "archive"),
            ("text", b"hello".repeat(1000), None, "is not a disk"),
            ("empty", Vec::new(), None, "is not a disk"),
            ("zeros", vec![0; megabyte], None, "is not a disk"),
            ("zeros said raw", vec![0; megabyte], Some(DiskFormat::Raw), "Raw"),
            ("empty said raw", Vec::new(), Some(DiskFormat::Raw), "size is 0"),
            ("qcow2 said raw", header(&[]), Some(DiskFormat::Raw), "not raw as was said"),
            ("zeros said vdi", vec![0; megabyte], Some(DiskFormat::Vdi), "is not vdi"),
        ] {
            let shown = match look(&file(&data), format) {
                Ok(found) => format!("{:?}", found.format),
                Err(error) => error.message().to_owned(),
            };
            assert!(shown.contains(expected), "{name}: {shown}");
        }
    }
}
