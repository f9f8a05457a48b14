//! Finds where the last lines begin, reading files from their end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{files, record};

/// Bytes looked at at once.
const BLOCK: u64 = 64 << 10;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) offset: u64,
}

/// Where the last `lines` lines begin. A line not ended yet counts as one.
pub(super) fn last_lines(directory: &Path, sequences: &[u64], lines: u64) -> io::Result<Place> {
    let mut wanted = lines;
    let mut newest = true;
    let mut place = Place::default();
    for sequence in sequences.iter().rev() {
        let file = match File::open(files::path(directory, *sequence)) {
            Ok(file) => file,
            // Rotated away since it was listed: what is left is what there is.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let found = in_file(&file, &mut wanted, &mut newest)?;
        place = Place { sequence: *sequence, offset: found.unwrap_or(0) };
        if found.is_some() {
            break;
        }
    }
    Ok(place)
}

/// Where to begin in this file, or `None` if all of it is wanted and perhaps more. `newest` says that
/// no record was met yet: if the first met goes on, it is a line of its own. What follows the last
/// newline is still being written and not there yet.
fn in_file(file: &File, wanted: &mut u64, newest: &mut bool) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK as usize];
    let mut upper = file.metadata()?.len();
    let mut end_of_record: Option<u64> = None;
    while upper > 0 {
        let start = upper.saturating_sub(BLOCK);
        let part = &mut block[..(upper - start) as usize];
        file.read_exact_at(part, start)?;
        for i in memchr::memrchr_iter(b'\n', part) {
            let newline = start + i as u64;
            let record = Record { file, start: newline + 1, nearby: &part[i + 1..] };
            if let Some(end) = end_of_record.replace(newline)
                && !record.take(wanted, newest)?
            {
                return Ok(Some(end + 1));
            }
        }
        upper = start;
    }
    let first = Record { file, start: 0, nearby: &[] };
    match end_of_record {
        Some(end) if !first.take(wanted, newest)? => Ok(Some(end + 1)),
        Some(_) | None => Ok(None),
    }
}

/// A record, of which some bytes may have been read.
struct Record<'a> {
    file: &'a File,
    start: u64,
    nearby: &'a [u8],
}

impl Record<'_> {
    /// Counts it; false when there are enough without it.
    fn take(&self, wanted: &mut u64, newest: &mut bool) -> io::Result<bool> {
        let unended = std::mem::take(newest);
        if !self.ends_line()? && !unended {
            return Ok(true);
        }
        let room = *wanted > 0;
        *wanted = wanted.saturating_sub(1);
        Ok(room)
    }

    fn ends_line(&self) -> io::Result<bool> {
        if self.nearby.len() >= record::HEAD {
            return Ok(record::ends_line(self.nearby));
        }
        let mut head = [0; record::HEAD];
        let n = self.file.read_at(&mut head, self.start)?;
        Ok(record::ends_line(&head[..n]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Stream, Writer};
    use super::*;
    use model::Bytes;
    use model::instance::LogOptions;

    fn shown(directory: &Path, lines: u64) -> String {
        let sequences = files::sequences(directory).unwrap();
        let place = last_lines(directory, &sequences, lines).unwrap();
        let mut all = String::new();
        for sequence in sequences.into_iter().filter(|sequence| *sequence >= place.sequence) {
            let text = std::fs::read_to_string(files::path(directory, sequence)).unwrap();
            let from = if sequence == place.sequence { place.offset as usize } else { 0 };
            for line in text[from..].lines() {
                all.push_str(&line[40..]);
                all.push_str(if &line[38..39] == "F" { "|" } else { "" });
            }
        }
        all
    }

    #[test]
    fn across_blocks_and_files() {
        let log = tempfile::tempdir().unwrap();
        let options = LogOptions { max_size: Bytes(100_000), max_files: 10, off: false };
        let mut writer = Writer::open(log.path(), options).unwrap();
        for i in 0..5000 {
            writer.write(Stream::Stdout, format!("{i}").as_bytes());
            writer.write(Stream::Stdout, b"\n");
        }
        assert_eq!(shown(log.path(), 0), "");
        assert_eq!(shown(log.path(), 1), "4999|");
        assert_eq!(shown(log.path(), 3), "4997|4998|4999|");
        let many = shown(log.path(), 3000);
        assert!(many.starts_with("2000|2001|") && many.ends_with("4999|"));
        assert!(shown(log.path(), 1 << 40).starts_with("0|1|"));
        writer.write(Stream::Stdout, b"prompt> ");
        assert_eq!(shown(log.path(), 2), "4999|prompt> ");
        writer.write(Stream::Stdout, &[b'x'; 200_000]);
        assert!(shown(log.path(), 1).starts_with("prompt> xxx"));
    }
}
