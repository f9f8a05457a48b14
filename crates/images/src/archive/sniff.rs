//! What a file is, by its beginning.

use std::io::Read;

use model::Result;

use super::ImportKind;
use super::compression::Compression;
use super::tar::{Event, Kind, Scanner};

/// Bytes looked at: more than one block of zstd can have (128 KiB), and so enough for the first
/// members of every archive known.
pub(super) const PREFIX: usize = 256 << 10;

/// Whether `prefix` begins an archive of images or a root file system: by its first member that is
/// more than `./`.
pub(super) fn sniff(prefix: &[u8]) -> Result<ImportKind> {
    let mut tar = Vec::new();
    // The input is cut: what came before the cut is enough.
    let reader = Compression::sniff(prefix)?.reader(prefix);
    if let Ok(reader) = reader {
        let _ = reader.take(PREFIX as u64).read_to_end(&mut tar);
    }
    let (mut scanner, mut data) = (Scanner::new(), &tar[..]);
    while let Ok(Some(event)) = scanner.next(&mut data) {
        let Event::Entry(entry) = event else { continue };
        let path = String::from_utf8_lossy(&entry.path);
        let name = path.trim_start_matches("./").trim_end_matches('/');
        if !matches!(name, "" | ".") {
            let archive = matches!(entry.kind, Kind::File | Kind::Directory) && is_member(name);
            return Ok(if archive { ImportKind::Archive } else { ImportKind::RootFs });
        }
    }
    Ok(ImportKind::RootFs)
}

/// The first member is called as in an archive of images.
fn is_member(name: &str) -> bool {
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
    let first = name.split('/').next().unwrap_or(name);
    let bare = first.strip_prefix("sha256:").unwrap_or(first);
    let stem = bare.split('.').next().unwrap_or(bare);
    let known = ["oci-layout", "index.json", "manifest.json", "repositories", "blobs"];
    known.contains(&first) || is_hash(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(names: &[&str]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for name in names {
            let mut header = ::tar::Header::new_gnu();
            if name.ends_with('/') {
                header.set_entry_type(::tar::EntryType::Directory);
            }
            header.set_size(0);
            builder.append_data(&mut header, name, &b""[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn archives_and_root_file_systems() {
        let hash = "0123456789abcdef".repeat(4);
        let (config, layer) = (format!("{hash}.json"), format!("{hash}/layer.tar"));
        let (crane, packed) = (format!("sha256:{hash}"), format!("{hash}.tar.gz"));
        for (names, expected) in [
            (vec!["oci-layout"], ImportKind::Archive),
            (vec!["./", "./blobs/"], ImportKind::Archive),
            (vec!["./", "./index.json"], ImportKind::Archive),
            (vec![&*config], ImportKind::Archive),
            (vec![&*layer], ImportKind::Archive),
            (vec![&*crane], ImportKind::Archive),
            (vec![&*packed], ImportKind::Archive),
            (vec!["bin/", "blobs/"], ImportKind::RootFs),
            (vec!["./", "./etc/"], ImportKind::RootFs),
            (vec![], ImportKind::RootFs),
        ] {
            let tar = tar_of(&names);
            assert_eq!(sniff(&tar).unwrap(), expected, "{names:?}");
            // Noise behind it, so that the first block is as large as can be.
            let noise = (0..600_000_u64).map(|n| (n.wrapping_mul(n) >> 7) as u8 ^ (n >> 3) as u8);
            let long: Vec<u8> = tar.into_iter().chain(noise).collect();
            let zstd = zstd::encode_all(&long[..], 1).unwrap();
            let cut = &zstd[..zstd.len().min(PREFIX)];
            assert_eq!(sniff(cut).unwrap(), expected, "{names:?} cut");
        }
        assert!(sniff(b"\xfd7zXZ\0").is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(data: Vec<u8>, magic in 0..3_usize) {
            let magic: &[u8] = [&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"][magic];
            let _ = sniff(&[magic, &data].concat());
        }
    }
}
