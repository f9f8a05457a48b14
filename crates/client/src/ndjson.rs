//! Cuts bytes into lines.

use bytes::{Bytes, BytesMut};
use model::{Error, Result};

/// Longest line that is believed, in bytes.
const MAX_LINE: usize = 64 << 20;

/// Reads lines out of bytes as they arrive. Empty lines are skipped.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole line, without its end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Bytes>> {
        while let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if !line.is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
        self.searched = self.buffer.len();
        match self.searched > MAX_LINE {
            true => Err(Error::internal("a line of the server's answer has no end")),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_survive_any_cutting(
            lines in prop::collection::vec("[a-z]{1,20}", 0..10),
            step in 1_usize..30,
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
            let (mut reader, mut back) = (Lines::default(), Vec::new());
            for part in text.as_bytes().chunks(step) {
                reader.push(part);
                while let Some(line) = reader.next_line().unwrap() {
                    back.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(back, lines);
        }
    }
}
