//! An ISO 9660 image in memory, with the names of Rock Ridge (Linux, BSD) and Joliet (Windows).

use std::io::Cursor;

use hadris_iso::joliet::JolietLevel;
use hadris_iso::read::PathSeparator;
use hadris_iso::rrip::RripOptions;
use hadris_iso::write::estimator;
use hadris_iso::write::options::{BaseIsoLevel, CreationFeatures, IsoFormatOptions};
use hadris_iso::write::{InputEntry, InputEntryKind, InputMetadata, InputTree, IsoImageWriter};
use model::{Error, Result};

/// Bytes of a block.
const BLOCK: usize = 2048;

/// A file or directory of the image.
pub(super) struct Entry(InputEntry);

impl Entry {
    pub(super) fn file(name: &str, text: String) -> Self {
        let kind = InputEntryKind::File(text.into_bytes());
        Self::new(name, kind, 0o100_400)
    }

    pub(super) fn directory(name: &str, entries: Vec<Self>) -> Self {
        let kind = InputEntryKind::Directory(entries.into_iter().map(|entry| entry.0).collect());
        Self::new(name, kind, 0o040_500)
    }

    fn new(name: &str, kind: InputEntryKind, mode: u32) -> Self {
        let (mode, uid, gid) = (Some(mode), Some(0), Some(0));
        let metadata = InputMetadata { mode, uid, gid, ..InputMetadata::default() };
        Self(InputEntry { name: name.to_owned().into(), kind, metadata })
    }
}

/// Writes an image of that label.
pub(super) fn write(label: &str, entries: Vec<Entry>) -> Result<Vec<u8>> {
    let files = InputTree {
        path_separator: PathSeparator::ForwardSlash,
        entries: entries.into_iter().map(|entry| entry.0).collect(),
    };
    let options = options(label);
    let size = estimator::estimate_tree(&files, &options).minimum_bytes();
    let size = usize::try_from(size).unwrap_or(usize::MAX).next_multiple_of(BLOCK);
    let mut image = Cursor::new(vec![0; size]);
    IsoImageWriter::create(&mut image, files, options).map_err(|error| {
        Error::internal(format!("the disc {label} was not written")).caused_by(error)
    })?;
    let mut image = image.into_inner();
    forget_time(&mut image);
    Ok(image)
}

/// Puts the epoch where the library wrote the clock's time: the same content is the same image.
///
/// Volume descriptors stand from block 16 to the one of type 255 (ECMA-119, section 8).
fn forget_time(image: &mut [u8]) {
    let mut at = 16 * BLOCK;
    while image.get(at).is_some_and(|kind| *kind != 255) {
        // When the volume was made and changed.
        for date in [813, 830] {
            image[at + date..at + date + 17].copy_from_slice(b"1970010100000000\0");
        }
        forget_record(image, at + 156);
        at += BLOCK;
    }
}

/// Dates one directory record (section 9.1), and all that are in its directory, by the epoch.
fn forget_record(image: &mut [u8], at: usize) {
    forget_date(image, at);
    let word = |field: usize| {
        let bytes = image[at + field..at + field + 4].try_into().expect("4 bytes");
        usize::try_from(u32::from_le_bytes(bytes)).expect("addresses of an image in memory")
    };
    let is_directory = image[at + 25] & 2 != 0;
    if !is_directory {
        return;
    }
    let start = word(2) * BLOCK;
    let end = start + word(10);
    let mut next = start;
    while next < end {
        let length = usize::from(image[next]);
        if length == 0 {
            // Records don't cross blocks.
            next = (next + 1).next_multiple_of(BLOCK);
            continue;
        }
        // The first two are the directory itself and the one it is in.
        match image[next + 33] {
            0 | 1 if image[next + 32] == 1 => forget_date(image, next),
            _ => forget_record(image, next),
        }
        next += length;
    }
}

fn forget_date(image: &mut [u8], record: usize) {
    image[record + 18..record + 25].copy_from_slice(&[70, 1, 1, 0, 0, 0, 0]);
}

fn options(label: &str) -> IsoFormatOptions {
    IsoFormatOptions {
        volume_name: label.to_owned(),
        system_id: None,
        volume_set_id: None,
        publisher_id: None,
        preparer_id: None,
        application_id: None,
        sector_size: BLOCK,
        features: CreationFeatures {
            filenames: BaseIsoLevel::Level1 { supports_lowercase: false, supports_rrip: true },
            joliet: Some(JolietLevel::Level3),
            rock_ridge: Some(RripOptions { preserve_timestamps: false, ..RripOptions::default() }),
            ..CreationFeatures::default()
        },
        path_separator: PathSeparator::ForwardSlash,
        // Labels are looked for as they are, in small letters.
        strict_charset: false,
    }
}
