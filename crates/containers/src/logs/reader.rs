//! Reads a log, and follows it to its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use model::error::Context;
use model::{ErrorKind, Result, Time};
use tokio::sync::watch::Receiver;

use super::files;
use super::record::{self, LogRecord};
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
    /// Reads the log in `directory`. A log that is not there is empty.
    pub fn open(directory: impl Into<PathBuf>, options: ReadOptions) -> Self {
        let directory = directory.into();
        Self { records: Box::pin(records(directory, options)) }
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
    directory: PathBuf,
    mut options: ReadOptions,
) -> impl futures::Stream<Item = Result<LogRecord>> {
    async_stream::try_stream! {
        let unreadable = || format!("the log in {} cannot be read", directory.display());
        let mut watch = match &options.follow {
            None => None,
            // The directory may not be there before the first driver has made it.
            Some(_) => {
                std::fs::create_dir_all(&directory).context(ErrorKind::Internal, unreadable)?;
                Some(Watch::new(&directory).context(ErrorKind::Exhausted, unreadable)?)
            }
        };
        let mut cursor = Cursor::start(&directory, &options)
            .context(ErrorKind::Internal, unreadable)?;
        loop {
            // Asked before reading: what is written between the two is read in the next round.
            let over = is_over(&directory, options.follow.as_ref());
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
            wait(&directory, watch, follow).await.context(ErrorKind::Internal, unreadable)?;
        }
    }
}

/// Whether nothing can come any more.
fn is_over(directory: &Path, follow: Option<&Receiver<bool>>) -> bool {
    let ended = follow.is_none_or(|ended| *ended.borrow() || ended.has_changed().is_err());
    ended && !files::is_written(directory)
}

async fn wait(directory: &Path, watch: &mut Watch, ended: &mut Receiver<bool>) -> io::Result<()> {
    let known = *ended.borrow_and_update() || ended.has_changed().is_err();
    if known {
        return watch.changed(directory).await;
    }
    tokio::select! {
        changed = watch.changed(directory) => changed,
        // Either it ended or nobody is left to say so, which is the same.
        _ = ended.changed() => Ok(()),
    }
}

/// A place in a log that moves on.
#[derive(Debug)]
struct Cursor {
    directory: PathBuf,
    sequence: u64,
    file: Option<File>,
    /// The beginning of a record whose end was not there yet.
    rest: BytesMut,
}

impl Cursor {
    fn start(directory: &Path, options: &ReadOptions) -> io::Result<Self> {
        let sequences = files::sequences(directory)?;
        let place = match options.tail {
            Some(lines) => tail::last_lines(directory, &sequences, lines)?,
            None => Place { sequence: first_file(directory, &sequences, options.since), offset: 0 },
        };
        let mut cursor = Self {
            directory: directory.to_owned(),
            sequence: place.sequence,
            file: None,
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
            Ok(file) => self.file = Some(file),
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
                    self.sequence = sequence;
                    self.rest.clear();
                    self.file = None;
                    self.open()?;
                }
                None if self.file.is_none() && self.open()? => {}
                None => return Ok(Vec::new()),
            }
        }
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
    let begins = |sequence: u64| {
        let mut head = [0; 64];
        let n = File::open(files::path(directory, sequence)).ok()?.read(&mut head).ok()?;
        record::time(&head[..n])
    };
    let earlier = |sequence: &&u64| begins(**sequence).is_some_and(|time| time < since);
    sequences.iter().rev().find(earlier).copied().unwrap_or(oldest)
}

#[cfg(test)]
mod tests {
    use super::super::{Stream, Writer};
    use super::*;
    use futures::StreamExt;
    use model::Bytes as Size;
    use model::instance::LogOptions;
    use std::time::Duration;

    fn writer(directory: &Path, max_size: u64, max_files: u32) -> Writer {
        Writer::open(directory, LogOptions { max_size: Size(max_size), max_files }).unwrap()
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
        assert_eq!(text(Reader::open(log.path().join("none"), ReadOptions::default())).await, "");
        let mut writer = writer(log.path(), 4096, 100);
        let mut expected = String::new();
        for i in 0..500 {
            let line = format!("line {i}\n");
            writer.write(Stream::Stdout, line.as_bytes());
            expected.push_str(&line);
        }
        let all = Reader::open(log.path(), ReadOptions::default());
        assert_eq!(text(all).await, expected);
        let tail = ReadOptions { tail: Some(2), ..ReadOptions::default() };
        assert_eq!(text(Reader::open(log.path(), tail)).await, "line 498\nline 499\n");
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
        assert_eq!(text(Reader::open(log.path(), options)).await, "200\n201\n");
    }

    #[tokio::test]
    async fn followed_across_files_to_the_end() {
        let log = tempfile::tempdir().unwrap();
        let (ended, follow) = tokio::sync::watch::channel(false);
        let options = ReadOptions { follow: Some(follow), ..ReadOptions::default() };
        let reader = tokio::spawn(text(Reader::open(log.path().join("new"), options)));
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
    async fn a_prompt_is_seen_at_once() {
        let log = tempfile::tempdir().unwrap();
        let mut writer = writer(log.path(), 8192, 2);
        writer.write(Stream::Stdout, b"old\n");
        let (_ended, follow) = tokio::sync::watch::channel(false);
        let options = ReadOptions { follow: Some(follow), tail: Some(0), ..ReadOptions::default() };
        let mut reader = Reader::open(log.path(), options);
        let first = tokio::spawn(async move { reader.next().await.unwrap().unwrap() });
        // The reader may not have looked yet; then the prompt is part of what it skips. So write
        // until it has seen one.
        while !first.is_finished() {
            writer.write(Stream::Stdout, b"login: ");
            tokio::task::yield_now().await;
        }
        let record = first.await.unwrap();
        assert!(record.partial);
        assert_eq!(&record.bytes[..], b"login: ");
    }
}
