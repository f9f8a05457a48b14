//! Reads a log, and follows it to its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use model::error::Context;
use model::{ErrorKind, Result, Time};
use tokio::sync::watch::Receiver;

use super::files;
use super::record::{self, LogRecord, Stream};
use super::tail::{self, Place};
use super::watch::Watch;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// A record longer than this is not ours; it is given up.
const LONGEST: usize = 16 << 20;

/// What is read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Go on when what is there was read, until the container has ended (the value becomes true, or
    /// its sender is dropped) and everything it wrote was kept and read. `None` stops at the end of
    /// what is there.
    pub follow: Option<Receiver<bool>>,
    /// From this time on.
    pub since: Option<Time>,
    /// To this time; following ends with the first record after it.
    pub until: Option<Time>,
    /// At most so many lines of what is there at first.
    pub tail: Option<u64>,
    /// Have the container wait, a while, rather than pass over what is not read yet.
    pub hold: bool,
}

/// The records of a log, oldest first: a [`futures::Stream`] of them.
pub struct Reader {
    records: BoxStream<'static, Result<LogRecord>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads the log in `directory`. A log that is not there is empty. What is there at first, for
    /// `tail`, is what is there when this returns.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn open(directory: impl Into<PathBuf>, options: ReadOptions) -> Result<Self> {
        let directory = directory.into();
        let unreadable = || format!("the log in {} cannot be read", directory.display());
        let watch = match &options.follow {
            None => None,
            // The directory may not be there before the first driver has made it.
            Some(_) => {
                files::make(&directory).context(ErrorKind::Internal, unreadable)?;
                Some(Watch::new(&directory).context(ErrorKind::Exhausted, unreadable)?)
            }
        };
        let cursor =
            Cursor::start(&directory, &options).context(ErrorKind::Internal, unreadable)?;
        Ok(Self { records: Box::pin(records(cursor, watch, options)) })
    }
}

impl futures::Stream for Reader {
    type Item = Result<LogRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.records).poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

fn records(
    mut cursor: Cursor,
    mut watch: Option<Watch>,
    mut options: ReadOptions,
) -> impl futures::Stream<Item = Result<LogRecord>> {
    async_stream::try_stream! {
        let directory = cursor.directory.clone();
        let unreadable = || format!("the log in {} cannot be read", directory.display());
        loop {
            // Asked before reading: what is written between the two is read in the next round.
            let ended = has_ended(options.follow.as_mut());
            let over = ended && !files::is_written(&directory);
            let (batch, back) = tokio::task::spawn_blocking(move || {
                let batch = cursor.next();
                (batch, cursor)
            })
            .await
            .context(ErrorKind::Internal, unreadable)?;
            cursor = back;
            let batch = batch.context(ErrorKind::Internal, unreadable)?;
            let empty = batch.is_empty();
            for record in batch {
                if options.until.is_some_and(|until| record.time > until) {
                    return;
                }
                if options.since.is_none_or(|since| record.time >= since) {
                    yield record;
                }
            }
            if !empty {
                continue;
            }
            let (Some(watch), Some(follow)) = (&mut watch, &mut options.follow) else {
                return;
            };
            if over {
                return;
            }
            let changed = tokio::select! {
                changed = watch.changed(&directory) => changed,
                // Either it has ended since or nobody is left to say so, which is the same.
                _ = follow.changed(), if !ended => Ok(()),
            };
            changed.context(ErrorKind::Internal, unreadable)?;
        }
    }
}

/// Whether the container has ended. The answer is remembered: only another wakes who waits.
fn has_ended(follow: Option<&mut Receiver<bool>>) -> bool {
    follow.is_none_or(|ended| *ended.borrow_and_update() || ended.has_changed().is_err())
}

/// Waits until everything that the writer of a log has taken is kept, a while at most.
///
/// # Errors
/// When the log cannot be watched.
pub async fn kept(directory: &Path, patience: Duration) -> Result<()> {
    let unreadable = || format!("the log in {} cannot be watched", directory.display());
    if !files::is_written(directory) {
        return Ok(());
    }
    let mut watch = Watch::new(directory).context(ErrorKind::Exhausted, unreadable)?;
    let settled = async {
        while files::is_written(directory) {
            watch.changed(directory).await?;
        }
        Ok::<_, io::Error>(())
    };
    match tokio::time::timeout(patience, settled).await {
        Ok(settled) => settled.context(ErrorKind::Internal, unreadable),
        // What is there is what there is.
        Err(_) => Ok(()),
    }
}

/// A place in a log that moves on.
#[derive(Debug)]
struct Cursor {
    directory: PathBuf,
    sequence: u64,
    file: Option<File>,
    hold: bool,
    /// The beginning of a record whose end was not there yet.
    rest: BytesMut,
}

impl Cursor {
    fn start(directory: &Path, options: &ReadOptions) -> io::Result<Self> {
        let mut sequences = files::sequences(directory)?;
        if options.hold && sequences.is_empty() {
            // Held before anything is in it, so that nothing is missed.
            files::open(directory, files::FIRST)?;
            sequences.push(files::FIRST);
        }
        let place = match options.tail {
            Some(lines) => tail::last_lines(directory, &sequences, lines)?,
            None => Place { sequence: first_file(directory, &sequences, options.since), offset: 0 },
        };
        let mut cursor = Self {
            directory: directory.to_owned(),
            sequence: place.sequence,
            file: None,
            hold: options.hold,
            rest: BytesMut::new(),
        };
        if cursor.open()?
            && let Some(file) = &mut cursor.file
        {
            file.seek(SeekFrom::Start(place.offset))?;
        }
        Ok(cursor)
    }

    /// Opens the file it stands at; false if it is not there.
    fn open(&mut self) -> io::Result<bool> {
        match File::open(files::path(&self.directory, self.sequence)) {
            Ok(file) => {
                // One that cannot be held is being removed; what is open can be read all the same.
                let _ = self.hold && files::hold(&file);
                self.file = Some(file);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The next records; none when there are none now.
    fn next(&mut self) -> io::Result<Vec<LogRecord>> {
        loop {
            // A later file seen before this one reads as ended means that it really has.
            let later = files::sequences(&self.directory)?.into_iter().find(|n| *n > self.sequence);
            let batch = self.read()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            match later {
                Some(sequence) => {
                    let missed = sequence - self.sequence - 1;
                    // The one before is held until the next is, so that none goes between the two.
                    let _before = self.file.take();
                    self.sequence = sequence;
                    self.rest.clear();
                    if self.open()? && missed > 0 {
                        return Ok(self.gap(missed).into_iter().collect());
                    }
                }
                None if self.file.is_none() && self.open()? => {}
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Says that files were removed before they were read, at the time of what comes next.
    fn gap(&self, missed: u64) -> Option<LogRecord> {
        let told = format!("hull: output is missing here: {missed} files of it were rotated away");
        Some(LogRecord {
            time: begins(&self.directory, self.sequence)?,
            stream: Stream::Stderr,
            partial: false,
            bytes: told.into(),
        })
    }

    /// What this file has next.
    fn read(&mut self) -> io::Result<Vec<LogRecord>> {
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        let mut chunk = std::mem::take(&mut self.rest);
        loop {
            let had = chunk.len();
            chunk.resize(had + CHUNK, 0);
            let n = file.read(&mut chunk[had..])?;
            chunk.truncate(had + n);
            let end = memchr::memrchr(b'\n', &chunk[had..]).map(|i| had + i + 1);
            if let Some(end) = end {
                self.rest = chunk.split_off(end);
                let batch = split(&chunk.freeze());
                if batch.is_empty() {
                    chunk = std::mem::take(&mut self.rest);
                    continue;
                }
                return Ok(batch);
            }
            if n == 0 {
                self.rest = chunk;
                return Ok(Vec::new());
            }
            if chunk.len() > LONGEST {
                chunk.clear();
            }
        }
    }
}

/// The records in whole lines; what is none is left out.
fn split(lines: &Bytes) -> Vec<LogRecord> {
    let mut records = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        records.extend(record::parse(lines.slice(start..end)));
        start = end + 1;
    }
    records
}

/// The first file that can have records from `since` on: the one before the first that begins later.
fn first_file(directory: &Path, sequences: &[u64], since: Option<Time>) -> u64 {
    let oldest = sequences.first().copied().unwrap_or(0);
    let Some(since) = since else {
        return oldest;
    };
    let earlier = |sequence: &&u64| begins(directory, **sequence).is_some_and(|time| time < since);
    sequences.iter().rev().find(earlier).copied().unwrap_or(oldest)
}

/// The time of a file's first record.
fn begins(directory: &Path, sequence: u64) -> Option<Time> {
    let mut head = [0; 64];
    let n = File::open(files::path(directory, sequence)).ok()?.read(&mut head).ok()?;
    record::time(&head[..n])
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;
    use futures::StreamExt;
    use model::Bytes as Size;
    use model::instance::LogOptions;

    fn writer(directory: &Path, max_size: u64, max_files: u32) -> Writer {
        Writer::open(directory, LogOptions { max_size: Size(max_size), max_files, off: false })
            .unwrap()
    }

    async fn text(reader: Reader) -> String {
        let records: Vec<_> = reader.map(Result::unwrap).collect().await;
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.write_to(&mut bytes));
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn what_is_there() {
        let log = tempfile::tempdir().unwrap();
        assert_eq!(
            text(Reader::open(log.path().join("none"), ReadOptions::default()).unwrap()).await,
            ""
        );
        let mut writer = writer(log.path(), 4096, 100);
        let mut expected = String::new();
        for i in 0..500 {
            let line = format!("line {i}\n");
            writer.write(Stream::Stdout, line.as_bytes());
            expected.push_str(&line);
        }
        let all = Reader::open(log.path(), ReadOptions::default()).unwrap();
        assert_eq!(text(all).await, expected);
        let tail = ReadOptions { tail: Some(2), ..ReadOptions::default() };
        assert_eq!(text(Reader::open(log.path(), tail).unwrap()).await, "line 498\nline 499\n");
    }

    #[tokio::test]
    async fn between_two_times() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = writer(log.path(), 4096, 100);
        let mut times = Vec::new();
        for i in 0..300 {
            writer.write(Stream::Stdout, format!("{i}\n").as_bytes());
            times.push(Time::now());
        }
        let options = ReadOptions {
            since: Some(times[199]),
            until: Some(times[201]),
            ..ReadOptions::default()
        };
        assert_eq!(text(Reader::open(log.path(), options).unwrap()).await, "200\n201\n");
    }

    #[tokio::test]
    async fn followed_across_files_to_the_end() {
        let log = tempfile::tempdir().unwrap();
        let (ended, follow) = tokio::sync::watch::channel(false);
        let options = ReadOptions { follow: Some(follow), ..ReadOptions::default() };
        let reader = Reader::open(log.path().join("new"), options).unwrap();
        let reader = tokio::spawn(text(reader));
        let directory = log.path().join("new");
        let lines = tokio::task::spawn_blocking(move || {
            let mut writer = writer(&directory, 8192, 1000);
            let mut lines = String::new();
            for i in 0..3000 {
                let line = format!("number {i}\n");
                writer.write(Stream::Stderr, line.as_bytes());
                lines.push_str(&line);
            }
            // The container is told to have ended while its output is still being kept.
            ended.send_replace(true);
            writer.write(Stream::Stdout, b"last words");
            lines + "last words"
        })
        .await
        .unwrap();
        let read = tokio::time::timeout(Duration::from_secs(20), reader).await.unwrap().unwrap();
        assert_eq!(read, lines);
    }

    #[tokio::test]
    async fn who_holds_misses_nothing_and_who_does_not_is_told() {
        let log = tempfile::tempdir().unwrap();
        let (_ended, follow) = tokio::sync::watch::channel(true);
        let open = |hold| {
            let follow = Some(follow.clone());
            let options = ReadOptions { follow, hold, ..ReadOptions::default() };
            Reader::open(log.path(), options).unwrap()
        };
        let mut late = open(false);
        let mut first = writer(log.path(), 4096, 2);
        first.write(Stream::Stdout, b"first\n");
        late.next().await.unwrap().unwrap();
        let reader = tokio::spawn(text(open(true)));
        let lines = tokio::task::spawn_blocking(move || {
            let line = |i: u32| format!("number {i}\n");
            (0..3000).for_each(|i| first.write(Stream::Stdout, line(i).as_bytes()));
            (0..3000).map(line).collect::<String>()
        })
        .await
        .unwrap();
        let read = tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
        assert_eq!(read, format!("first\n{lines}"));
        let rest = text(late).await;
        assert!(rest.contains("hull: output is missing here: "), "{rest}");
        assert!(rest.ends_with("number 2999\n"), "{rest}");
    }

    #[tokio::test]
    async fn a_prompt_is_seen_at_once() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = writer(log.path(), 8192, 2);
        writer.write(Stream::Stdout, b"old\n");
        let (_ended, follow) = tokio::sync::watch::channel(false);
        let options = ReadOptions { follow: Some(follow), tail: Some(0), ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options).unwrap();
        writer.write(Stream::Stdout, b"login: ");
        let record = reader.next().await.unwrap().unwrap();
        assert!(record.partial);
        assert_eq!(&record.bytes[..], b"login: ");
    }
}
