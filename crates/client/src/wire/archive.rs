//! What is told of a path beside its archive.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use link::instance::PathStat;
use model::error::Context;
use model::{ErrorKind, Result};

/// Header with a [`PathStat`] as JSON in base64 (RFC 4648, section 4), as names may have any
/// character and a header may not.
pub const PATH_STAT: &str = "hull-path-stat";

/// The header's value.
pub fn encode_stat(stat: &PathStat) -> String {
    let json = serde_json::to_vec(stat).expect("a struct of plain fields can be encoded");
    STANDARD.encode(json)
}

/// Reads [`encode_stat`]'s value.
pub fn decode_stat(text: &str) -> Result<PathStat> {
    let refuse = || "the server's account of the path cannot be read".to_owned();
    let json = STANDARD.decode(text).context(ErrorKind::Internal, refuse)?;
    serde_json::from_slice(&json).context(ErrorKind::Internal, refuse)
}
