//! Writes records to files, bounded in size and number.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::instance::LogOptions;

use super::record::{HEAD, Stream};
use super::{files, record, stamp};

/// Bytes gathered before they are written. Larger ones do not write faster and are memory of
/// every container.
const BUFFER: usize = 64 << 10;

/// How long a file that is to go waits for who still reads it. Less than the shim gives this process
/// to end (12 s, binaryIOProcTermTimeout in containerd's pkg/process/io.go).
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a file that is held is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The one that may write to a log. Dropping it lets go of the lock.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    options: LogOptions,
    file: File,
    sequence: u64,
    /// Bytes of the file that are whole records.
    size: u64,
    buffer: Vec<u8>,
    /// Bytes of output that could not be written and have not been told of.
    lost: u64,
    /// How long a file that is to go waits for who still reads it.
    patience: Duration,
    _lock: File,
}

impl Writer {
    /// Opens the log in `directory`, made if it is not there, after whoever wrote to it before.
    pub fn open(directory: &Path, options: LogOptions) -> io::Result<Self> {
        files::make(directory)?;
        let lock = files::lock(directory)?;
        let sequence = files::sequences(directory)?.last().copied().unwrap_or(files::FIRST);
        let mut file = files::open(directory, sequence)?;
        let size = cut_torn_end(&mut file)?;
        Ok(Self {
            directory: directory.to_owned(),
            options,
            file,
            sequence,
            size,
            buffer: Vec::new(),
            lost: 0,
            patience: PATIENCE,
            _lock: lock,
        })
    }

    /// Takes a chunk of output as it was read, and keeps it before it returns. Never fails: what
    /// cannot be written is counted, and told of in the log once it can be again, for a container
    /// must not stop because a disk is full.
    pub fn write(&mut self, stream: Stream, chunk: &[u8]) {
        let stamp = now();
        self.tell_of_loss(&stamp);
        let whole = record::head(&stamp, stream, false);
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.append(&whole, &rest[..end]);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            self.append(&record::head(&stamp, stream, true), rest);
        }
        self.flush();
    }

    fn append(&mut self, head: &[u8; HEAD], bytes: &[u8]) {
        let length = (HEAD + bytes.len() + 1) as u64;
        let filled = self.size + self.buffer.len() as u64;
        if filled > 0 && filled + length > self.options.max_size.0 {
            self.flush();
            self.rotate();
        }
        if self.buffer.len() + length as usize > BUFFER {
            self.flush();
        }
        self.buffer.extend_from_slice(head);
        self.buffer.extend_from_slice(bytes);
        self.buffer.push(b'\n');
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.size += self.buffer.len() as u64,
            Err(_) => self.lose(),
        }
        self.buffer.clear();
        // One long line must not make this process large for ever.
        self.buffer.shrink_to(BUFFER);
    }

    /// What was half written is taken back, so that the file stays one of whole records.
    fn lose(&mut self) {
        self.lost += self.buffer.len() as u64;
        let cut =
            self.file.set_len(self.size).and_then(|()| self.file.seek(SeekFrom::Start(self.size)));
        // If even this fails, the next driver cuts the torn end; readers skip it.
        drop(cut);
    }

    fn tell_of_loss(&mut self, stamp: &[u8; stamp::LENGTH]) {
        if self.lost == 0 {
            return;
        }
        let told = format!("hull: {} bytes of this log could not be written", self.lost);
        let before = std::mem::take(&mut self.lost);
        self.append(&record::head(stamp, Stream::Stderr, false), told.as_bytes());
        self.flush();
        if self.lost > 0 {
            self.lost = before;
        }
    }

    /// Goes on in the next file and drops the oldest; stays in this one if there is no room for it.
    fn rotate(&mut self) {
        let Ok(file) = files::open(&self.directory, self.sequence + 1) else {
            return;
        };
        self.file = file;
        self.sequence += 1;
        self.size = 0;
        let kept = u64::from(self.options.max_files.max(1));
        for old in files::sequences(&self.directory).unwrap_or_default() {
            if old + kept <= self.sequence {
                self.retire(&files::path(&self.directory, old));
            }
        }
    }

    /// Removes a file once nobody holds it. Meanwhile the container's output waits in its pipe, and
    /// then the container, as it would for a slow terminal. Who does not read on is not waited for
    /// again: it holds only this file.
    fn retire(&self, path: &Path) {
        if let Ok(file) = File::open(path) {
            let end = Instant::now() + self.patience;
            while files::is_held(&file) && Instant::now() < end {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        drop(std::fs::remove_file(path));
    }
}

/// Cuts off a record that a driver did not finish, and stands at the end. Returns the size left.
fn cut_torn_end(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK as usize];
    let good = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(BLOCK);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(i) = memchr::memrchr(b'\n', part) {
            break start + i as u64 + 1;
        }
        end = start;
    };
    file.set_len(good)?;
    file.seek(SeekFrom::Start(good))
}

fn now() -> [u8; stamp::LENGTH] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    stamp::write(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Bytes;
    use std::fs::OpenOptions;

    fn options(max_size: u64, max_files: u32) -> LogOptions {
        LogOptions { max_size: Bytes(max_size), max_files, off: false }
    }

    fn text(directory: &Path, sequence: u64) -> String {
        let text = std::fs::read_to_string(files::path(directory, sequence)).unwrap();
        text.lines().map(|line| format!("{}|", &line[31..])).collect()
    }

    #[test]
    fn lines_and_pieces_of_lines() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(log.path(), options(1 << 20, 2)).unwrap();
        writer.write(Stream::Stdout, b"one\ntwo");
        writer.write(Stream::Stderr, b"\n");
        writer.write(Stream::Stdout, b" three\n\n");
        assert_eq!(
            text(log.path(), 1),
            "stdout F one|stdout P two|stderr F |stdout F  three|stdout F |"
        );
    }

    #[test]
    fn bounded_in_size_and_number() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(log.path(), options(4096, 3)).unwrap();
        for i in 0..1000 {
            writer.write(Stream::Stdout, format!("line {i:04}\n").as_bytes());
        }
        let sequences = files::sequences(log.path()).unwrap();
        assert_eq!(sequences.len(), 3);
        assert!(files::size(log.path()) <= 3 * 4096);
        assert!(text(log.path(), sequences[2]).ends_with("line 0999|"));
        drop(writer);
        let mut writer = Writer::open(log.path(), options(4096, 3)).unwrap();
        writer.write(Stream::Stdout, b"more\n");
        assert!(
            text(log.path(), *files::sequences(log.path()).unwrap().last().unwrap())
                .ends_with("line 0999|stdout F more|")
        );
    }

    #[test]
    fn a_torn_end_is_cut() {
        let log = tempfile::tempdir().unwrap();
        Writer::open(log.path(), options(1 << 20, 2)).unwrap().write(Stream::Stdout, b"good\n");
        let mut file = OpenOptions::new().append(true).open(files::path(log.path(), 1)).unwrap();
        file.write_all(&[b'x'; 10_000]).unwrap();
        Writer::open(log.path(), options(1 << 20, 2)).unwrap().write(Stream::Stdout, b"on\n");
        assert_eq!(text(log.path(), 1), "stdout F good|stdout F on|");
    }

    #[test]
    fn a_line_longer_than_a_file_is_kept_whole() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(log.path(), options(4096, 2)).unwrap();
        writer.write(Stream::Stdout, &[b'a'; 100_000]);
        writer.write(Stream::Stdout, b"\nb\n");
        let newest = *files::sequences(log.path()).unwrap().last().unwrap();
        assert!(text(log.path(), newest).ends_with("stdout F b|"));
    }

    #[test]
    fn a_file_that_is_held_goes_when_it_is_let_go_or_after_a_while() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(log.path(), options(4096, 1)).unwrap();
        writer.patience = Duration::from_millis(20);
        writer.write(Stream::Stdout, b"first\n");
        let held = File::open(files::path(log.path(), 1)).unwrap();
        assert!(files::hold(&held));
        let began = Instant::now();
        for _ in 0..200 {
            writer.write(Stream::Stdout, &[b'x'; 100]);
        }
        assert!(began.elapsed() >= writer.patience, "it waited");
        assert_eq!(files::sequences(log.path()).unwrap().len(), 1, "but not for ever");
    }

    #[test]
    fn the_lock_says_whether_more_may_come() {
        let log = tempfile::tempdir().unwrap();
        assert!(!files::is_written(log.path()));
        let writer = Writer::open(log.path(), options(1 << 20, 2)).unwrap();
        assert!(files::is_written(log.path()));
        drop(writer);
        assert!(!files::is_written(log.path()));
    }
}
