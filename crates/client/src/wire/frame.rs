//! Logs as frames: many small records at the cost of few bytes and no parsing.
//!
//! A frame is a header of 16 bytes and a payload; numbers are big-endian.
//!
//! ```text
//!  0       1       2       4               8                               16
//!  ┌───────┬───────┬───────┬───────────────┬───────────────────────────────┬─────────
//!  │stream │ flags │   0   │ payload bytes │ nanoseconds since 1970 (i64)  │ payload
//!  └───────┴───────┴───────┴───────────────┴───────────────────────────────┴─────────
//! ```
//!
//! `stream` is 1 for standard output, 2 for standard error, 3 for a problem document that ends the
//! stream. Bit 0 of `flags` says that the record ends a line.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use link::instance::LogRecord;
use model::{Error, Result, Time};

use super::Problem;

/// Bytes of a header.
pub const HEADER: usize = 16;
/// Longest payload that is believed, in bytes.
pub const MAX_PAYLOAD: usize = 16 << 20;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const PROBLEM: u8 = 3;
const COMPLETE: u8 = 1;

/// Appends a record.
pub fn encode_record(record: &LogRecord, out: &mut BytesMut) {
    let stream = if record.stderr { STDERR } else { STDOUT };
    let flags = if record.complete { COMPLETE } else { 0 };
    encode(stream, flags, record.time, &record.bytes, out);
}

/// Appends the failure that ends the stream.
pub fn encode_problem(problem: &Problem, out: &mut BytesMut) {
    let json = serde_json::to_vec(problem).expect("a struct of plain fields can be encoded");
    encode(PROBLEM, COMPLETE, Time::from_unix(0, 0), &json, out);
}

fn encode(stream: u8, flags: u8, time: Time, payload: &[u8], out: &mut BytesMut) {
    let mut rest = payload;
    loop {
        let (part, tail) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        let flags = if tail.is_empty() { flags } else { 0 };
        out.reserve(HEADER + part.len());
        out.put_u8(stream);
        out.put_u8(flags);
        out.put_u16(0);
        out.put_u32(part.len() as u32);
        out.put_i64(time.0.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        out.put_slice(part);
        rest = tail;
        if rest.is_empty() {
            return;
        }
    }
}

/// Reads frames out of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left of a frame; false at the end means that the stream was cut off.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole record, if there is one. The failure that ended the stream is an error.
    pub fn next_record(&mut self) -> Result<Option<LogRecord>> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let mut header = &self.buffer[..HEADER];
        let (stream, flags, zero) = (header.get_u8(), header.get_u8(), header.get_u16());
        let (length, nanoseconds) = (header.get_u32() as usize, header.get_i64());
        if !(STDOUT..=PROBLEM).contains(&stream) || zero != 0 || length > MAX_PAYLOAD {
            return Err(Error::internal("the server's log is not in frames"));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let bytes = self.buffer.split_to(length).freeze();
        if stream == PROBLEM {
            return Err(read_problem(&bytes));
        }
        let (time, complete) = (time(nanoseconds), flags & COMPLETE != 0);
        Ok(Some(LogRecord { time, stderr: stream == STDERR, bytes, complete }))
    }
}

fn time(nanoseconds: i64) -> Time {
    const SECOND: i64 = 1_000_000_000;
    Time::from_unix(nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND) as i32)
}

fn read_problem(json: &Bytes) -> Error {
    match serde_json::from_slice::<Problem>(json) {
        Ok(problem) => problem.into(),
        Err(error) => Error::internal("the server's log ended with a fault it could not tell")
            .caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_survive_any_cutting(
            records in prop::collection::vec(
                (any::<i64>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..64), any::<bool>()),
                0..20,
            ),
            step in 1_usize..50,
        ) {
            let records: Vec<_> = records
                .into_iter()
                .map(|(at, stderr, bytes, complete)| {
                    LogRecord { time: time(at), stderr, bytes: bytes.into(), complete }
                })
                .collect();
            let mut wire = BytesMut::new();
            records.iter().for_each(|record| encode_record(record, &mut wire));
            let (mut decoder, mut back) = (Decoder::default(), Vec::new());
            for part in wire.chunks(step) {
                decoder.push(part);
                while let Some(record) = decoder.next_record().unwrap() {
                    back.push(record);
                }
            }
            prop_assert!(decoder.is_empty());
            prop_assert_eq!(back, records);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_record() {}
        }
    }

    #[test]
    fn a_problem_ends_the_log() {
        let mut wire = BytesMut::new();
        let problem = Problem::new(&Error::unavailable("the node is gone"), 503);
        encode_problem(&problem, &mut wire);
        let mut decoder = Decoder::default();
        decoder.push(&wire);
        let error = decoder.next_record().unwrap_err();
        assert_eq!(error.message(), "the node is gone");
    }
}
