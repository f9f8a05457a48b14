//! What a command is given as a file or through standard input.

use std::io::Read;

use model::data::MOST_BYTES;
use model::error::Context;
use model::{ErrorKind, Result};

/// Reads a file, or standard input for `-`; little more than a secret or config may hold, so that more is
/// refused with its right name.
pub fn read(file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    let done = match file {
        "-" => std::io::stdin().take(most).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    done.context(ErrorKind::Invalid, || format!("cannot read {file:?}"))?;
    Ok(bytes)
}
