//! One record: a line, or a piece of one, in the container runtime interface's form of Kubernetes
//! (`kubelet` logs): `<time> <stdout|stderr> <F|P> <bytes>\n`, `F` where the line ends, `P` where it
//! goes on. All bytes are kept as they came.

use std::fmt;

use bytes::Bytes;
use model::Time;

use super::stamp;

/// Where a process wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When it was read from the container.
    pub time: Time,
    /// Where it was written.
    pub stream: Stream,
    /// The line goes on in the next record of this stream.
    pub partial: bool,
    /// What was written, without the end of the line.
    pub bytes: Bytes,
}

impl LogRecord {
    /// Puts back what was written: the bytes, and the end of the line where it ended.
    pub fn write_to(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.bytes);
        if !self.partial {
            output.push(b'\n');
        }
    }
}

/// Bytes before a record's own: time, stream and tag, each with a space.
pub(super) const HEAD: usize = stamp::LENGTH + 1 + 6 + 1 + 1 + 1;

/// Where the tag stands.
const TAG: usize = HEAD - 2;

/// The head of records of one chunk of output.
pub(super) fn head(stamp: &[u8; stamp::LENGTH], stream: Stream, partial: bool) -> [u8; HEAD] {
    let mut head = [b' '; HEAD];
    head[..stamp::LENGTH].copy_from_slice(stamp);
    head[stamp::LENGTH + 1..TAG - 1].copy_from_slice(stream.as_str().as_bytes());
    head[TAG] = if partial { b'P' } else { b'F' };
    head
}

/// Whether a record, given without its newline, ends a line.
pub(super) fn ends_line(record: &[u8]) -> bool {
    record.get(TAG) == Some(&b'F')
}

/// The time of a record.
pub(super) fn time(record: &[u8]) -> Option<Time> {
    std::str::from_utf8(record.get(..stamp::LENGTH)?).ok()?.parse().ok()
}

/// Reads a record given without its newline; `None` for what is none.
pub(super) fn parse(record: Bytes) -> Option<LogRecord> {
    let time = time(&record)?;
    let stream = match record.get(stamp::LENGTH..TAG)? {
        b" stdout " => Stream::Stdout,
        b" stderr " => Stream::Stderr,
        _ => return None,
    };
    let partial = match record.get(TAG..HEAD)? {
        b"F " => false,
        b"P " => true,
        _ => return None,
    };
    Some(LogRecord { time, stream, partial, bytes: record.slice(HEAD..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        let stamp = stamp::write(1_795_478_400, 5);
        let mut line = head(&stamp, Stream::Stderr, true).to_vec();
        line.extend_from_slice(b"a \xff b");
        assert!(line.starts_with(b"2026-11-24T00:00:00.000000005Z stderr P a"));
        assert!(!ends_line(&line));
        let record = parse(Bytes::from(line)).unwrap();
        assert_eq!((record.stream, record.partial), (Stream::Stderr, true));
        assert_eq!(&record.bytes[..], b"a \xff b");
        for bad in ["", "x", "2026-11-24T00:00:00.000000005Z stdxxx F a"] {
            assert_eq!(parse(Bytes::from_static(bad.as_bytes())), None, "{bad}");
        }
    }
}
