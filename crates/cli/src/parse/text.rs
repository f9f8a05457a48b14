//! Text that a file holds, or standard input.

use std::io::Read;

use model::error::Context;
use model::{Error, ErrorKind, Result};

/// Largest text.
const LARGEST: u64 = 1 << 20;

/// The text of a file that a flag names; `-` is standard input.
///
/// # Errors
/// `Invalid` for what cannot be read as text, and for more than 1 MiB.
pub fn text(file: &str, flag: &str) -> Result<String> {
    let mut text = String::new();
    let failed = || format!("cannot read {file} as text");
    match file {
        "-" => std::io::stdin().take(LARGEST + 1).read_to_string(&mut text),
        file => std::fs::File::open(file)
            .context(ErrorKind::Invalid, failed)?
            .take(LARGEST + 1)
            .read_to_string(&mut text),
    }
    .context(ErrorKind::Invalid, failed)?;
    if text.len() as u64 > LARGEST {
        return Err(Error::invalid(format!("{file} is larger than 1 MiB")).at(flag));
    }
    Ok(text)
}
