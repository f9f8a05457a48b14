//! Where a stream of bytes goes: into a file, or to standard output.

use std::path::Path;

use futures::StreamExt;
use link::ByteStream;
use model::error::Context;
use model::{ErrorKind, Result};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::out;

/// Who may read a file besides its owner, whose umask counts too.
pub const PUBLIC: u32 = 0o666;
/// Its owner alone.
pub const PRIVATE: u32 = 0o600;

/// Writes a stream to a file: it is there whole, or what was there before is. What is no file, such
/// as a pipe, is written to as it is.
pub async fn to_file(stream: ByteStream, path: &Path, mode: u32) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if path.metadata().is_ok_and(|known| !known.is_file()) {
        let file = OpenOptions::new().write(true).open(path).await;
        return copy(stream, file.context(ErrorKind::Unavailable, failed)?, path).await;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = async {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part).await;
        let file = file.context(ErrorKind::Unavailable, failed)?;
        let syncing = file.try_clone().await.context(ErrorKind::Unavailable, failed)?;
        copy(stream, file, path).await?;
        syncing.sync_all().await.context(ErrorKind::Unavailable, failed)?;
        tokio::fs::rename(&part, path).await.context(ErrorKind::Unavailable, failed)
    };
    let written = written.await;
    if written.is_err() {
        // It may never have been made.
        let _ = tokio::fs::remove_file(&part).await;
    }
    written
}

async fn copy(mut stream: ByteStream, mut file: File, path: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    while let Some(bytes) = stream.next().await {
        file.write_all(&bytes?).await.context(ErrorKind::Unavailable, failed)?;
    }
    file.flush().await.context(ErrorKind::Unavailable, failed)
}

/// Writes a stream to standard output.
pub async fn to_stdout(mut stream: ByteStream) -> Result<()> {
    while let Some(bytes) = stream.next().await {
        out::bytes(&bytes?);
    }
    Ok(())
}
