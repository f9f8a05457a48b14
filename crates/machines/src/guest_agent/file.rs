//! Files of the guest, opened by the agent.
//!
//! The agent reads and writes through C's `FILE`, on descriptors that do not block. A read from a
//! pipe that has less than was asked for loses what it has (`fread` fails midway, and the agent
//! answers with the error alone); so only regular files are read, and pipes are only written to, in
//! words so short that they always fit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::error::Context;
use model::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::GuestAgent;

/// Most that is read or written by one command: 256 KiB of base64.
pub(super) const PIECE: usize = 192 << 10;

/// A file that the agent has opened, by its number there. Close it: the agent does not know who is
/// gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestFile(i64);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece {
    #[serde(rename = "buf-b64")]
    buffer: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    count: usize,
}

impl GuestAgent {
    /// Opens a file; `mode` is that of C's `fopen`. A pipe is to be opened with `r+`, which does not
    /// wait for its other end: the agent would hang.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_open(&self, path: &str, mode: &str) -> Result<GuestFile> {
        let arguments = json!({"path": path, "mode": mode});
        self.query("guest-file-open", arguments).await.map(GuestFile)
    }

    /// Opens a file to read, if it can be opened.
    ///
    /// # Errors
    ///
    /// `Unavailable` and `Unsupported` as [`GuestAgent::call`].
    pub(super) async fn file_if_there(&self, path: &str) -> Result<Option<GuestFile>> {
        match self.file_open(path, "r").await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads at most `count` bytes; none at the end of the file, which may grow.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_read(&self, file: GuestFile, count: usize) -> Result<Bytes> {
        let count = count.min(PIECE);
        let arguments = json!({"handle": file.0, "count": count});
        let piece: Piece = self.query("guest-file-read", arguments).await?;
        let bytes = STANDARD.decode(piece.buffer).context(ErrorKind::Unavailable, || {
            format!("the guest agent in machine {:?} sent what is not base64", self.machine())
        })?;
        Ok(bytes.into())
    }

    /// Writes some of `bytes`; says how many.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_write(&self, file: GuestFile, bytes: &[u8]) -> Result<usize> {
        let bytes = &bytes[..bytes.len().min(PIECE)];
        let arguments = json!({"handle": file.0, "buf-b64": STANDARD.encode(bytes)});
        let written: Written = self.query("guest-file-write", arguments).await?;
        Ok(written.count.min(bytes.len()))
    }

    /// Goes to a place in the file, in bytes from its beginning.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_seek(&self, file: GuestFile, offset: u64) -> Result<()> {
        let arguments = json!({"handle": file.0, "offset": offset, "whence": 0});
        self.call("guest-file-seek", arguments).await.map(drop)
    }

    /// Gives what was written to the guest's system.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_flush(&self, file: GuestFile) -> Result<()> {
        self.call("guest-file-flush", json!({"handle": file.0})).await.map(drop)
    }

    /// Closes a file.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn file_close(&self, file: GuestFile) -> Result<()> {
        self.call("guest-file-close", json!({"handle": file.0})).await.map(drop)
    }
}
