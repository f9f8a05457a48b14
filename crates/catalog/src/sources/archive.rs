//! An archive: tar, plain or packed by gzip, or zip.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use model::{Error, Result};

use crate::tree::{MAX_BYTES, MAX_FILE, MAX_FILES, Tree, too_much};

/// Largest archive.
pub const MAX_ARCHIVE: u64 = 128 << 20;
/// Most entries, of any kind.
const MAX_ENTRIES: usize = 4 * MAX_FILES;

/// Reads an archive of this machine.
///
/// # Errors
/// `NotFound` when it is not there; those of [`read`].
pub fn open(path: &Path) -> Result<Tree> {
    let missing = |error: std::io::Error| {
        let text = format!("{} cannot be read on the machine that hull runs on", path.display());
        Error::not_found(text).caused_by(error)
    };
    let file = File::open(path).map_err(missing)?;
    let about = file.metadata().map_err(missing)?;
    if !about.is_file() {
        return Err(Error::invalid(format!("{} is no file", path.display())));
    }
    if about.len() > MAX_ARCHIVE {
        return Err(Error::exhausted(format!(
            "{} is larger than {} MB",
            path.display(),
            MAX_ARCHIVE >> 20
        )));
    }
    let mut bytes = Vec::new();
    file.take(MAX_ARCHIVE).read_to_end(&mut bytes).map_err(missing)?;
    read(&bytes)
}

/// Reads all files. Links and everything else that is no file is passed over.
///
/// # Errors
/// `Invalid` for what is no archive; those of [`Tree::add`].
pub fn read(bytes: &[u8]) -> Result<Tree> {
    let tree = match bytes {
        [b'P', b'K', ..] => read_zip(bytes),
        [0x1f, 0x8b, ..] => read_tar(MultiGzDecoder::new(bytes)),
        _ => read_tar(bytes),
    };
    tree.map(Tree::without_wrapper)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::invalid("the archive cannot be read")
        .next("give a tar, a tar packed by gzip, or a zip")
        .caused_by(error)
}

fn read_tar(packed: impl Read) -> Result<Tree> {
    // Headers and padding are more than the files themselves.
    let mut archive = tar::Archive::new(packed.take(2 * MAX_BYTES));
    let mut tree = Tree::default();
    for (count, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        let mut entry = entry.map_err(unreadable)?;
        if count > MAX_ENTRIES {
            return Err(too_much());
        }
        if !entry.header().entry_type().is_file() || entry.size() > MAX_FILE {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(unreadable)?;
        tree.add(&path, content)?;
    }
    if tree.files().next().is_none() {
        return Err(Error::invalid("there is no file in the archive"));
    }
    Ok(tree)
}

fn read_zip(bytes: &[u8]) -> Result<Tree> {
    let broken = |error: zip::result::ZipError| unreadable(std::io::Error::other(error));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MAX_ENTRIES {
        return Err(too_much());
    }
    let mut tree = Tree::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        if !entry.is_file() || entry.size() > MAX_FILE {
            continue;
        }
        let path = entry.name().to_owned();
        let mut content = Vec::new();
        // What an entry says of its size is not believed.
        entry.take(MAX_FILE).read_to_end(&mut content).map_err(unreadable)?;
        tree.add(&path, content)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            // As it is, for `set_path` refuses what is hostile.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, text) in files {
            writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn each_form() {
        let files = [("cat/web/template.yaml", "title: Web"), ("cat/README.md", "")];
        let packed = [tar(&files), gzip(&tar(&files)), zip(&files)];
        for bytes in packed {
            let tree = read(&bytes).unwrap();
            assert_eq!(tree.below("").collect::<Vec<_>>(), ["README.md", "web/template.yaml"]);
        }
    }

    #[test]
    fn hostile_ones_are_refused() {
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_path("web").unwrap();
        link.set_link_name("/etc").unwrap();
        link.set_size(0);
        link.set_cksum();
        let mut linked = tar::Builder::new(Vec::new());
        linked.append(&link, &[][..]).unwrap();
        for bytes in [
            Vec::new(),
            b"no archive".to_vec(),
            b"PK\x03\x04 no zip".to_vec(),
            tar(&[("../../etc/cron.d/x", "")]),
            tar(&[("/etc/cron.d/x", "")]),
            zip(&[("../x", "")]),
            gzip(b"no tar"),
            gzip(&tar(&[("a", "text")]))[..20].to_vec(),
            linked.into_inner().unwrap(),
        ] {
            assert!(read(&bytes).is_err());
        }
    }

    /// A tar of files of nothing but zeros, packed in parts: each file's zeros are the same bytes.
    fn bomb(count: usize, size: u64) -> Vec<u8> {
        let zeros = gzip(&vec![0; usize::try_from(size).unwrap()]);
        let mut packed = Vec::new();
        for i in 0..count {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o644);
            header.set_path(format!("cat/{i}")).unwrap();
            header.set_cksum();
            packed.extend(gzip(header.as_bytes()));
            packed.extend_from_slice(&zeros);
        }
        packed.extend(gzip(&[0; 1024]));
        packed
    }

    #[test]
    fn bombs_are_not_unpacked() {
        let harmless = bomb(2, MAX_FILE);
        assert_eq!(read(&harmless).unwrap().files().count(), 2);
        let most = usize::try_from(MAX_BYTES / MAX_FILE).unwrap();
        let large = bomb(most + 2, MAX_FILE);
        assert!(large.len() < 4 << 20, "{} bytes are no bomb", large.len());
        assert_eq!(read(&large).unwrap_err().kind(), model::ErrorKind::Exhausted);
        let many = bomb(MAX_FILES + 1, 0);
        assert_eq!(read(&many).unwrap_err().kind(), model::ErrorKind::Exhausted);
    }
}
